"""`python -m short_lease` is `chatkit`, with leases of a second: what a killed process has begun comes again soon."""

from chatkit.cli import main, on_runner

on_runner.LEASE_S = 1.0  # type: ignore[misc]
main()

"""`python -m chatkit.cli` is `chatkit`."""

from chatkit.cli import main

main()

"""`python -m chatkit` is the command `chatkit`."""

from chatkit.cli import main

main()

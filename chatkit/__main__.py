"""`python -m chatkit` is the command `chatkit`."""

from chatkit.cli.__main__ import main

main()

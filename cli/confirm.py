"""Asking for confirmation before something is destroyed."""

import sys

from chatkit.cli.input import open_input
from chatkit.cli.sanitize import one_line
from chatkit.errors import BadRequest, ChatkitError


class NotConfirmed(ChatkitError):
    """The person did not confirm."""

    code = "not-confirmed"

    def __init__(self) -> None:
        super().__init__("nothing was changed")


def confirm(question: str, *, yes: bool) -> None:
    """Ask the question on standard error, and return if the answer is yes, or `yes` (`--yes`) is given.

    Raise `NotConfirmed`; without a terminal to ask at, raise `BadRequest`.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadRequest(f"{one_line(question)} There is no terminal to ask at: confirm it with --yes")
    sys.stderr.write(f"{one_line(question)} [y/N] ")
    sys.stderr.flush()
    if open_input(sys.stdin.fileno()).readline().strip().lower() not in {b"y", b"yes"}:
        raise NotConfirmed

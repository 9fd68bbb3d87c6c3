"""The marks behind a sender's name: it is verified, and it is a bot's. One character each. No I/O.

A name is chosen by somebody else and may end with the same characters. They are replaced there, so that no name can
imitate a mark.
"""

from typing import Final, NamedTuple

from chatkit.cli.output import can_print
from chatkit.cli.sanitize import one_line
from chatkit.core.model import Message

REPLACEMENT: Final = "?"


class Marks(NamedTuple):
    """The characters of the marks."""

    verified: str
    bot: str


UNICODE: Final = Marks("✓", "⚙")
ASCII: Final = Marks("+", "*")


def printable_marks() -> Marks:
    """Return the marks that standard output can encode."""
    return UNICODE if can_print("".join(UNICODE)) else ASCII


def sender_of(message: Message, marks: Marks = UNICODE) -> tuple[str, str]:
    """Return the sender's name, safe for a terminal, and its marks."""
    name = one_line(message.sender)
    genuine = name.rstrip("".join(marks))
    name = genuine + REPLACEMENT * (len(name) - len(genuine))
    return name, (marks.verified if message.verified else "") + (marks.bot if message.bot else "")

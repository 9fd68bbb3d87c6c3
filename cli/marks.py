"""The marks behind a sender's name: it is verified, and it is a bot's. One character each. No I/O.

A name is chosen by somebody else and may end with the same characters. They are replaced there, so that no name can
imitate a mark.
"""

from typing import Final, NamedTuple

from chatkit.cli.hook_text import shown_username
from chatkit.cli.output import can_print
from chatkit.cli.sanitize import one_line
from chatkit.core.model import Member, Message

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
    """Return the sender's name, safe for a terminal, and its marks, followed by the name that a webhook gave.

    Nobody has checked that name. It is in parentheses behind the marks, where no other text can be.
    """
    name, shown = _marked(message.sender, marks, is_verified=message.verified, is_bot=message.bot)
    return name, shown + one_line(shown_username(message))


def member_of(member: Member, marks: Marks = UNICODE) -> str:
    """Return a member's name with its marks, safe for a terminal."""
    return "".join(_marked(member.name, marks, is_verified=member.verified, is_bot=member.bot))


def _marked(name: str, marks: Marks, *, is_verified: bool, is_bot: bool) -> tuple[str, str]:
    name = one_line(name)
    genuine = name.rstrip("".join(marks))
    name = genuine + REPLACEMENT * (len(name) - len(genuine))
    return name, (marks.verified if is_verified else "") + (marks.bot if is_bot else "")

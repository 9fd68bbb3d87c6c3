"""The boolean attributes of a message or a member as one number, which stores keep. Zero need not be stored."""

from typing import Final

from chatkit.core.model import Draft, Member, Message

VERIFIED: Final = 1
BOT: Final = 2
REFERRED: Final = 4  # of a row in a store: later messages refer to it. No attribute of a message


def flags_of(message: Draft | Message | Member) -> int:
    """Return the flags of a message, a draft or a member."""
    return message.verified * VERIFIED | message.bot * BOT

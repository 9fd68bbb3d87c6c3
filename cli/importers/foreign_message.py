"""ForeignMessage: a message of another program, without a number; and how names from there become valid names."""

import re
import unicodedata
from typing import Any, Final

import msgspec

from chatkit.core.model import ANONYMOUS, MAX_ROOM_CHARS, MAX_SENDER_CHARS, check_room, check_sender
from chatkit.core.text import BLANKS, strip_invisible
from chatkit.errors import BadName, BadRequest

_MAX_NAME_CHARS: Final = 1_000  # of another program's name: the rest is never needed
_BLANK_RUN: Final = re.compile(f"[{BLANKS}]+")


class ForeignMessage(msgspec.Struct, frozen=True):
    """A message to import. `key` is the same each time that the source is read, and that of no other message."""

    time_ms: int
    sender: str
    body: str
    key: str
    data: Any = None
    bot: bool = False


def sender_from(name: str) -> str:
    """Return a valid sender that is as similar to the name as possible."""
    text = _BLANK_RUN.sub(" ", unicodedata.normalize("NFC", strip_invisible(name[:_MAX_NAME_CHARS])))
    text = "".join(char for char in text if char.isprintable()).strip()[:MAX_SENDER_CHARS]
    try:
        return check_sender(text)
    except BadName:
        return ANONYMOUS


def room_from(name: str) -> str:
    """Return the valid room name that is the most similar to a channel's. Raise `BadRequest` if no name is."""
    text = unicodedata.normalize("NFC", name[:_MAX_NAME_CHARS]).lstrip("#.")[:MAX_ROOM_CHARS]
    text = "".join(char if char in "-_." or unicodedata.category(char)[0] in "LMN" else "-" for char in text)
    try:
        return check_room(text)
    except BadName as error:
        raise BadRequest(f"the channel {name[:80]!r} cannot be a room: name the room with --room") from error

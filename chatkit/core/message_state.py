"""What later messages say about an earlier one: the kinds of changes, and the state that they add up to."""

import re
import unicodedata
from enum import StrEnum
from typing import Final

import msgspec

from chatkit.errors import BadRequest

MAX_EMOJI_CHARS: Final = 32
MAX_LISTED_NAMES: Final = 20  # of a reaction: its `count` is that of all
EMOJI_RULE: Final = f"one emoji or its :name:, at most {MAX_EMOJI_CHARS} characters"

_EMOJI_NAME: Final = re.compile(r":[a-z0-9_+-]{1,30}:")
_JOINER: Final = "\u200d"
_KEYCAP: Final = re.compile("[0-9#*]\ufe0f?\u20e3")
_FLAG_LETTER: Final = re.compile("[\U0001f1e6-\U0001f1ff]")
_FLAG: Final = re.compile(f"{_FLAG_LETTER.pattern}{{2}}")
# What follows a pictograph and belongs to it: the variation selector, a skin colour, and the letters of a flag's tag.
_EXTENDER: Final = re.compile("[\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]+")


class Act(StrEnum):
    """What a message does to the one that it refers to. Without an act, it is a reply."""

    EDIT = "edit"
    REACT = "react"
    UNREACT = "unreact"
    PIN = "pin"
    UNPIN = "unpin"
    REDACT = "redact"


class Edit(msgspec.Struct, frozen=True):
    """The newest edit of a message: its number, and its time as Unix milliseconds."""

    seq: int
    time_ms: int


class Reaction(msgspec.Struct, frozen=True):
    """An emoji that `count` senders put to a message. `by` are at most 20 of them, in code-point order."""

    emoji: str
    count: int
    by: tuple[str, ...]


class MessageState(msgspec.Struct, frozen=True):
    """What the later messages of a log say about one: its newest edit, reactions, number of replies, whether pinned.

    `reactions` are in the order in which their emojis were first used.
    """

    edited: Edit | None = None
    reactions: tuple[Reaction, ...] = ()
    n_replies: int = 0
    is_pinned: bool = False


NO_STATE: Final = MessageState()


def check_emoji(text: str) -> str:
    """Return the text if it is one emoji, or a name between colons. Raise `BadRequest`."""
    if len(text) <= MAX_EMOJI_CHARS and (_EMOJI_NAME.fullmatch(text) or _is_emoji(text)):
        return text
    raise BadRequest(f"a reaction is {EMOJI_RULE}")


def _is_emoji(text: str) -> bool:
    """Return whether a text is one pictograph, several that are joined to one, a flag or a keycap."""
    if _KEYCAP.fullmatch(text) or _FLAG.fullmatch(text):
        return True
    return all(
        unicodedata.category(part[:1] or " ") == "So"
        and not _FLAG_LETTER.match(part)
        and (len(part) == 1 or _EXTENDER.fullmatch(part, 1) is not None)
        for part in text.split(_JOINER)
    )

"""What later messages say about an earlier one: the kinds of changes, and the state that they add up to."""

from enum import StrEnum
from typing import Final

import msgspec

MAX_LISTED_NAMES: Final = 20  # of a reaction: its `count` is that of all


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

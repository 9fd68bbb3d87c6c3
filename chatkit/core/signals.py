"""Signals: what the readers of a room are notified of beside its log. Values only.

A signal has no number, is not stored, and is not repeated to a reader that was disconnected.
"""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec


class MembersChanged(msgspec.Struct, frozen=True, eq=False):
    """The members that joined and left a room since the last such signal, and how many the room has now.

    `verified` and `bots` are the names among `joined` that are verified, and those that are bots'.
    """

    room: str
    joined: list[str]
    left: list[str]
    count: int
    verified: Sequence[str] = ()
    bots: Sequence[str] = ()


class Redaction(msgspec.Struct, frozen=True):
    """The body and the data of a message were removed."""

    room: str
    seq: int


class Typing(msgspec.Struct, frozen=True):
    """The sender is typing in the room."""

    room: str
    sender: str


class RoomChanged(msgspec.Struct, frozen=True):
    """The settings of a room changed."""

    room: str
    topic: str
    archived: bool


class StoreUnavailable(msgspec.Struct, frozen=True):
    """The store cannot be reached: messages of other processes do not arrive, and publishing may fail.

    `reason` is a sentence.
    """

    reason: str


class StoreAvailable(msgspec.Struct, frozen=True):
    """The store can be reached again. Readers get what they missed from the log."""


RoomSignal: TypeAlias = MembersChanged | Redaction | Typing | RoomChanged
"""A signal that concerns one room."""

Signal: TypeAlias = RoomSignal | StoreUnavailable | StoreAvailable

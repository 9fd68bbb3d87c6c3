"""What an application learns of an event beside its bytes: values."""

from datetime import UTC, datetime
from typing import Self

import msgspec

from chatkit.core.model import Message


class Event(msgspec.Struct, frozen=True):
    """An event as `iter_events(with_metadata=True)` gives it.

    `seq` counts a channel's events, 1, 2, 3 …; `cursor` is where to go on from (`subscribe(after=cursor)`). `missed` is
    how many events before it this subscriber did not get: dropped by its backlog, or no longer kept; with
    `is_restart` the channel's log began anew, and nobody knows how many. What was put into the subscriber by hand has
    `data` alone.
    """

    data: bytes
    channel: str = ""
    seq: int = 0
    cursor: str = ""
    time: datetime | None = None
    missed: int = 0
    is_restart: bool = False


class Published(msgspec.Struct, frozen=True):
    """A published event: committed, as durably as the backend promises.

    `seq` is 0 and `cursor` empty where the backend is one of Litestar's own, which number nothing.
    """

    channel: str
    seq: int = 0
    cursor: str = ""
    time: datetime | None = None

    @classmethod
    def of(cls, channel: str, message: Message) -> Self:
        """Tell what became of an event by its message."""
        return cls(channel, message.seq, str(message.cursor), time_of(message))


def time_of(message: Message) -> datetime:
    """Return when a message was committed."""
    return datetime.fromtimestamp(message.time_ms / 1000, UTC)

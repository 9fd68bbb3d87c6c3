"""What processes on one store notify each other of: the payloads of NOTIFY, and the news that they are. No I/O.

The database writes those of a commit, in its functions; this reads them.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

import msgspec

from chatkit.core.backend import Notification, RoomAdvanced
from chatkit.core.model import Message


class AdvancedRoom(msgspec.Struct, array_like=True, frozen=True):
    """A room that grew: the numbers of the first and the last message of the batch, and when it was committed."""

    room: str
    first: int
    last: int
    time_ms: int


class CarriedMessage(msgspec.Struct, array_like=True, frozen=True):
    """A message of the batch; `place` is its room's among those that grew, from 1 on."""

    place: int
    sender: str
    body: str
    data: Any
    key: str | None


class AppendedPayload(msgspec.Struct, array_like=True, frozen=True, tag="a"):
    """A process appended a batch, which it calls `tag`. Drafts are there if they all fit, and then for every room."""

    process: str
    tag: int
    epoch: str
    rooms: Sequence[AdvancedRoom]
    drafts: Sequence[CarriedMessage] = ()

    def to_news(self, watched: AbstractSet[str]) -> list[Notification]:
        """Return what it says of these rooms."""
        if not watched.isdisjoint([reached.room for reached in self.rooms]):
            return list(self._grown(watched))
        return []

    def _grown(self, watched: AbstractSet[str]) -> Iterator[Notification]:
        messages: list[list[Message]] = [[] for _ in self.rooms]
        for draft in self.drafts:
            reached, its = self.rooms[draft.place - 1], messages[draft.place - 1]
            seq = reached.first + len(its)
            its.append(
                Message(reached.room, self.epoch, seq, reached.time_ms, draft.sender, draft.body, draft.data, draft.key)
            )
        for reached, its in zip(self.rooms, messages, strict=True):
            if reached.room in watched:
                yield RoomAdvanced(reached.room, reached.last, its, self.epoch)


class RedactedPayload(msgspec.Struct, array_like=True, frozen=True, tag="r"):
    """A message was redacted; `number` counts redactions."""

    room: str
    seq: int
    number: int


class TypingPayload(msgspec.Struct, array_like=True, frozen=True, tag="t"):
    """By way of a process, somebody is writing."""

    process: str
    room: str
    sender: str


class ResyncPayload(msgspec.Struct, array_like=True, frozen=True, tag="c"):
    """Something happened that is not told: every room is to be looked at."""


Notice: TypeAlias = AppendedPayload | RedactedPayload | TypingPayload | ResyncPayload

decode_notice = msgspec.json.Decoder(Notice).decode


def encode_typing(process: str, room: str, sender: str) -> str:
    """Write a notice of somebody who is writing."""
    return msgspec.json.encode(TypingPayload(process, room, sender)).decode()


class OwnAppends:
    """This process's batches on their way. What is told of them is known here already, once there are receipts.

    But who lost the connection before the answer came learns only from the notice that the batch was committed.
    """

    MAX_DOUBTFUL = 1_000  # remembered of those that were never answered; their notices come within seconds or never

    def __init__(self) -> None:
        self._count = 0
        self._waiting: dict[int, list[AppendedPayload]] = {}  # by tag, while the answer is awaited
        self._doubtful: dict[int, None] = {}  # oldest first

    def begin(self) -> int:
        """Return a tag for the next batch."""
        self._count += 1
        self._waiting[self._count] = []
        return self._count

    def settle(self, tag: int) -> None:
        """Take note that the batch's receipts are there."""
        self._waiting.pop(tag, None)

    def doubt(self, tag: int) -> list[AppendedPayload]:
        """Take note that no answer comes any more; return what was told of the batch."""
        heard = self._waiting.pop(tag, [])
        self._doubtful[tag] = None
        if len(self._doubtful) > self.MAX_DOUBTFUL:
            del self._doubtful[next(iter(self._doubtful))]
        return heard

    def is_news(self, notice: AppendedPayload) -> bool:
        """Say whether what is told of a batch of this process is news to it; keep it where that is not known yet."""
        if notice.tag in self._waiting:
            self._waiting[notice.tag].append(notice)
            return False
        return notice.tag in self._doubtful

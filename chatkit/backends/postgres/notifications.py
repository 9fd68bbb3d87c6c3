"""Payloads of NOTIFY, by which the processes on one store notify each other. No I/O.

The functions of the database write the payloads of commits; this module decodes them.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

import msgspec

from chatkit.backends.flags import BOT, VERIFIED
from chatkit.core.backend import Notification, RoomAdvanced
from chatkit.core.message_state import Act
from chatkit.core.model import Message


class AdvancedRoom(msgspec.Struct, array_like=True, frozen=True):
    """A room of a batch: the numbers of the batch's first and last message in it, and the time of the commit.

    The room's epoch is the store's followed by `epoch_suffix`.
    """

    room: str
    first: int
    last: int
    time_ms: int
    epoch_suffix: str = ""


class CarriedMessage(msgspec.Struct, array_like=True, frozen=True):
    """A message of the batch; `ordinal` is the position of its room among those of the payload, from 1."""

    ordinal: int
    sender: str
    body: str
    data: Any
    key: str | None
    flags: int = 0
    of: int | None = None
    act: Act | None = None
    mentions: tuple[str, ...] = ()

    def to_message(self, room: str, epoch: str, seq: int, time_ms: int) -> Message:
        """Convert it to a message."""
        return Message(
            room,
            epoch,
            seq,
            time_ms,
            self.sender,
            self.body,
            self.data,
            self.key,
            verified=self.flags & VERIFIED > 0,
            bot=self.flags & BOT > 0,
            of=self.of,
            act=self.act,
            mentions=self.mentions,
        )


class AppendedPayload(msgspec.Struct, array_like=True, frozen=True, tag="a"):
    """A process appended a batch. `tag` is the number that the process gave it, `epoch` the store's.

    `drafts` has all messages, or none if they do not fit into the payload.
    """

    process: str
    tag: int
    epoch: str
    rooms: Sequence[AdvancedRoom]
    drafts: Sequence[CarriedMessage] = ()

    def to_notifications(self, watched: AbstractSet[str]) -> list[Notification]:
        """Return the notifications for the watched rooms."""
        if not watched.isdisjoint([advanced.room for advanced in self.rooms]):
            return list(self._advanced_rooms(watched))
        return []

    def _advanced_rooms(self, watched: AbstractSet[str]) -> Iterator[Notification]:
        messages: list[list[Message]] = [[] for _ in self.rooms]
        for draft in self.drafts:
            advanced, found = self.rooms[draft.ordinal - 1], messages[draft.ordinal - 1]
            seq = advanced.first + len(found)
            epoch = self.epoch + advanced.epoch_suffix
            found.append(draft.to_message(advanced.room, epoch, seq, advanced.time_ms))
        for advanced, found in zip(self.rooms, messages, strict=True):
            if advanced.room in watched:
                yield RoomAdvanced(advanced.room, advanced.last, found, self.epoch + advanced.epoch_suffix)


class RedactedPayload(msgspec.Struct, array_like=True, frozen=True, tag="r"):
    """A message was redacted; `number` counts the redactions of the store."""

    room: str
    seq: int
    number: int


class DeletedPayload(msgspec.Struct, array_like=True, frozen=True, tag="d"):
    """A room was deleted; `epoch` is that of its new log."""

    room: str
    epoch: str


class TypingPayload(msgspec.Struct, array_like=True, frozen=True, tag="t"):
    """A client of a process is typing."""

    process: str
    room: str
    sender: str


class ResyncPayload(msgspec.Struct, array_like=True, frozen=True, tag="c"):
    """Every process must compare all rooms that it watches."""


Payload: TypeAlias = AppendedPayload | RedactedPayload | DeletedPayload | TypingPayload | ResyncPayload

decode_payload = msgspec.json.Decoder(Payload).decode


def encode_typing(process: str, room: str, sender: str) -> str:
    """Return the payload for a client of this process that is typing."""
    return msgspec.json.encode(TypingPayload(process, room, sender)).decode()


class OwnAppends:
    """The batches of this process that have not been answered yet.

    The receipts of a batch make its payload redundant. If a batch's answer was lost, the payload is the only sign that
    it was committed, and is delivered as if another process had sent it.
    """

    MAX_UNANSWERED = 1_000  # batches that are remembered; their payloads arrive within seconds or never

    def __init__(self) -> None:
        self._count = 0
        self._pending: dict[int, list[AppendedPayload]] = {}  # payloads by tag, while the answer is awaited
        self._unanswered: dict[int, None] = {}  # oldest first

    def begin(self) -> int:
        """Return a tag for the next batch."""
        self._count += 1
        self._pending[self._count] = []
        return self._count

    def confirm(self, tag: int) -> None:
        """Record that the batch was answered with receipts."""
        self._pending.pop(tag, None)

    def abandon(self, tag: int) -> list[AppendedPayload]:
        """Record that no answer will come; return the payloads of the batch that have arrived."""
        payloads = self._pending.pop(tag, [])
        self._unanswered[tag] = None
        if len(self._unanswered) > self.MAX_UNANSWERED:
            del self._unanswered[next(iter(self._unanswered))]
        return payloads

    def is_new(self, payload: AppendedPayload) -> bool:
        """Return whether a payload of this process must be delivered. If that is not known yet, keep it until it is."""
        if payload.tag in self._pending:
            self._pending[payload.tag].append(payload)
            return False
        return payload.tag in self._unanswered

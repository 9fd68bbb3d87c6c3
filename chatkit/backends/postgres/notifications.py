"""Payloads of NOTIFY, by which the processes on one store notify each other. No I/O.

A process writes the payloads of its appends (payload_writer.py); the functions of the database write those of
redactions and of what administrators do. This module decodes both.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

import msgspec

from chatkit.backends.flags import BOT, VERIFIED
from chatkit.core.backend import RoomAdvanced
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
    """A process appended batches. `numbers` are those of the batches that end with this payload.

    `drafts` has the messages of some of the rooms; those of the others do not fit into a payload. `redactions` is the
    number of redactions in the store before the batches; it is None if the payload was sent by their transaction,
    and so before that of any redaction of their messages. Processes before version 8 of the store ignore what is behind
    `drafts`, and send a `tag` and the store's `epoch`, which is otherwise in each `epoch_suffix`.
    """

    process: str
    tag: int
    epoch: str
    rooms: Sequence[AdvancedRoom]
    drafts: Sequence[CarriedMessage] = ()
    numbers: Sequence[int] = ()
    redactions: int | None = None

    def to_notifications(self, watched: AbstractSet[str], redactions: int) -> list[RoomAdvanced]:
        """Return the notifications for the watched rooms, after this number of redactions has been notified.

        If the payload was overtaken by a redaction, the bodies that it carries may have been removed: the notifications
        then have no messages, so that these are read from the database.
        """
        if watched.isdisjoint([advanced.room for advanced in self.rooms]):
            return []
        is_overtaken = self.redactions is not None and self.redactions < redactions
        return list(self._advanced_rooms(watched, () if is_overtaken else self.drafts))

    def _advanced_rooms(self, watched: AbstractSet[str], drafts: Sequence[CarriedMessage]) -> Iterator[RoomAdvanced]:
        messages: list[list[Message]] = [[] for _ in self.rooms]
        for draft in drafts:
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

"""Writes the payloads of NOTIFY for batches that this process appended: see `AppendedPayload`. No I/O."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from chatkit.backends.flags import flags_of
from chatkit.backends.postgres.notifications import AdvancedRoom
from chatkit.core.model import Message, Receipt

MAX_PART_BYTES = 7_900  # of the rooms and their drafts: PostgreSQL's limit on a payload is 7,999 bytes
ENTRY_BYTES = 7  # that a draft or a room takes beside its JSON: a comma, and the position of the draft's room
NUMBER_BYTES = 20  # of a batch's number

_encode = msgspec.json.Encoder().encode


class AppendedRoom(msgspec.Struct, frozen=True):
    """What a batch appended to one room: its messages, unless those of the batch are too long to be carried."""

    head: AdvancedRoom
    messages: Sequence[Message]


class AppendedBatch(msgspec.Struct, frozen=True):
    """A committed batch: its number, that of the redactions before it, and what it appended."""

    number: int
    redactions: int
    rooms: Sequence[AppendedRoom]


def appended_rooms(receipts: Iterable[Receipt]) -> list[AppendedRoom]:
    """Return what a batch appended, given its receipts. Bodies that no payload can carry need not wait for one."""
    appended: dict[str, list[Message]] = {}
    for receipt in receipts:
        if not receipt.repeat:
            appended.setdefault(receipt.message.room, []).append(receipt.message)
    n_chars = sum([len(message.body) for messages in appended.values() for message in messages])
    is_carried = n_chars <= MAX_PART_BYTES
    return [AppendedRoom(_to_head(messages), messages if is_carried else ()) for messages in appended.values()]


def _to_head(messages: Sequence[Message]) -> AdvancedRoom:
    newest = messages[-1]
    return AdvancedRoom(newest.room, messages[0].seq, newest.seq, newest.time_ms, newest.epoch)


def encode_appended(process: str, batches: Iterable[AppendedBatch]) -> list[str]:
    """Return the payloads for batches of this process, as few as possible."""
    parts: list[_PayloadPart] = []
    for batch in batches:
        heads = [_encode(room.head) for room in batch.rooms]
        for head, drafts in zip(heads, _carried(batch, heads), strict=True):
            if not parts or not parts[-1].has_space(head, drafts):
                parts.append(_PayloadPart(process))
            parts[-1].add(head, drafts, batch.redactions)
        parts[-1].numbers.append(batch.number)
    return [part.to_payload() for part in parts]


def _carried(batch: AppendedBatch, heads: Sequence[bytes]) -> list[list[bytes]]:
    """Return the drafts of each room of a batch, encoded, or none if they do not fit into one payload together."""
    n_bytes = sum([_size(head, ()) for head in heads])
    carried: list[list[bytes]] = []
    for room in batch.rooms:
        drafts: list[bytes] = []
        for message in room.messages:
            drafts.append(_encode(_carry(message)))
            n_bytes += len(drafts[-1]) + ENTRY_BYTES
            if n_bytes > MAX_PART_BYTES:
                return [[] for _ in batch.rooms]
        carried.append(drafts)
    return carried


def _carry(message: Message) -> tuple[Any, ...]:
    """Return a message as a `CarriedMessage` without its ordinal, and without the last parts if it has none."""
    parts = message.sender, message.body, message.data, message.key
    flags = flags_of(message)
    if message.of is not None or message.mentions:
        return *parts, flags, message.of, message.act, message.mentions
    return (*parts, flags) if flags else parts


class _PayloadPart:
    """A payload of appended batches that is being filled."""

    def __init__(self, process: str) -> None:
        self.numbers: list[int] = []
        self._process = process
        self._heads: list[bytes] = []
        self._drafts: list[bytes] = []
        self._redactions = 0
        self._n_bytes = 0

    def has_space(self, head: bytes, drafts: Sequence[bytes]) -> bool:
        """Return whether a room with these drafts fits. Each room fits into an empty payload."""
        return self._n_bytes + _size(head, drafts) <= MAX_PART_BYTES

    def add(self, head: bytes, drafts: Sequence[bytes], redactions: int) -> None:
        self._redactions = min(self._redactions, redactions) if self._heads else redactions
        self._heads.append(head)
        ordinal = b"[%d," % len(self._heads)
        self._drafts += [ordinal + draft[1:] for draft in drafts]
        self._n_bytes += _size(head, drafts)

    def to_payload(self) -> str:
        payload = b'["a",%s,0,"",[%s],[%s],%s,%d]' % (
            _encode(self._process),
            b",".join(self._heads),
            b",".join(self._drafts),
            _encode(self.numbers),
            self._redactions,
        )
        return payload.decode()


def _size(head: bytes, drafts: Sequence[bytes]) -> int:
    """Return how many bytes a room adds to a payload at most, with the number of its batch."""
    return len(head) + sum(map(len, drafts)) + ENTRY_BYTES * (1 + len(drafts)) + NUMBER_BYTES

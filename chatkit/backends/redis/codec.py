"""What a room is in Redis: the names of its keys, and how a message is written in its stream and in its news."""

from functools import lru_cache
from typing import Any, NamedTuple, Self

import msgspec

from chatkit.core.backend import MessageRedacted, RoomAdvanced, Typing
from chatkit.core.model import Draft, Message

MAX_NAMES = 16_384  # rooms whose keys are kept made: those of a busy server


class RoomKeys(NamedTuple):
    """The keys of one room, and its channel. The braces see to it that a cluster keeps them on one server."""

    meta: bytes
    log: bytes
    keys: bytes
    gone: bytes
    channel: bytes


class RoomPosition(NamedTuple):
    """How far a process has seen a room: its log's epoch and last seq, and how many redactions."""

    epoch: str = ""
    last: int = 0
    redacted: int = 0

    def merged(self, found: Self) -> Self:
        """Return what is known when something was found that may be older."""
        if self.epoch != found.epoch:
            return found
        return type(self)(self.epoch, max(self.last, found.last), max(self.redacted, found.redacted))


class KeyNames:
    """Makes keys from room names. Channels have no database of their own: its number is in their name."""

    def __init__(self, prefix: str, database: int) -> None:
        self._prefix = prefix
        self._channel = f":news@{database}" if database else ":news"
        self.of = lru_cache(MAX_NAMES)(self._of)

    def _of(self, room: str) -> RoomKeys:
        base = f"{self._prefix}{{{room}}}"
        parts = (":meta", ":log", ":keys", ":gone", self._channel)
        return RoomKeys(*((base + part).encode() for part in parts))

    @property
    def pattern(self) -> bytes:
        """What SCAN finds rooms by."""
        escaped = "".join("\\" + char if char in "*?[]^\\-" else char for char in self._prefix)
        return f"{escaped}{{*}}:meta".encode()

    def room(self, key: bytes) -> str:
        """Return the room of a key or channel."""
        return key.decode()[len(self._prefix) + 1 :].rpartition("}")[0]


class StreamEntry(msgspec.Struct, array_like=True, frozen=True):
    """A message's text in the stream."""

    sender: str
    body: str
    data: Any
    key: str | None

    def to_message(self, room: str, epoch: str, seq: int, time_ms: int) -> Message:
        """Return it as a value of the core."""
        return Message(room, epoch, seq, time_ms, self.sender, self.body, self.data, self.key)


class Tombstone(msgspec.Struct, array_like=True, frozen=True):
    """What is left of a redacted message."""

    seq: int
    time_ms: int
    sender: str
    key: str | None

    def to_message(self, room: str, epoch: str) -> Message:
        """Return it as a value of the core."""
        return Message(room, epoch, self.seq, self.time_ms, self.sender, "", None, self.key, redacted=True)


class _Payload(msgspec.Struct, array_like=True, frozen=True):
    name: str
    kind: str


class _AppendedPayload(_Payload, array_like=True, frozen=True):
    epoch: str
    last: int
    time_ms: int
    rows: list[StreamEntry]


class _RedactedPayload(_Payload, array_like=True, frozen=True):
    epoch: str
    seq: int
    count: int


class _TypingPayload(_Payload, array_like=True, frozen=True):
    sender: str


encode = msgspec.json.Encoder().encode
_decode_row = msgspec.json.Decoder(StreamEntry).decode
_decode_left = msgspec.json.Decoder(Tombstone).decode
_decode_appended = msgspec.json.Decoder(_AppendedPayload).decode
_decode_redacted = msgspec.json.Decoder(_RedactedPayload).decode
_decode_writing = msgspec.json.Decoder(_TypingPayload).decode


def encode_draft(draft: Draft) -> bytes:
    """Write a draft as its stream's entry will hold it."""
    return encode((draft.sender, draft.body, draft.data, draft.key))


def encode_key(draft: Draft) -> bytes:
    """Write a key as the script takes it: the key, a line feed, the sender as JSON; empty for a draft without a key.

    Neither a key nor JSON holds a line feed, and the stored messages begin with the sender in the same JSON.
    """
    return b"" if draft.key is None else b"%s\n%s" % (draft.key.encode(), encode(draft.sender))


def encode_left(message: Message) -> bytes:
    """Write what is left of a message without body and data."""
    return encode((message.seq, message.time_ms, message.sender, message.key))


def decode_entry(room: str, epoch: str, seq: int, parts: list[bytes]) -> Message:
    """Read a message: its time and text, or what is left of it."""
    if len(parts) == 1:
        return _decode_left(parts[0]).to_message(room, epoch)
    return _decode_row(parts[1]).to_message(room, epoch, seq, int(parts[0]))


def decode_entries(room: str, epoch: str, entries: list[Any], left: list[bytes]) -> list[Message]:
    """Read what a range of a room gave, in order of numbers."""
    messages = [
        _decode_row(fields[3]).to_message(room, epoch, int(id_[:-2]), int(fields[1])) for id_, fields in entries
    ]
    messages += [_decode_left(text).to_message(room, epoch) for text in left]
    messages.sort(key=_seq)
    return messages


def _seq(message: Message) -> int:
    return message.seq


def decode_left(text: bytes) -> int:
    """Return whose rest it is that is left of a redacted message: its seq."""
    return _decode_left(text).seq


def decode_news(room: str, payload: bytes) -> tuple[RoomAdvanced | MessageRedacted | Typing, RoomPosition | None]:
    """Read what a script or a process published on a room's channel, and how far the room is, where that is said."""
    match _kind(payload):
        case b"A":
            grown = _decode_appended(payload)
            first = grown.last - len(grown.rows) + 1
            messages = [row.to_message(room, grown.epoch, first + n, grown.time_ms) for n, row in enumerate(grown.rows)]
            return RoomAdvanced(room, grown.last, messages, epoch=grown.epoch), RoomPosition(grown.epoch, grown.last)
        case b"R":
            redacted = _decode_redacted(payload)
            return MessageRedacted(room, redacted.seq), RoomPosition(redacted.epoch, redacted.seq, redacted.count)
        case _:
            return Typing(room, _decode_writing(payload).sender), None


def _kind(payload: bytes) -> bytes:
    at = payload.index(b'","') + 3  # behind the name
    return payload[at : at + 1]

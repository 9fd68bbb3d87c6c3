"""How rooms are stored in Redis: the names of keys, and the encoding of messages in streams and publications."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple, Self

import msgspec

from chatkit.backends.flags import BOT, VERIFIED, flags_of
from chatkit.core.backend import MessageRedacted, RoomAdvanced, Typing
from chatkit.core.json_decoder import JsonDecoder
from chatkit.core.message_state import Act
from chatkit.core.model import Draft, Message

MAX_NAMES = 16_384  # rooms whose key names are cached: those of a busy server


class RoomKeys(NamedTuple):
    """The keys of one room, and its Redis channel. The braces in the names keep them on one node of a cluster."""

    meta: bytes
    log: bytes
    keys: bytes
    gone: bytes
    refs: bytes
    channel: bytes

    @property
    def stored(self) -> list[bytes]:
        """The keys, without the channel."""
        return list(self[:-1])


class RoomPosition(NamedTuple):
    """The state of a room that a process has seen: its epoch, its last seq, and the number of its redactions."""

    epoch: str = ""
    last: int = 0
    redacted: int = 0

    def merged(self, found: Self) -> Self:
        """Return the newer of two positions; `found` may be older."""
        if self.epoch != found.epoch:
            return found
        return type(self)(self.epoch, max(self.last, found.last), max(self.redacted, found.redacted))


class KeyNames:
    """Makes keys from room names. Redis channels belong to no database, so their names contain its number."""

    def __init__(self, prefix: str, database: int) -> None:
        self._prefix = prefix
        self._channel = f":news@{database}" if database else ":news"
        self.of = lru_cache(MAX_NAMES)(self._of)

    def _of(self, room: str) -> RoomKeys:
        base = f"{self._prefix}{{{room}}}"
        parts = (":meta", ":log", ":keys", ":gone", ":refs", self._channel)
        return RoomKeys(*((base + part).encode() for part in parts))

    @property
    def pattern(self) -> bytes:
        """The SCAN pattern that matches rooms."""
        return self.pattern_of("meta")

    def pattern_of(self, part: str) -> bytes:
        """Return the SCAN pattern that matches one key of each room."""
        escaped = "".join("\\" + char if char in "*?[]^\\-" else char for char in self._prefix)
        return f"{escaped}{{*}}:{part}".encode()

    def room(self, key: bytes) -> str:
        """Return the room of a key or Redis channel."""
        return key.decode()[len(self._prefix) + 1 :].rpartition("}")[0]


class StreamEntry(msgspec.Struct, array_like=True, frozen=True):
    """A message as it is stored in the stream."""

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
            False,  # noqa: FBT003 - positions are faster than names, and a page has many messages
            self.flags & VERIFIED > 0,
            self.flags & BOT > 0,
            self.of,
            self.act,
            self.mentions,
        )


class Tombstone(msgspec.Struct, array_like=True, frozen=True):
    """The part of a redacted message that stays stored."""

    seq: int
    time_ms: int
    sender: str
    key: str | None
    flags: int = 0
    of: int | None = None
    act: Act | None = None

    def to_message(self, room: str, epoch: str) -> Message:
        """Convert it to a message."""
        return Message(
            room,
            epoch,
            self.seq,
            self.time_ms,
            self.sender,
            "",
            None,
            self.key,
            redacted=True,
            verified=self.flags & VERIFIED > 0,
            bot=self.flags & BOT > 0,
            of=self.of,
            act=self.act,
        )


class _Payload(msgspec.Struct, array_like=True, frozen=True):
    origin: str  # the id of the append, or of the process
    kind: str


class _AppendedPayload(_Payload, array_like=True, frozen=True):
    epoch: str
    last: int
    time_ms: int
    entries: list[StreamEntry]


class _RedactedPayload(_Payload, array_like=True, frozen=True):
    epoch: str
    seq: int
    count: int


class _TypingPayload(_Payload, array_like=True, frozen=True):
    sender: str


encode = msgspec.json.Encoder().encode
_decode_entry_text = JsonDecoder[StreamEntry](StreamEntry).decode
_decode_tombstone = msgspec.json.Decoder(Tombstone).decode
_decode_appended = JsonDecoder[_AppendedPayload](_AppendedPayload).decode
_decode_redacted = msgspec.json.Decoder(_RedactedPayload).decode
_decode_typing = msgspec.json.Decoder(_TypingPayload).decode


def encode_draft(draft: Draft | Message) -> bytes:
    """Encode a draft as it is stored in the stream. Most messages need only the first parts; the rest is left out."""
    if draft.of is not None or draft.mentions:
        of, act, mentions = draft.of, draft.act, draft.mentions
        return encode((draft.sender, draft.body, draft.data, draft.key, flags_of(draft), of, act, mentions))
    if draft.verified or draft.bot:
        return encode((draft.sender, draft.body, draft.data, draft.key, flags_of(draft)))
    return encode((draft.sender, draft.body, draft.data, draft.key))


def is_related(draft: Draft | Message) -> bool:
    """Return whether a draft or message refers to a message or mentions names."""
    return draft.of is not None or bool(draft.mentions)


def encode_key(draft: Draft | Message) -> bytes:
    """Encode a key for the script: the key, a line feed, the sender as JSON; empty for a draft without a key.

    Neither a key nor JSON contains a line feed. Stored messages begin with the sender in the same JSON.
    """
    return b"" if draft.key is None else b"%s\n%s" % (draft.key.encode(), encode(draft.sender))


def encode_tombstone(message: Message) -> bytes:
    """Encode the tombstone of a message."""
    parts = (message.seq, message.time_ms, message.sender, message.key, flags_of(message))
    return encode(parts if message.of is None else (*parts, message.of, message.act))


def decode_entry(room: str, epoch: str, seq: int, parts: list[bytes]) -> Message:
    """Decode a stored message (its time and text) or its tombstone."""
    if len(parts) == 1:
        return _decode_tombstone(parts[0]).to_message(room, epoch)
    return _decode_entry_text(parts[1]).to_message(room, epoch, seq, int(parts[0]))


def decode_entries(room: str, epoch: str, entries: list[Any], tombstones: list[bytes]) -> list[Message]:
    """Decode the entries and tombstones of a range, in order of seq."""
    messages = [
        _decode_entry_text(fields[3]).to_message(room, epoch, int(id_[:-2]), int(fields[1])) for id_, fields in entries
    ]
    messages += [_decode_tombstone(text).to_message(room, epoch) for text in tombstones]
    messages.sort(key=_seq)
    return messages


def decode_texts(room: str, texts: Iterable[bytes]) -> list[Message]:
    """Decode the texts of entries whose numbers and times are not known."""
    return [_decode_entry_text(text).to_message(room, "", 0, 0) for text in texts]


def _seq(message: Message) -> int:
    return message.seq


def decode_tombstone_seq(text: bytes) -> int:
    """Return the seq of a redacted message's tombstone."""
    return _decode_tombstone(text).seq


def decode_published(room: str, payload: bytes) -> tuple[RoomAdvanced | MessageRedacted | Typing, RoomPosition | None]:
    """Decode a publication of a room, and the room's position if the publication contains it."""
    match _kind(payload):
        case b"A":
            appended = _decode_appended(payload)
            first = appended.last - len(appended.entries) + 1
            messages = [
                entry.to_message(room, appended.epoch, first + n, appended.time_ms)
                for n, entry in enumerate(appended.entries)
            ]
            return RoomAdvanced(room, appended.last, messages, epoch=appended.epoch), RoomPosition(
                appended.epoch, appended.last
            )
        case b"R":
            redacted = _decode_redacted(payload)
            return MessageRedacted(room, redacted.seq), RoomPosition(redacted.epoch, redacted.seq, redacted.count)
        case _:
            return Typing(room, _decode_typing(payload).sender), None


def _kind(payload: bytes) -> bytes:
    at = payload.index(b'","') + 3  # after the id
    return payload[at : at + 1]

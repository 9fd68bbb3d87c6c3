"""Events: the values that applications receive, and how a channel's event is stored as a room's message.

Channels may have any name and events any bytes; rooms have restricted names and messages are text. A payload in UTF-8
becomes the message's body, so that every client of the room can read it. Any other payload is base64 in the message's
data. No other module knows these two mappings.
"""

import re
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Final, Self

import msgspec

from chatkit.core.model import ANONYMOUS, Draft, Message, check_room
from chatkit.errors import BadName
from chatkit.websocket.frames import binary_frame, text_frame

_HASHED: Final = "ch."  # prefix of room names that are derived by a hash; a channel with such a name is hashed too
_MAX_READABLE_CHARS: Final = 20
_BYTES: Final = "chatkit.bytes"  # the only field of the data of a message whose payload is not text


class Event(msgspec.Struct, frozen=True):
    """An event from `iter_events(with_metadata=True)`.

    `seq` counts the events of a channel: 1, 2, 3 …; `cursor` is a position to resume from (`subscribe(after=cursor)`).
    `missed` is the number of earlier events that this subscriber did not receive, because its backlog dropped them or
    they are no longer stored. With `is_restart`, the channel's log was started again, and that number is unknown. Bytes
    that the application put into the subscriber have only `data`.
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

    `seq` is 0 and `cursor` empty if the backend is one of Litestar's own, which do not number events.
    """

    channel: str
    seq: int = 0
    cursor: str = ""
    time: datetime | None = None

    @classmethod
    def of(cls, channel: str, message: Message) -> Self:
        """Make the value from the committed message."""
        return cls(channel, message.seq, str(message.cursor), time_of(message))


def time_of(message: Message) -> datetime:
    """Return the time at which a message was committed."""
    return datetime.fromtimestamp(message.time_ms / 1000, UTC)


@lru_cache(maxsize=4_096)  # each event needs the name, and the same few channels recur
def room_of(channel: str) -> str:
    """Return the channel's room: the channel's name if it is a valid room name, else a name that is unique to it."""
    try:
        if check_room(channel) == channel and not channel.startswith(_HASHED):
            return channel
    except BadName:
        pass
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", channel)[:_MAX_READABLE_CHARS]
    return f"{_HASHED}{readable}.{sha256(channel.encode(errors='surrogatepass')).hexdigest()[:32]}"


def draft_of(room: str, payload: bytes) -> Draft:
    """Make the draft that stores a payload."""
    try:
        return Draft(room, ANONYMOUS, payload.decode())
    except UnicodeDecodeError:
        return Draft(room, ANONYMOUS, "", {_BYTES: b64encode(payload).decode()})


def payload_of(message: Message) -> bytes:
    """Return the payload of a message: its body, or the bytes that its data contains."""
    binary = _binary_of(message)
    return message.body.encode() if binary is None else binary


def text_frame_of(message: Message) -> bytes:
    """Make a text frame of a message's payload, or a binary frame if the payload is not text."""
    binary = _binary_of(message)
    return text_frame(message.body.encode()) if binary is None else binary_frame(binary)


def binary_frame_of(message: Message) -> bytes:
    """Make a binary frame of a message's payload."""
    return binary_frame(payload_of(message))


def _binary_of(message: Message) -> bytes | None:
    data = message.data
    if data is None or not isinstance(data, dict) or not isinstance(encoded := data.get(_BYTES), str):
        return None
    try:
        return b64decode(encoded, validate=True)
    except ValueError:  # another application's data with a field of this name
        return None

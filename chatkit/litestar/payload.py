"""Bytes in a room whose messages are text, and the frames that carry them. The only place that knows how.

UTF-8 is the message's body, so that every client of the room reads it as it is; anything else is base64 in its data.
"""

from base64 import b64decode, b64encode
from typing import Final

from chatkit.core.model import ANONYMOUS, Draft, Message
from chatkit.websocket.frames import binary_frame, text_frame

_BYTES: Final = "chatkit.bytes"  # the data's only field, where the payload is not text


def draft_of(room: str, payload: bytes) -> Draft:
    """Make the message that carries a payload."""
    try:
        return Draft(room, ANONYMOUS, payload.decode())
    except UnicodeDecodeError:
        return Draft(room, ANONYMOUS, "", {_BYTES: b64encode(payload).decode()})


def payload_of(message: Message) -> bytes:
    """Return the payload that a message carries: its body, unless it was made of other bytes."""
    binary = _binary_of(message)
    return message.body.encode() if binary is None else binary


def text_frame_of(message: Message) -> bytes:
    """Frame a message's payload as text, or, where it is none, as the binary message that it is."""
    binary = _binary_of(message)
    return text_frame(message.body.encode()) if binary is None else binary_frame(binary)


def binary_frame_of(message: Message) -> bytes:
    """Frame a message's payload as a binary message."""
    return binary_frame(payload_of(message))


def _binary_of(message: Message) -> bytes | None:
    data = message.data
    if data is None or not isinstance(data, dict) or not isinstance(encoded := data.get(_BYTES), str):
        return None
    try:
        return b64decode(encoded, validate=True)
    except ValueError:  # somebody else's data, of the same name
        return None

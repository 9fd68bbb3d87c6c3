"""Whole, unmasked WebSocket text frames (RFC 6455 section 5.2), as a server sends them: made, joined and cut apart."""

from collections.abc import Iterator
from struct import Struct

_LENGTH_16 = Struct("!BBH")
_LENGTH_64 = Struct("!BBQ")
_TEXT = 0x81  # FIN and the opcode of text


def text_frame(payload: bytes) -> bytes:
    """Put a text's UTF-8 into one frame."""
    size = len(payload)
    if size < 126:
        return bytes((_TEXT, size)) + payload
    if size < 65_536:
        return _LENGTH_16.pack(_TEXT, 126, size) + payload
    return _LENGTH_64.pack(_TEXT, 127, size) + payload


def payloads(frames: bytes) -> Iterator[bytes]:
    """Cut what `text_frame` made, one or several joined, into its payloads."""
    start = 0
    while start < len(frames):
        size = frames[start + 1]
        start += 2
        if size == 126:
            size = int.from_bytes(frames[start : start + 2])
            start += 2
        elif size == 127:
            size = int.from_bytes(frames[start : start + 8])
            start += 8
        yield frames[start : start + size]
        start += size

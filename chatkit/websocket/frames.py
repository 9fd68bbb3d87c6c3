"""Whole, unmasked WebSocket text frames (RFC 6455 section 5.2), as a server sends them: made, joined and cut apart."""

import zlib
from collections.abc import Iterator
from struct import Struct

_LENGTH_16 = Struct("!BBH")
_LENGTH_64 = Struct("!BBQ")
_TEXT = 0x81  # FIN and the opcode of text
_HEADS = tuple(bytes((_TEXT, size)) for size in range(126))  # of short frames, which nearly all are
_COMPRESSED = 0x40  # RSV1, as permessage-deflate uses it (RFC 7692 section 6)

MIN_COMPRESSED_BYTES = 128  # what is shorter gains little, and costs the client a stream
SYNC_TAIL = b"\x00\x00\xff\xff"  # ends a flushed deflate stream; the wire leaves it out (RFC 7692 section 7.2.1)
_LEVEL = 6
_MEMORY = 5  # with a window of 4 KiB a larger table gains nothing


def text_frame(payload: bytes) -> bytes:
    """Put a text's UTF-8 into one frame."""
    size = len(payload)
    if size < 126:
        return _HEADS[size] + payload
    if size < 65_536:
        return _LENGTH_16.pack(_TEXT, 126, size) + payload
    return _LENGTH_64.pack(_TEXT, 127, size) + payload


def compressed_text_frame(payload: bytes, window_bits: int) -> bytes:
    """Put a text's UTF-8 into one frame that every client with this window can read; a short one stays as it is."""
    if len(payload) < MIN_COMPRESSED_BYTES:
        return text_frame(payload)
    frame = text_frame(deflate(payload, window_bits))
    return bytes((frame[0] | _COMPRESSED,)) + frame[1:]


def deflate(payload: bytes, window_bits: int) -> bytes:
    """Compress a message by itself, without the context of any before."""
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, -window_bits, _MEMORY)
    return (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(SYNC_TAIL)


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

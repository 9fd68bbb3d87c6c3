"""Write WebSocket frames (RFC 6455 section 5.2): those of a server, masked ones of a client, and compressed ones.

A server's text frame has the fastest function, because every message of a room is one. Compression is RFC 7692. Knows
no sockets.
"""

import random
import zlib
from functools import lru_cache
from struct import Struct
from typing import Final

from chatkit.websocket.codes import CloseCode, Opcode

try:
    from websockets.speedups import apply_mask
except ImportError:  # websockets was built without its C part: the same function in Python
    from websockets.utils import apply_mask

__all__ = [
    "BINARY",
    "CLOSE",
    "COMPRESSED",
    "FIN",
    "MIN_COMPRESSED_BYTES",
    "PING",
    "PONG",
    "SYNC_TAIL",
    "TEXT",
    "apply_mask",
    "binary_frame",
    "client_frame",
    "close_frame",
    "cut_reason",
    "make_frame",
    "make_message",
    "text_frame",
]

# Plain integers, because they are used once a frame: looking up and comparing the members of an enum costs more.
TEXT: Final[int] = Opcode.TEXT.value
BINARY: Final[int] = Opcode.BINARY.value
CLOSE: Final[int] = Opcode.CLOSE.value
PING: Final[int] = Opcode.PING.value
PONG: Final[int] = Opcode.PONG.value

FIN: Final = 0x80  # of a frame's first byte: the last, or only, frame of its message
COMPRESSED: Final = 0x40  # RSV1, as permessage-deflate uses it (RFC 7692 section 6)
MIN_COMPRESSED_BYTES: Final = 128  # a shorter message gains little, and costs the client a stream
SYNC_TAIL: Final = b"\x00\x00\xff\xff"  # ends a flushed deflate stream; a frame omits it (RFC 7692 section 7.2.1)

_MASKED: Final = 0x80  # of a frame's second byte
_LENGTH_16: Final = Struct("!BBH")
_LENGTH_64: Final = Struct("!BBQ")
_WHOLE_TEXT: Final = FIN | TEXT
_WHOLE_BINARY: Final = bytes((FIN | BINARY,))
_SHORT_TEXT_HEADS: Final = tuple(bytes((_WHOLE_TEXT, size)) for size in range(126))  # nearly all frames are this short
_MAX_REASON_BYTES: Final = 123  # a control frame holds 125 bytes, two of them the code (RFC 6455 section 5.5)
_CODE: Final = Struct("!H")
_LEVEL: Final = 6
_MEMORY: Final = 5  # with a window of 4 KiB a larger table gains nothing


def text_frame(payload: bytes) -> bytes:
    """Return one unmasked, uncompressed frame with a text, given as UTF-8."""
    size = len(payload)
    if size < 126:
        return _SHORT_TEXT_HEADS[size] + payload
    if size < 65_536:
        return _LENGTH_16.pack(_WHOLE_TEXT, 126, size) + payload
    return _LENGTH_64.pack(_WHOLE_TEXT, 127, size) + payload


def binary_frame(payload: bytes) -> bytes:
    """Return one unmasked, uncompressed frame with binary data. It differs from a text frame in the first byte."""
    return _WHOLE_BINARY + text_frame(payload)[1:]


def make_frame(opcode: int, payload: bytes) -> bytes:
    """Return one whole, unmasked, uncompressed frame."""
    return _head(FIN | opcode, len(payload)) + payload


def make_message(opcode: int, payload: bytes, window_bits: int | None) -> bytes:
    """Return one frame with a message, compressed if the client agreed to a window and the message is long enough.

    Without a window (None), nothing is compressed. A compressed frame does not depend on earlier ones, so every client
    with this window can read it.
    """
    if window_bits is not None and len(payload) >= MIN_COMPRESSED_BYTES:
        return make_frame(opcode | COMPRESSED, _deflate(payload, window_bits))
    return text_frame(payload) if opcode == TEXT else make_frame(opcode, payload)


def client_frame(opcode: int, payload: bytes) -> bytes:
    """Return one whole, masked, uncompressed frame, as a client sends it (RFC 6455 section 5.3).

    The mask is predictable: use a client library for payloads that other people chose.
    """
    mask = random.randbytes(4)  # noqa: S311 - see above
    return _head(FIN | opcode, len(payload), _MASKED) + mask + apply_mask(payload, mask)


@lru_cache(maxsize=64)  # a server that shuts down sends the same frame to every client
def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame; 1005 gives one without a code. The reason is cut to the bytes that fit."""
    if code == CloseCode.NO_STATUS:
        return make_frame(CLOSE, b"")
    return make_frame(CLOSE, _CODE.pack(code) + cut_reason(reason).encode())


def cut_reason(reason: str) -> str:
    """Return a close reason, cut between characters to the 123 bytes that fit into a close frame."""
    return reason.encode(errors="replace")[:_MAX_REASON_BYTES].decode(errors="ignore")


def _head(first: int, size: int, masked: int = 0) -> bytes:
    if size < 126:
        return bytes((first, masked | size))
    if size < 65_536:
        return _LENGTH_16.pack(first, masked | 126, size)
    return _LENGTH_64.pack(first, masked | 127, size)


def _deflate(payload: bytes, window_bits: int) -> bytes:
    """Compress a message independently of earlier ones."""
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, -window_bits, _MEMORY)
    return (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(SYNC_TAIL)

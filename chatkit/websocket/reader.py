"""Read WebSocket frames (RFC 6455) of clients and servers, and decompress messages (RFC 7692).

Knows no sockets, event loops, clocks or logs. `FrameReader` reads the bytes of a client, split anywhere, and calls a
`FrameSink`. `cut_frames` finds the frames of a server in complete data.
"""

import codecs
import sys
import zlib
from collections.abc import Iterator
from enum import Enum
from typing import Final, Protocol

from chatkit.websocket.codes import CloseCode, Opcode, is_close_code
from chatkit.websocket.frames import BINARY, CLOSE, COMPRESSED, FIN, PING, SYNC_TAIL, TEXT, apply_mask

_RESERVED: Final = 0x70
_OPCODES: Final = frozenset(opcode.value for opcode in Opcode)
_PLAIN: Final = FIN | TEXT  # the first byte of nearly all frames: a whole text message, not compressed
_NEVER: Final = -1  # equals no first byte, which disables the reader's short path

# What is read before other connections have their turn: below a millisecond of small frames.
_TURN_BYTES: Final = 16_384
_LONG_PATH_BYTES: Final = 256  # added to each frame of the long path: floods use them, honest clients hardly do
MAX_EMPTY_FRAGMENTS: Final = 4_096  # of a message, beside one for each of its bytes: their framing costs as much
_INFLATED_SHARE: Final = 32  # decompressing so many bytes costs as much as one

_AFTERFINAL_BLOCK: Final = (SYNC_TAIL, b"\x00" + SYNC_TAIL)  # allowed after a block that is marked final (7.2.3.4)


class FrameError(Exception):
    """The peer violated the protocol. `code` is the close code to send, `reason` a sentence."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class FrameSink(Protocol):
    """The receiver of the messages and control frames that a `FrameReader` reads.

    Each method may pause or halt the reader. None may call `receive_data`.
    """

    def on_turn_over(self) -> None:
        """Pass no more data until it is this connection's turn again: it caused as much work as is due to one.

        Call `receive_data` then, possibly with no bytes: the reader may hold data that it has not read yet.
        """

    def on_texts(self, payloads: list[bytes]) -> None:
        """Handle whole text messages that arrived one behind the other. Each is valid UTF-8; there is at least one."""

    def on_binary(self, payload: bytes) -> None:
        """Handle one whole binary message."""

    def on_ping(self, payload: bytes) -> None:
        """Handle a ping. The answer is a pong with the same payload."""

    def on_close(self, code: int, reason: str) -> None:
        """Handle the client's close, with 1005 if it has no code. The reader has halted."""

    def on_fault(self, code: int, reason: str) -> None:
        """Handle a violation of the protocol by the client. The reader has halted."""


class _Reading(Enum):
    """The state of a reader: it calls its sink, waits for `resume`, or has stopped permanently."""

    ON = 0
    PAUSED = 1
    HALTED = 2


_ON: Final = _Reading.ON


class _Partial:
    """A message of which some fragments have arrived. A single buffer, because a list of tiny fragments costs more."""

    __slots__ = ("body", "decoder", "first", "n_fragments")

    def __init__(self, first: int) -> None:
        self.first = first
        self.body = bytearray()
        self.n_fragments = 0
        is_plain_text = first & 0x0F == TEXT and not first & COMPRESSED
        self.decoder = codecs.getincrementaldecoder("utf-8")() if is_plain_text else None

    def add(self, payload: bytes, *, is_final: bool) -> None:
        self.body += payload
        self.n_fragments += 1
        if self.n_fragments > MAX_EMPTY_FRAGMENTS + len(self.body):
            raise FrameError(CloseCode.POLICY_VIOLATION, "a message has more framing than content")
        if self.decoder is not None:  # so that invalid text is refused before the message is complete
            try:
                self.decoder.decode(payload, is_final)
            except UnicodeDecodeError as error:
                raise FrameError(CloseCode.INVALID_PAYLOAD, "text is not valid UTF-8") from error


class FrameReader:
    """Reads the frames of one client. Whole, uncompressed text messages have a short path, all other frames a long one.

    The length of a frame is compared with `max_bytes` as soon as its header is complete, before its payload is
    buffered. `inflate_bits` is the client's window if permessage-deflate was negotiated (without context takeover),
    otherwise 0.

    One call of `receive_data` does a bounded amount of work. It keeps the rest of the data for the next call.
    """

    __slots__ = (
        "_buffer", "_inflate_bits", "_max_bytes", "_n_inflated", "_need", "_on_texts", "_partial", "_plain", "_sink",
        "_state", "n_begun",
    )  # fmt: skip

    def __init__(self, sink: FrameSink, max_bytes: int, inflate_bits: int = 0) -> None:
        self._sink = sink
        self._on_texts = sink.on_texts  # bound once: every read calls it
        self._max_bytes = max_bytes
        self._inflate_bits = inflate_bits
        self._state = _ON
        self._plain = _PLAIN
        self._partial: _Partial | None = None
        self._buffer: bytearray | None = None  # incomplete or paused data; nearly always None
        self._n_inflated = 0  # bytes of the last frame's message, if it was compressed
        self._need = 0  # the length that the buffer must have before a frame in it can be complete
        self.n_begun = 0  # the number of messages of which one call of `receive_data` got only a part

    @property
    def n_unfinished_bytes(self) -> int:
        """The number of bytes of an incomplete message, or 0."""
        return len(self._buffer or b"") + (len(self._partial.body) + 1 if self._partial else 0)

    def receive_data(self, data: bytes | bytearray) -> None:  # noqa: C901 - every message takes the short path, so it is inline
        """Read bytes, and call the sink for the frames that they complete, until the turn is over."""
        if self._buffer is not None:
            waiting = self._append(self._buffer, data)
            if waiting is None:
                return
            data = waiting
        at, end, max_bytes, turn_end = 0, len(data), self._max_bytes, _TURN_BYTES
        texts: list[bytes] = []  # read, but not passed on yet
        while at < end and at < turn_end:
            if data[at] == self._plain and end - at > 7:
                start, least, size = at + 6, 0, data[at + 1] - 128  # negative if the frame is not masked
                if size > 125:  # two bytes of length; the long path reads eight
                    start, least = at + 8, 126
                    size = data[at + 2] << 8 | data[at + 3] if size == 126 else -1
                stop = start + size
                if least <= size <= max_bytes and stop <= end:
                    payload = apply_mask(data[start:stop], data[start - 4 : start])
                    if payload.isascii() or _is_utf8(payload):
                        texts.append(payload)
                        at = stop
                        continue
            if texts:  # before what follows them; and they may pause the reader
                self._on_texts(texts)
                texts = []
            stop = self._read_frame(data, at, end)
            if stop == at:
                break
            at = stop
            turn_end -= _LONG_PATH_BYTES + self._n_inflated // _INFLATED_SHARE
            self._n_inflated = 0
        if texts:
            self._on_texts(texts)
        if at < end or self._buffer is not None:
            self._keep(data, at)
        if turn_end <= at and self._state is _ON:
            self._need = 0  # the rest may hold a shorter frame than the one that was awaited
            self._sink.on_turn_over()

    def pause(self) -> None:
        """Stop calling the sink until `resume`. Data that arrives in between is buffered."""
        if self._state is _ON:
            self._state = _Reading.PAUSED
            self._plain = _NEVER
            self._need = sys.maxsize
            if self._buffer is None:
                self._buffer = bytearray()

    def resume(self) -> None:
        """Continue with the next `receive_data`, which may be of no bytes."""
        if self._state is _Reading.PAUSED:
            self._state = _ON
            self._plain = _PLAIN if self._partial is None else _NEVER
            self._need = 0

    def halt(self) -> None:
        """Ignore all further data."""
        self._state = _Reading.HALTED
        self._plain = _NEVER
        self._partial = None
        self._buffer = bytearray()

    def _append(self, buffer: bytearray, data: bytes | bytearray) -> bytearray | None:
        """Add data to the buffer; return the buffer if a frame in it can be complete."""
        if self._state is _Reading.HALTED:
            return None
        buffer += data
        return buffer if len(buffer) >= self._need else None

    def _keep(self, data: bytes | bytearray, at: int) -> None:
        """Buffer the unread rest of `data`, which may be the buffer itself."""
        if self._state is _Reading.HALTED:
            return
        if (at or self._buffer is None) and self._partial is None:
            self.n_begun += 1
        if at == len(data) and self._state is _ON:
            self._buffer = None
        elif data is self._buffer:
            del data[:at]
        else:
            self._buffer = bytearray(data[at:])

    def _fail(self, code: int, reason: str) -> None:
        self.halt()
        self._sink.on_fault(code, reason)

    def _read_frame(self, data: bytes | bytearray, at: int, end: int) -> int:
        """Read the frame at `at`, of any kind; return its end, or `at` if it is incomplete or the reader is not on."""
        if self._state is not _ON:
            return at
        try:
            start, size = self._read_head(data, at, end)
        except FrameError as error:
            self._fail(error.code, error.reason)
            return at
        stop = start + size
        if stop > end:
            self._need = stop - at
            return at
        payload = apply_mask(data[start:stop], data[start - 4 : start])
        try:
            if data[at] & CLOSE:
                self._handle_control(data[at] & 0x0F, payload)
            else:
                self._handle_data(data[at], payload)
        except FrameError as error:
            self._fail(error.code, error.reason)
        return stop

    def _read_head(self, data: bytes | bytearray, at: int, end: int) -> tuple[int, int]:
        """Return the start and the length of the payload. The start is after `end` if the header is incomplete."""
        self._check_first(data[at])
        if end - at < 2:
            return at + 2, 0
        if not data[at + 1] & 0x80:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a client's frame is not masked")
        size = data[at + 1] & 0x7F
        if data[at] & CLOSE and size > 125:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a control frame is longer than 125 bytes")
        start = at + 6
        if size > 125:
            start = at + (8 if size == 126 else 14)
            if end < start - 4:
                return start, 0
            smallest = 126 if size == 126 else 65536
            size = int.from_bytes(data[at + 2 : start - 4], "big")
            if size < smallest or size >> 63:
                raise FrameError(CloseCode.PROTOCOL_ERROR, "a frame's length is not in its shortest form")
        self._check_size(data[at], size)
        return start, size

    def _check_first(self, first: int) -> None:
        opcode = first & 0x0F
        if opcode not in _OPCODES:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a reserved opcode")
        # Only the first frame of a message may have the bit for compression.
        allowed = COMPRESSED if self._inflate_bits and opcode in (TEXT, BINARY) else 0
        if first & _RESERVED & ~allowed:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        if opcode & CLOSE:
            if not first & FIN:
                raise FrameError(CloseCode.PROTOCOL_ERROR, "a control frame is fragmented")
        elif opcode and self._partial is not None:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a new message begins within a fragmented one")
        elif not opcode and self._partial is None:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a continuation without a beginning")

    def _check_size(self, first: int, size: int) -> None:
        if first & CLOSE:
            return
        limit, partial = self._max_bytes, self._partial
        if (partial.first if partial else first) & COMPRESSED:
            limit += (limit >> 10) + 64  # deflate makes incompressible data a little longer
        if size + (len(partial.body) if partial else 0) > limit:
            raise FrameError(CloseCode.MESSAGE_TOO_BIG, f"a message holds at most {self._max_bytes} bytes")

    def _handle_control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._sink.on_ping(payload)
        elif opcode == CLOSE:
            code, reason = parse_close(payload)
            self.halt()
            self._sink.on_close(code, reason)
        # A pong needs no handling: any data from the client shows that it is alive.

    def _handle_data(self, first: int, payload: bytes) -> None:
        is_final = bool(first & FIN)
        if self._partial is None:
            if is_final:
                self._deliver(first, payload)
                return
            self._partial = _Partial(first)
            self.n_begun += 1
            self._plain = _NEVER
        partial = self._partial
        partial.add(payload, is_final=is_final)
        if is_final:
            self._partial = None
            self._plain = _PLAIN
            self._deliver(partial.first, bytes(partial.body))

    def _deliver(self, first: int, payload: bytes) -> None:
        if first & COMPRESSED:
            payload = inflate(payload, self._inflate_bits, self._max_bytes)
            self._n_inflated = len(payload)
        if first & 0x0F == BINARY:
            self._sink.on_binary(payload)
        elif payload.isascii() or _is_utf8(payload):
            self._on_texts([payload])
        else:
            raise FrameError(CloseCode.INVALID_PAYLOAD, "text is not valid UTF-8")


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def inflate(payload: bytes, window_bits: int, max_bytes: int) -> bytes:
    """Decompress a message. Raise `FrameError` if it is broken, or longer than `max_bytes`.

    Never produces more than `max_bytes` + 1 bytes. Each message is a separate stream: no context is taken over.
    """
    inflater = zlib.decompressobj(-window_bits)
    try:
        body = inflater.decompress(payload + SYNC_TAIL, max_bytes + 1)
    except zlib.error as error:
        raise FrameError(CloseCode.INVALID_PAYLOAD, "a compressed message is broken") from error
    if len(body) > max_bytes:
        raise FrameError(CloseCode.MESSAGE_TOO_BIG, f"a message holds at most {max_bytes} bytes")
    # Each block after a final one would need a new stream; a message full of them would block the event loop.
    if inflater.eof and inflater.unused_data not in _AFTERFINAL_BLOCK:
        raise FrameError(CloseCode.INVALID_PAYLOAD, "a compressed message goes on after its final block")
    return body


def parse_close(payload: bytes) -> tuple[int, str]:
    """Return a close frame's code (1005 if it has none) and reason. Raise `FrameError` if its form is invalid."""
    if not payload:
        return CloseCode.NO_STATUS, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not is_close_code(code):
        raise FrameError(CloseCode.PROTOCOL_ERROR, "a close code that may not be sent")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError as error:
        raise FrameError(CloseCode.INVALID_PAYLOAD, "a close reason is not valid UTF-8") from error


def cut_frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Iterate over the joined frames of a server: the first byte of each, and the start and end of its payload.

    An incomplete frame ends the iteration. Raise `FrameError` for a masked frame.
    """
    at, end = 0, len(data)
    while end - at >= 2:
        first, size, start = data[at], data[at + 1], at + 2
        if size > 125:
            if size > 127:
                raise FrameError(CloseCode.PROTOCOL_ERROR, "a server's frame is masked")
            start = at + (4 if size == 126 else 10)
            if start > end:
                return
            size = int.from_bytes(data[at + 2 : start])
        at = start + size
        if at > end:
            return
        yield first, start, at


def payloads(frames: bytes) -> list[bytes]:
    """Return the payloads of whole frames of a server."""
    return [frames[start:stop] for _, start, stop in cut_frames(frames)]

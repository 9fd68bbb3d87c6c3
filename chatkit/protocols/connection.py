"""An open WebSocket: frames in and out, back-pressure both ways, life and end, and the direct path to a handler.

Knows neither HTTP nor ASGI: `protocol.py` opens the connection and speaks ASGI on top.
"""

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import Final, cast

from uvicorn.server import ServerState

from chatkit.protocols.progress import LOOK_S, Unfinished, look_at
from chatkit.protocols.shared import SharedState
from chatkit.websocket.codes import CloseCode, is_close_code
from chatkit.websocket.direct import Receiver
from chatkit.websocket.frames import BINARY, PING, PONG, TEXT, close_frame, make_frame, make_message
from chatkit.websocket.reader import FrameReader

_MAX_WAITING_BYTES: Final = 262_144  # of messages that wait for their handler: about one read of the loop's
_CLOSE_TIMEOUT_S: Final = 10.0  # for a client to answer our close, and then for what was written to leave
SHUTDOWN_TIMEOUT_S: Final = 1.0  # the same while the server ends
_LINGER_S: Final = 2.0  # for a client that broke the protocol to read why before the connection is cut
_PING: Final = make_frame(PING, b"")

Write = Callable[[bytes], None]


class State(IntEnum):
    """What a connection does, in the order in which it does it; it may skip states."""

    CONNECTING = 0  # the handshake is not answered
    OPEN = 1
    CLOSING = 2  # our close is sent, and the client's is awaited
    DRAINING = 3  # both closes are done, or a fault was reported: what was written leaves
    CLOSED = 4  # the transport is closed


# Names of the module: a look-up in an enum costs more, and they are compared for each message.
CONNECTING, OPEN, CLOSING, DRAINING, CLOSED = State


def _drop(_data: bytes, /) -> None:
    """Stand for `transport.write`, and for `received_text`, where a connection ends."""


class Connection(asyncio.Protocol):
    """One open connection. A `DirectSocket`, and the sink of its own frame reader.

    Any byte from the client is life, and so is progress of what is written to it. While we do not read, nobody is dead.
    """

    __slots__ = (
        "_connection", "_end", "_is_choked", "_is_heard", "_is_held", "_is_pinged", "_outlives_handler", "_pong",
        "_reader", "_receiver", "_server_state", "_share", "_state", "_unfinished", "_waiters", "_waiting",
        "_waiting_bytes", "deflate", "due_tick", "is_writable", "write",
    )  # fmt: skip

    def __init__(self, share: SharedState, server_state: ServerState) -> None:
        self._share = share
        self._server_state = server_state
        self._state = CONNECTING
        self._reader: FrameReader | None = None
        self._receiver: Receiver | None = None
        self._end: tuple[int, str] | None = None  # the close code and reason, once there is one
        self._waiting: list[tuple[int, bytes]] = []  # messages, as opcode and payload, that nobody took yet
        self._waiting_bytes = 0
        self._waiters: tuple[asyncio.Future[None], ...] = ()  # of `receive` and `send`; each looks again when woken
        self._pong: bytes | None = None  # the newest ping's payload, while the client does not read our pongs
        self._is_choked = False  # too much waits: the transport does not read
        self._outlives_handler = False  # the receiver alone is who the connection is for
        self._is_held = False  # the receiver wants no text now
        self._is_heard = True
        self._is_pinged = False
        self._unfinished: Unfinished | None = None  # a message that has begun
        self.due_tick = 0
        self.deflate: int | None = None
        self.is_writable = True
        self.write: Write = _drop

    def _open(self, deflate_bits: int, inflate_bits: int) -> None:
        """Begin to read and write frames; a number of bits is 0 where there is no compression."""
        self._state = OPEN
        self.write = self._connection.write
        self.deflate = deflate_bits or None
        self._reader = FrameReader(self, self._share.config.ws_max_size, inflate_bits)
        self._share.wheel.set(self, self._share.config.ws_ping_interval or LOOK_S)

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._connection = cast("asyncio.Transport", transport)
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own classes only

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        self._is_heard = True
        reader = self._reader
        if reader is None:
            self._read_early(data)
            return
        reader.receive_data(data)

    def _read_early(self, data: bytes) -> None:
        """Take what comes before the connection is open."""

    def eof_received(self) -> None:
        """End: WebSocket has no use for half a connection. The transport closes itself after this."""
        self._share.wheel.set(self, _CLOSE_TIMEOUT_S)  # it waits for its buffer, which may never drain
        was_open, self._state = self._state is OPEN, DRAINING
        if was_open:
            self._finish(CloseCode.ABNORMAL)
            self._tell_receiver()

    def connection_lost(self, _exc: Exception | None) -> None:
        """End, however it came to that, and let go of everything."""
        self._state = CLOSED
        self._share.wheel.clear(self)
        self._share.limit.close(self._connection)
        self._server_state.connections.discard(self)
        self._finish(CloseCode.ABNORMAL)
        self._tell_receiver()
        self._reader = None

    def pause_writing(self) -> None:
        """Note that the buffer is full."""
        self.is_writable = False
        if self._state is CONNECTING:  # a response in place of a WebSocket, which has no pings
            self._share.wheel.set(self, _CLOSE_TIMEOUT_S)

    def resume_writing(self) -> None:
        """Hear that the client read on."""
        self.is_writable = self._is_heard = True
        if self._state is CONNECTING:
            self._share.wheel.clear(self)
        if self._pong is not None:
            self.write(make_frame(PONG, self._pong))
            self._pong = None
        self._wake()
        if self._receiver is not None:
            self._receiver.writable_again()

    # What the clock says

    def on_time(self) -> None:
        """Do what is due: a ping, a look for life, or the end of waiting."""
        if self._state is OPEN:
            self._keep_alive()
        else:
            self._connection.abort()  # close() would wait for a client that reads no more

    def _keep_alive(self) -> None:
        config = self._share.config
        interval_s, timeout_s = config.ws_ping_interval, config.ws_ping_timeout
        if self._is_message_slow():
            self._say_close(CloseCode.POLICY_VIOLATION, "a message did not arrive in time")
            self._tell_receiver()
        elif not interval_s:
            self._share.wheel.set(self, LOOK_S)
        elif self._is_pinged and not self._is_heard and not self._is_choked:
            self._say_close(CloseCode.INTERNAL_ERROR, "keepalive ping timeout", SHUTDOWN_TIMEOUT_S)
            self._tell_receiver()
        elif self._is_pinged and timeout_s and interval_s > timeout_s:
            self._is_pinged = False
            self._share.wheel.set(self, interval_s - timeout_s)
        else:
            if self.is_writable:  # else it would only wait behind the rest; the client has to read on in time
                self.write(_PING)
            self._is_heard = False
            self._is_pinged = timeout_s is not None
            self._share.wheel.set(self, interval_s if timeout_s is None else timeout_s)

    def _is_message_slow(self) -> bool:
        reader = None if self._is_choked else self._reader
        self._unfinished, is_slow = look_at(reader, self._unfinished, self._share.loop.time())
        return is_slow

    # What the client says: the sink of the frame reader

    def on_text(self, payload: bytes) -> None:
        """Keep a text message for the handler. A receiver's own method takes this one's place in the reader."""
        self._put(TEXT, payload)

    def on_binary(self, payload: bytes) -> None:
        """Keep a binary message for the handler, or tell the receiver."""
        if self._receiver is None or self._is_held or self._waiting:
            self._put(BINARY, payload)
        elif self._state is OPEN:
            self._receiver.received_binary()

    def on_ping(self, payload: bytes) -> None:
        """Answer, or owe the answer: a client that pings and does not read must not fill our memory with pongs."""
        if self.is_writable:
            self.write(make_frame(PONG, payload))
        else:
            self._pong = payload

    def on_close(self, code: int, reason: str) -> None:
        """Echo the client's close, or take it for the echo of ours. It is the server that then ends the connection."""
        if self._state is OPEN:
            self.write(close_frame(code))
            self._finish(code, reason)
        self._hang_up()
        self._tell_receiver()

    def on_fault(self, code: int, reason: str) -> None:
        """Say what the client did wrong."""
        was_open = self._state is OPEN
        self._say_close(code, reason)
        self._hang_up(_LINGER_S, is_heard_out=was_open)
        self._tell_receiver()

    def _put(self, opcode: int, payload: bytes) -> None:
        if self._state is not OPEN:
            return
        self._waiting.append((opcode, payload))
        self._waiting_bytes += len(payload)
        if len(self._waiting) >= self._share.config.ws_max_queue or self._waiting_bytes >= _MAX_WAITING_BYTES:
            self._choke()
        self._wake()

    def _choke(self) -> None:
        if self._reader is not None and not self._is_choked and not self._connection.is_closing():
            self._is_choked = True
            self._reader.pause()
            self._connection.pause_reading()

    def _unchoke(self) -> None:
        """Read on. MUST NOT be called from within the reader."""
        if not self._is_choked or self._connection.is_closing():
            return
        self._is_choked = False
        self._is_heard = True  # what waits in the kernel may hold the pong
        self._connection.resume_reading()
        if self._reader is not None:
            self._reader.resume()
            self.data_received(b"")

    def _forget_waiting(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0

    def _take_waiting(self) -> tuple[int, bytes]:
        opcode, payload = self._waiting.pop(0)
        self._waiting_bytes -= len(payload)
        return opcode, payload

    def _is_half_empty(self) -> bool:
        max_messages = self._share.config.ws_max_queue
        return len(self._waiting) * 2 <= max_messages and self._waiting_bytes * 2 <= _MAX_WAITING_BYTES

    # The end

    def _say_close(self, code: int, reason: str, timeout_s: float = _CLOSE_TIMEOUT_S) -> None:
        """Send a close, and give the client its time to answer."""
        if self._state is not OPEN:
            return
        self.write(close_frame(code, reason))
        self._state = CLOSING
        self._finish(code, reason)
        self._share.wheel.set(self, timeout_s)
        if self._is_choked:  # the answer comes behind what waits
            self._share.loop.call_soon(self._unchoke)

    def _hang_up(self, timeout_s: float = _CLOSE_TIMEOUT_S, *, is_heard_out: bool = False) -> None:
        """End the connection. Who may still be sending is heard out: a reset would eat our words."""
        self._state = DRAINING
        self._share.wheel.set(self, timeout_s)
        if is_heard_out and self._connection.can_write_eof():
            self._connection.write_eof()
        else:
            self._connection.close()

    def _finish(self, code: int, reason: str = "") -> None:
        """Settle, once, how the connection ended. What came before may still be taken; nothing more is written."""
        if self._end is None:
            self._end = code, reason
        self._pong = None
        self.write = _drop
        if self._reader is not None:
            self._reader.on_text = _drop
        self._wake()

    def _tell_receiver(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is None or self._end is None:
            return
        self._deliver(receiver)
        receiver.closed(self._end[0])

    # The direct path

    def attach(self, receiver: Receiver, *, outlives_handler: bool = False) -> None:
        """Begin the direct path; see `DirectSocket`."""
        if self._state is CONNECTING or self._receiver is not None:
            raise RuntimeError("A receiver is attached once, after 'websocket.accept'.")
        self._receiver = receiver
        self._outlives_handler = outlives_handler
        if self._end is None:
            self._flush()
        else:
            self._share.loop.call_soon(self._tell_receiver)

    def send_text(self, payload: bytes) -> None:
        """Write one text message of UTF-8 bytes."""
        self.write(make_message(TEXT, payload, self.deflate))

    def pause_reading(self) -> None:
        """Deliver no more text until `resume_reading`; see `DirectSocket`."""
        self._is_held = True
        if self._reader is not None and self._state is OPEN:
            self._reader.on_text = self.on_text

    def resume_reading(self) -> None:
        """Deliver what waits, and go on; from the loop, because the caller may be within a delivery."""
        if self._is_held:
            self._is_held = False
            self._share.loop.call_soon(self._flush)

    def close(self, code: int, reason: str = "") -> None:
        """Close; see `DirectSocket`. The receiver is told from the loop, because it may be the caller."""
        if not is_close_code(code):
            raise ValueError(f"{code} is not a close code")
        if self._state is OPEN:
            self._forget_waiting()
            self._say_close(code, reason)
            self._share.loop.call_soon(self._tell_receiver)

    def _flush(self) -> None:
        receiver = self._receiver
        if receiver is None or self._reader is None or self._state is not OPEN:
            return
        self._deliver(receiver)
        if not self._is_held and self._state is OPEN:
            self._reader.on_text = receiver.received_text
        if not self._waiting:
            self._unchoke()

    def _deliver(self, receiver: Receiver) -> None:
        # Once it is over, a receiver that holds us off gets the rest nevertheless: it is bounded, and would be lost.
        while self._waiting and (self._state is not OPEN or not self._is_held):
            opcode, payload = self._take_waiting()
            if opcode == TEXT:
                receiver.received_text(payload)
            else:
                receiver.received_binary()

    def _changed(self) -> "asyncio.Future[None]":
        waiter = self._share.loop.create_future()
        self._waiters = (*(other for other in self._waiters if not other.done()), waiter)
        return waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, ()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

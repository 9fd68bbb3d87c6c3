"""Connection: an open WebSocket: frames in both directions, back-pressure, keepalive, closing and the direct path.

Knows neither HTTP nor ASGI: `websocket.py` answers the handshake and speaks ASGI.
"""

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import Final, cast

from uvicorn.server import ServerState

from chatkit.protocols.progress import RATE_INTERVAL_S, PartialMessage, check_progress
from chatkit.protocols.shared import SharedState
from chatkit.websocket.codes import CloseCode, is_close_code
from chatkit.websocket.direct import Receiver
from chatkit.websocket.frames import BINARY, PING, PONG, TEXT, close_frame, make_frame, make_message
from chatkit.websocket.reader import FrameReader

_MAX_WAITING_BYTES: Final = 262_144  # of queued messages; about one read of the event loop
_CLOSE_TIMEOUT_S: Final = 10.0  # for a client to answer our close, and then for the buffer to drain
SHUTDOWN_TIMEOUT_S: Final = 1.0  # the same while the server shuts down
_LINGER_S: Final = 2.0  # for a client that violated the protocol to read the reason
_PING: Final = make_frame(PING, b"")

Write = Callable[[bytes], None]


class State(IntEnum):
    """The states of a connection, in order; a connection may skip states."""

    CONNECTING = 0  # the handshake is not answered yet
    OPEN = 1
    CLOSING = 2  # our close is sent; the client's close is awaited
    DRAINING = 3  # both closes are done, or an error was reported: the buffer drains
    CLOSED = 4  # the transport is closed


# Module-level names: an enum look-up costs more, and each message compares states.
CONNECTING, OPEN, CLOSING, DRAINING, CLOSED = State


def _drop(_data: bytes, /) -> None:
    """Discard the data: replaces `transport.write` once the connection ends."""


class Connection(asyncio.Protocol):
    """One open connection. It is a `DirectSocket`, and the sink of its own frame reader.

    Any byte from the client shows that it is alive, and so does progress of the data written to it. While reading is
    paused, the client is not judged.
    """

    __slots__ = (
        "_close_status", "_connection", "_has_received", "_is_delivery_paused", "_is_ping_pending",
        "_is_transport_paused", "_outlives_handler", "_partial_message", "_pong", "_reader", "_receiver",
        "_server_state", "_shared", "_state", "_waiters", "_waiting", "_waiting_bytes", "deflate",
        "due_tick", "is_writable", "write",
    )  # fmt: skip

    def __init__(self, shared: SharedState, server_state: ServerState) -> None:
        self._shared = shared
        self._server_state = server_state
        self._state = CONNECTING
        self._reader: FrameReader | None = None
        self._receiver: Receiver | None = None
        self._close_status: tuple[int, str] | None = None  # the close code and reason, once the connection ends
        self._waiting: list[tuple[int, bytes]] = []  # opcode and payload of messages not yet received
        self._waiting_bytes = 0
        self._waiters: tuple[asyncio.Future[None], ...] = ()  # of `receive` and `send`; woken, each checks again
        self._pong: bytes | None = None  # the newest ping's payload while the write buffer is full
        self._is_transport_paused = False  # the queue is full, or this connection has had its turn
        self._outlives_handler = False  # the connection stays open when the handler returns
        self._is_delivery_paused = False  # by the receiver
        self._has_received = True
        self._is_ping_pending = False
        self._partial_message: PartialMessage | None = None  # the message of which only a part has arrived
        self.due_tick = 0
        self.deflate: int | None = None
        self.is_writable = True
        self.write: Write = _drop

    def _open(self, deflate_bits: int, inflate_bits: int) -> None:
        """Start to read and write frames. Zero window bits mean no compression."""
        self._state = OPEN
        self.write = self._connection.write
        self.deflate = deflate_bits or None
        self._reader = FrameReader(self, self._shared.config.ws_max_size, inflate_bits)
        self._shared.wheel.set(self, self._shared.config.ws_ping_interval or RATE_INTERVAL_S)

    # Transport callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection = cast("asyncio.Transport", transport)
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn's type lists only its own classes

    def data_received(self, data: bytes) -> None:
        self._has_received = True
        reader = self._reader
        if reader is None:
            self._read_early(data)
            return
        reader.receive_data(data)

    def _read_early(self, data: bytes) -> None:
        """Handle data that arrives before the connection is open."""

    def eof_received(self) -> None:
        """Finish the connection: WebSocket has no half-open connections. The transport closes itself after this."""
        self._shared.wheel.set(self, _CLOSE_TIMEOUT_S)  # the transport waits for its buffer, which may never drain
        was_open, self._state = self._state is OPEN, DRAINING
        if was_open:
            self._finish(CloseCode.ABNORMAL)
            self._notify_receiver()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._state = CLOSED
        self._shared.wheel.clear(self)
        self._shared.limit.close(self._connection)
        self._server_state.connections.discard(self)
        self._finish(CloseCode.ABNORMAL)
        self._notify_receiver()
        self._reader = None

    def pause_writing(self) -> None:
        self.is_writable = False
        if self._state is CONNECTING:  # an HTTP response instead of a WebSocket: there are no pings
            self._shared.wheel.set(self, _CLOSE_TIMEOUT_S)

    def resume_writing(self) -> None:
        self.is_writable = self._has_received = True
        if self._state is CONNECTING:
            self._shared.wheel.clear(self)
        if self._pong is not None:
            self.write(make_frame(PONG, self._pong))
            self._pong = None
        self._wake()
        if self._receiver is not None:
            self._receiver.writable_again()

    # Timers

    def on_timer(self) -> None:
        """Send a ping, check that the client is alive, or abort a connection that does not close in time."""
        if self._state is OPEN:
            self._keep_alive()
        else:
            self._connection.abort()  # close() would wait for a client that does not read

    def _keep_alive(self) -> None:
        config = self._shared.config
        interval_s, timeout_s = config.ws_ping_interval, config.ws_ping_timeout
        if self._is_message_slow():
            self._send_close(CloseCode.POLICY_VIOLATION, "a message did not arrive in time")
            self._notify_receiver()
        elif not interval_s:
            self._shared.wheel.set(self, RATE_INTERVAL_S)
        elif self._is_ping_pending and not self._has_received and not self._is_transport_paused:
            self._send_close(CloseCode.INTERNAL_ERROR, "keepalive ping timeout", SHUTDOWN_TIMEOUT_S)
            self._notify_receiver()
        elif self._is_ping_pending and timeout_s and interval_s > timeout_s:
            self._is_ping_pending = False
            self._shared.wheel.set(self, interval_s - timeout_s)
        else:
            if self.is_writable:  # a full buffer needs no ping: the client must read in time anyway
                self.write(_PING)
            self._has_received = False
            self._is_ping_pending = timeout_s is not None
            self._shared.wheel.set(self, interval_s if timeout_s is None else timeout_s)

    def _is_message_slow(self) -> bool:
        reader = None if self._is_transport_paused else self._reader
        self._partial_message, is_slow = check_progress(reader, self._partial_message, self._shared.loop.time())
        return is_slow

    # Messages from the client: the sink of the frame reader

    def on_texts(self, payloads: list[bytes]) -> None:
        """Deliver text messages on the direct path, and queue those that cannot be delivered now."""
        if self._receiver is not None and self._state is OPEN and not self._is_delivery_paused and not self._waiting:
            n_handled = self._receiver.received_texts(payloads)
            if n_handled == len(payloads):
                return
            payloads = payloads[n_handled:]
        for payload in payloads:
            self._put(TEXT, payload)

    def on_binary(self, payload: bytes) -> None:
        """Queue a binary message for the handler, or notify the receiver."""
        if self._receiver is None or self._is_delivery_paused or self._waiting:
            self._put(BINARY, payload)
        elif self._state is OPEN:
            self._receiver.received_binary()

    def on_ping(self, payload: bytes) -> None:
        """Answer with a pong; while the buffer is full, keep only the newest ping, so that pongs cannot fill memory."""
        if self.is_writable:
            self.write(make_frame(PONG, payload))
        else:
            self._pong = payload

    def on_close(self, code: int, reason: str) -> None:
        """Answer the client's close, or accept it as the answer to ours. The server then closes the connection."""
        if self._state is OPEN:
            self.write(close_frame(code))
            self._finish(code, reason)
        self._close_transport()
        self._notify_receiver()

    def on_fault(self, code: int, reason: str) -> None:
        """Report a protocol error to the client and close the connection."""
        was_open = self._state is OPEN
        self._send_close(code, reason)
        self._close_transport(_LINGER_S, keeps_reading=was_open)
        self._notify_receiver()

    def on_turn_over(self) -> None:
        """Read no more until it is this connection's turn again."""
        if not self._is_transport_paused and not self._connection.is_closing():
            self._is_transport_paused = True
            self._connection.pause_reading()
            self._shared.turns.add(self._begin_turn)

    def _begin_turn(self) -> None:
        if not self._is_queue_full():  # otherwise, the handler resumes the transport
            self._resume_transport()

    def _put(self, opcode: int, payload: bytes) -> None:
        if self._state is not OPEN:
            return
        self._waiting.append((opcode, payload))
        self._waiting_bytes += len(payload)
        if self._is_queue_full():
            self._pause_transport()
        self._wake()

    def _pause_transport(self) -> None:
        if self._reader is not None and not self._is_transport_paused and not self._connection.is_closing():
            self._is_transport_paused = True
            self._reader.pause()
            self._connection.pause_reading()

    def _resume_transport(self) -> None:
        """Resume reading from the transport. MUST NOT be called from within the reader."""
        if not self._is_transport_paused or self._connection.is_closing():
            return
        self._is_transport_paused = False
        self._has_received = True  # unread data in the kernel may contain the pong
        self._connection.resume_reading()
        if self._reader is not None:
            self._reader.resume()
            self.data_received(b"")

    def _clear_waiting(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0

    def _pop_waiting(self) -> tuple[int, bytes]:
        opcode, payload = self._waiting.pop(0)
        self._waiting_bytes -= len(payload)
        return opcode, payload

    def _is_queue_full(self) -> bool:
        return len(self._waiting) >= self._shared.config.ws_max_queue or self._waiting_bytes >= _MAX_WAITING_BYTES

    def _is_half_empty(self) -> bool:
        max_messages = self._shared.config.ws_max_queue
        return len(self._waiting) * 2 <= max_messages and self._waiting_bytes * 2 <= _MAX_WAITING_BYTES

    # Closing

    def _send_close(self, code: int, reason: str, timeout_s: float = _CLOSE_TIMEOUT_S) -> None:
        """Send a close frame, and wait a limited time for the client's answer."""
        if self._state is not OPEN:
            return
        self.write(close_frame(code, reason))
        self._state = CLOSING
        self._finish(code, reason)
        self._shared.wheel.set(self, timeout_s)
        if self._is_transport_paused:  # the client's answer arrives after the data not read yet
            self._shared.loop.call_soon(self._resume_transport)

    def _close_transport(self, timeout_s: float = _CLOSE_TIMEOUT_S, *, keeps_reading: bool = False) -> None:
        """Close the connection.

        With `keeps_reading`, only the write side is closed: closing the socket while the client sends would cause a
        reset, which discards what was written before.
        """
        self._state = DRAINING
        self._shared.wheel.set(self, timeout_s)
        if keeps_reading and self._connection.can_write_eof():
            self._connection.write_eof()
        else:
            self._connection.close()

    def _finish(self, code: int, reason: str = "") -> None:
        """Record, once, how the connection ended. Queued messages can still be received; nothing more is written."""
        if self._close_status is None:
            self._close_status = code, reason
        self._pong = None
        self.write = _drop
        self._wake()

    def _notify_receiver(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is None or self._close_status is None:
            return
        self._deliver(receiver)
        receiver.closed(self._close_status[0])

    # The direct path

    def attach(self, receiver: Receiver, *, outlives_handler: bool = False) -> None:
        """Start the direct path; see `DirectSocket`."""
        if self._state is CONNECTING or self._receiver is not None:
            raise RuntimeError("A receiver is attached once, after 'websocket.accept'.")
        self._receiver = receiver
        self._outlives_handler = outlives_handler
        if self._close_status is None:
            self._flush()
        else:
            self._shared.loop.call_soon(self._notify_receiver)

    def send_text(self, payload: bytes) -> None:
        """Write one text message of UTF-8 bytes."""
        self.write(make_message(TEXT, payload, self.deflate))

    def pause_reading(self) -> None:
        """Deliver no more text until `resume_reading`; see `DirectSocket`."""
        self._is_delivery_paused = True

    def resume_reading(self) -> None:
        """Deliver queued messages and continue. Runs from the loop, because the caller may be in a delivery."""
        if self._is_delivery_paused:
            self._is_delivery_paused = False
            self._shared.loop.call_soon(self._flush)

    def close(self, code: int, reason: str = "") -> None:
        """Close the connection; see `DirectSocket`. The receiver is notified later: it may be the caller."""
        if not is_close_code(code):
            raise ValueError(f"{code} is not a close code")
        if self._state is OPEN:
            self._clear_waiting()
            self._send_close(code, reason)
            self._shared.loop.call_soon(self._notify_receiver)

    def _flush(self) -> None:
        receiver = self._receiver
        if receiver is None or self._reader is None or self._state is not OPEN:
            return
        self._deliver(receiver)
        if not self._waiting:
            self._resume_transport()

    def _deliver(self, receiver: Receiver) -> None:
        # After the end, a receiver that paused gets the rest anyway: it is bounded, and would be lost otherwise.
        while self._waiting and (self._state is not OPEN or not self._is_delivery_paused):
            opcode, payload = self._pop_waiting()
            if opcode == TEXT:
                receiver.received_texts([payload])
            else:
                receiver.received_binary()

    def _changed(self) -> "asyncio.Future[None]":
        waiter = self._shared.loop.create_future()
        self._waiters = (*(other for other in self._waiters if not other.done()), waiter)
        return waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, ()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

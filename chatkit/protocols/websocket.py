"""WebSocketProtocol: a complete ASGI server for WebSockets, to be used by uvicorn, with a direct path beside ASGI.

`uvicorn --ws chatkit.server.protocol:WebSocketProtocol --http chatkit.server.protocol:HttpProtocol app:app` serves any
ASGI application. One that knows the extension `chatkit.direct` attaches a `Receiver` to its `DirectSocket`. It then
receives text without a queue and writes frames without ASGI messages. Knows nothing of rooms or of message contents.
"""

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Coroutine, Iterable
from http import HTTPStatus
from typing import Any, ClassVar, Final

from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.server import ServerState

from chatkit.protocols.connection import (
    CONNECTING,
    OPEN,
    SHUTDOWN_TIMEOUT_S,
    Connection,
)
from chatkit.protocols.detect import HttpProtocol
from chatkit.protocols.handshake import HEAD_TIMEOUT_S, Handshake, HandshakeRejected, PendingHandshake, make_response
from chatkit.protocols.head import MAX_HEAD_BYTES, TOO_MANY_ESCAPES, find_head_end, has_costly_escapes
from chatkit.protocols.opener import SocketOpener
from chatkit.protocols.peer import peer_of
from chatkit.protocols.shared import SharedState
from chatkit.websocket.codes import CloseCode, is_close_code
from chatkit.websocket.direct import DIRECT, DirectSocket, Receiver
from chatkit.websocket.frames import BINARY, TEXT, make_message, text_frame

__all__ = ["DIRECT", "DirectSocket", "HttpProtocol", "Receiver", "WebSocketProtocol", "text_frame"]

_MAX_EARLY_BYTES: Final = 65_536  # of frames that a client sends before its handshake is answered
_FORBIDDEN: Final = "this WebSocket is not open to you"
_FAILED: Final = "the server failed; its log says how"
_LATE: Final = "the request's head did not arrive in time"
_CLOSING: Final = "the server is shutting down"

_log = logging.getLogger("uvicorn.error")


class WebSocketProtocol(Connection):
    """One WebSocket. An HTTP protocol creates it and passes on the request's head.

    Nothing of the handshake is kept once it is answered.
    """

    __slots__ = ("_is_closed_by_handler", "_is_connect_received", "_pending")

    reads_raw_heads: ClassVar = True  # accepts a head as the client wrote it
    accepts_over_limit: ClassVar = False  # if False, connections over the limit get a 503

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(SharedState.of(config, server_state, _loop), server_state)
        self._pending: PendingHandshake | None = PendingHandshake(app_state, is_logged=self._shared.config.access_log)
        self._is_connect_received = False
        self._is_closed_by_handler = False

    def shutdown(self) -> None:
        """Close the connection because the server shuts down."""
        if self._state is OPEN:
            self._send_close(CloseCode.SERVICE_RESTART, "", SHUTDOWN_TIMEOUT_S)
            self._notify_receiver()
            return
        if self._state is CONNECTING:
            self._reject(make_response(HTTPStatus.SERVICE_UNAVAILABLE, _CLOSING), CloseCode.SERVICE_RESTART)
        self._shared.wheel.set(self, SHUTDOWN_TIMEOUT_S)

    def on_timer(self) -> None:
        if self._state is CONNECTING:
            self._reject(make_response(HTTPStatus.REQUEST_TIMEOUT, _LATE))
        else:
            super().on_timer()

    def _finish(self, code: int, reason: str = "") -> None:
        super()._finish(code, reason)
        self._pending = None

    # The opening handshake

    def _read_early(self, data: bytes) -> None:
        """Read the head, and buffer the data that follow until the handshake is answered."""
        pending = self._pending
        if pending is None:
            return
        n_searched = len(pending.buffer)
        pending.buffer += data
        if pending.handshake is None:
            self._read_head(pending, n_searched)
        elif len(pending.buffer) > _MAX_EARLY_BYTES and not self._is_transport_paused:
            self._is_transport_paused = True
            self._connection.pause_reading()

    def _read_head(self, pending: PendingHandshake, n_searched: int) -> None:
        end = find_head_end(pending.buffer, n_searched)
        if not end and len(pending.buffer) <= MAX_HEAD_BYTES:
            if not self.due_tick:
                self._shared.wheel.set(self, HEAD_TIMEOUT_S)
            return
        self._shared.wheel.clear(self)
        if not 4 <= end <= MAX_HEAD_BYTES:
            detail = f"a request's head has at most {MAX_HEAD_BYTES} bytes"
            self._reject(make_response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail))
            return
        if has_costly_escapes(bytes(pending.buffer[:end])):
            self._reject(make_response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, TOO_MANY_ESCAPES))
            return
        try:
            pending.handshake = Handshake.read(bytes(pending.buffer[:end]), self._shared)
        except HandshakeRejected as refused:
            self._reject(refused.response)
            return
        is_full = not self._shared.limit.serve(self._connection, self._shared.loop.time())
        if is_full and not self.accepts_over_limit:
            self._reject(make_response(HTTPStatus.SERVICE_UNAVAILABLE, self._shared.limit.sentence))
            return
        del pending.buffer[:end]
        opener = None if is_full else self._shared.opener
        if opener is not None and opener.handles(pending.handshake):
            self._open_by(opener, pending.handshake)
        else:
            self._open_by_application(pending, pending.handshake, is_full=is_full)

    def _reject(self, response: bytes, code: int = CloseCode.ABNORMAL) -> None:
        if self._pending is None or not self._pending.is_denial_begun:  # else it would split another response
            self._connection.write(response)
        self._finish(code)
        self._close_transport(keeps_reading=True)

    def _accept(
        self, pending: PendingHandshake, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        handshake = pending.handshake
        if handshake is None or self._connection.is_closing():
            raise ClientDisconnected
        self._connection.write(handshake.accept(self._server_state.default_headers, headers, subprotocol))
        pending.log("[accepted]")
        self._pending = None
        self._open(handshake.deflate_bits, handshake.inflate_bits)
        self._resume_transport()
        if pending.buffer:
            self.data_received(bytes(pending.buffer))

    # The application's opener

    def _open_by(self, opener: SocketOpener, handshake: Handshake) -> None:
        try:
            rest = opener.open(handshake, self)
        except ClientDisconnected:
            self._connection.abort()
            return
        except Exception as error:  # noqa: BLE001 - logged, as that of a handler
            self._on_handler_ended(error)
            return
        if rest is None:
            self._on_handler_ended(None)
        else:
            self._run_handler(rest)

    @property
    def peer(self) -> str:
        """The address of the other end; see `OpeningSocket`."""
        address = peer_of(self._connection)
        return address[0] if address else ""

    def accept(self, subprotocol: str | None) -> None:
        """Open the WebSocket; see `OpeningSocket`."""
        if self._pending is None:
            raise ClientDisconnected
        self._accept(self._pending, subprotocol)

    def deny(self, status: int, content_type: bytes, body: bytes) -> None:
        """Answer with an HTTP response instead of a WebSocket; see `OpeningSocket`."""
        if self._pending is None:
            raise ClientDisconnected
        self._pending.deny(status, [(b"content-type", content_type)])
        self._continue_denial(self._pending, {"body": body})

    # The ASGI handler

    def _open_by_application(self, pending: PendingHandshake, handshake: Handshake, *, is_full: bool) -> None:
        try:
            pending.scope = handshake.make_scope(self._shared, self._connection, pending.app_state)
        except ClientDisconnected:
            self._connection.abort()
            return
        pending.scope["extensions"] = {"websocket.http.response": {}, DIRECT: {"socket": self, "is_full": is_full}}
        self._call_application(pending.scope)

    def _call_application(self, scope: dict[str, Any]) -> None:
        call: Any = self._shared.config.loaded_app
        call = call(scope, self.receive, self.send)
        if not asyncio.iscoroutine(call):  # do not wrap a coroutine: our frame would keep the scope in memory
            call = _wait_for(call)
        self._run_handler(call)

    def _run_handler(self, handler: Coroutine[Any, Any, None]) -> None:
        context = contextvars.Context() if self._shared.config.reset_contextvars else None
        task = self._shared.loop.create_task(handler, context=context)
        self._server_state.tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._server_state.tasks.discard(task)
        if task.cancelled():
            self._on_handler_ended(None, is_cancelled=True)
        else:
            self._on_handler_ended(task.exception())

    def _on_handler_ended(self, error: BaseException | None, *, is_cancelled: bool = False) -> None:
        has_succeeded = not is_cancelled and (error is None or isinstance(error, ClientDisconnected))
        if error is not None and not has_succeeded:
            _log.error("Exception in ASGI application\n", exc_info=error)
        elif self._state is CONNECTING:
            _log.error("ASGI callable returned without completing handshake.")
        if self._state is CONNECTING:
            self._reject(make_response(HTTPStatus.INTERNAL_SERVER_ERROR, _FAILED))
        if self._outlives_handler and has_succeeded:
            return
        self._clear_waiting()
        self._send_close(CloseCode.NORMAL if has_succeeded else CloseCode.INTERNAL_ERROR, "")
        self._shared.loop.call_soon(self._notify_receiver)

    async def receive(self) -> dict[str, Any]:
        """Return the next ASGI event. After the first disconnect, every call returns it again."""
        if not self._is_connect_received:
            self._is_connect_received = True
            return {"type": "websocket.connect"}
        while self._close_status is None and (not self._waiting or self._receiver is not None):
            await self._changed()
        if self._waiting and self._receiver is None:
            opcode, payload = self._pop_waiting()
            if self._is_half_empty():
                self._resume_transport()
            if opcode == TEXT:
                return {"type": "websocket.receive", "text": payload.decode()}
            return {"type": "websocket.receive", "bytes": payload}
        code, reason = self._close_status or (CloseCode.ABNORMAL, "")
        return {"type": "websocket.disconnect", "code": code, "reason": reason}

    async def send(self, message: dict[str, Any]) -> None:
        """Send an ASGI event. Waits while the buffer towards the client is full."""
        while not self.is_writable and self._close_status is None:
            await self._changed()
        if self._pending is not None and self._state is CONNECTING:
            self._send_before_open(self._pending, message)
        elif self._state is OPEN:
            self._send_while_open(message)
        elif self._is_closed_by_handler:
            raise RuntimeError(f"Unexpected ASGI message {message['type']!r} after the handler closed the connection.")
        else:
            raise ClientDisconnected

    def _send_before_open(self, pending: PendingHandshake, message: dict[str, Any]) -> None:
        match message["type"]:
            case "websocket.accept" if pending.denial is None:
                self._accept(pending, message.get("subprotocol"), message.get("headers") or ())
            case "websocket.close" if pending.denial is None:
                pending.log("403")
                self._is_closed_by_handler = True
                self._reject(make_response(HTTPStatus.FORBIDDEN, _FORBIDDEN))
            case "websocket.http.response.start" if pending.denial is None:
                pending.deny(message["status"], message.get("headers") or ())
            case "websocket.http.response.body" if pending.denial is not None:
                self._continue_denial(pending, message)
            case kind:
                raise RuntimeError(f"Unexpected ASGI message {kind!r} before the handshake is answered.")

    def _continue_denial(self, pending: PendingHandshake, message: dict[str, Any]) -> None:
        self._connection.write(pending.deny_with(message, self._server_state.default_headers))
        if not message.get("more_body"):
            self._is_closed_by_handler = True
            self._reject(b"")

    def _send_while_open(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "websocket.send":
                if (data := message.get("bytes")) is not None:
                    self.write(make_message(BINARY, data, self.deflate))
                else:
                    self.write(make_message(TEXT, message["text"].encode(), self.deflate))
            case "websocket.close":
                code = message.get("code", CloseCode.NORMAL)
                if not is_close_code(code):
                    raise RuntimeError(f"{code} is not a close code.")
                self._is_closed_by_handler = True
                self._clear_waiting()
                self._send_close(code, message.get("reason") or "")
                self._shared.loop.call_soon(self._notify_receiver)
            case kind:
                raise RuntimeError(f"Unexpected ASGI message {kind!r} on an open connection.")


class RoomWebSocketProtocol(WebSocketProtocol):
    """A WebSocket of an application that closes each connection over the limit itself, with a code that pages can read.

    `scope["extensions"]["chatkit.direct"]["is_full"]` tells the application that the limit is reached.
    """

    __slots__ = ()

    accepts_over_limit = True


async def _wait_for(call: Awaitable[Any]) -> Any:
    return await call

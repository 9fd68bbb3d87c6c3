"""The WebSocket protocol that uvicorn is told to use: a whole ASGI server for WebSockets, with a direct path beside it.

`uvicorn --ws chatkit.server.protocol:WebSocketProtocol --http chatkit.server.protocol:HttpProtocol app:app` serves any
ASGI application. One that knows the extension `chatkit.direct` attaches a `Receiver` to its `DirectSocket` and then
gets text without a queue and writes frames without an ASGI message. Knows nothing of rooms, nor of what is said.
"""

import asyncio
import contextvars
import logging
from collections.abc import Awaitable
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
from chatkit.protocols.head import MAX_HEAD_BYTES, find_head_end
from chatkit.protocols.shared import SharedState
from chatkit.websocket.codes import CloseCode, is_close_code
from chatkit.websocket.direct import DIRECT, DirectSocket, Receiver
from chatkit.websocket.frames import BINARY, TEXT, make_message, text_frame

__all__ = ["DIRECT", "DirectSocket", "HttpProtocol", "Receiver", "WebSocketProtocol", "text_frame"]

_MAX_EARLY_BYTES: Final = 65_536  # frames that a client sends before its handshake is answered
_FORBIDDEN: Final = "this WebSocket is not open to you"
_FAILED: Final = "the server failed; its log says how"
_LATE: Final = "the request's head did not arrive in time"
_CLOSING: Final = "the server is shutting down"

_log = logging.getLogger("uvicorn.error")


class WebSocketProtocol(Connection):
    """One WebSocket. Made by an HTTP protocol, which then feeds it the request's head.

    Of the handshake nothing is kept once it is answered.
    """

    __slots__ = ("_is_closed_by_handler", "_is_connect_taken", "_pending")

    reads_raw_heads: ClassVar = True  # a head as the client wrote it will do
    is_full_answered: ClassVar = False  # by the application, where there are too many connections; else it is a 503

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(SharedState.of(config, server_state, _loop), server_state)
        self._pending: PendingHandshake | None = PendingHandshake(app_state)
        self._is_connect_taken = False
        self._is_closed_by_handler = False

    def shutdown(self) -> None:
        """End soon, because the server does."""
        if self._state is OPEN:
            self._say_close(CloseCode.SERVICE_RESTART, "", SHUTDOWN_TIMEOUT_S)
            self._tell_receiver()
            return
        if self._state is CONNECTING:
            self._refuse(make_response(HTTPStatus.SERVICE_UNAVAILABLE, _CLOSING), CloseCode.SERVICE_RESTART)
        self._share.wheel.set(self, SHUTDOWN_TIMEOUT_S)

    def on_time(self) -> None:
        """Do what is due."""
        if self._state is CONNECTING:
            self._refuse(make_response(HTTPStatus.REQUEST_TIMEOUT, _LATE))
        else:
            super().on_time()

    def _finish(self, code: int, reason: str = "") -> None:
        super()._finish(code, reason)
        self._pending = None

    # The opening handshake

    def _read_early(self, data: bytes) -> None:
        """Take the head, and keep what comes behind it before the handshake is answered."""
        pending = self._pending
        if pending is None:
            return
        n_searched = len(pending.buffer)
        pending.buffer += data
        if pending.opening is None:
            self._read_head(pending, n_searched)
        elif len(pending.buffer) > _MAX_EARLY_BYTES and not self._is_choked:
            self._is_choked = True
            self._connection.pause_reading()

    def _read_head(self, pending: PendingHandshake, n_searched: int) -> None:
        end = find_head_end(pending.buffer, n_searched)
        if not end and len(pending.buffer) <= MAX_HEAD_BYTES:
            if not self.due_tick:
                self._share.wheel.set(self, HEAD_TIMEOUT_S)
            return
        self._share.wheel.clear(self)
        if not 4 <= end <= MAX_HEAD_BYTES:
            detail = f"a request's head has at most {MAX_HEAD_BYTES} bytes"
            self._refuse(make_response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail))
            return
        try:
            pending.opening = Handshake.read(bytes(pending.buffer[:end]), self._share)
        except HandshakeRejected as refused:
            self._refuse(refused.response)
            return
        is_full = not self._share.limit.serve(self._connection, self._share.loop.time())
        if is_full and not self.is_full_answered:
            self._refuse(make_response(HTTPStatus.SERVICE_UNAVAILABLE, self._share.limit.sentence))
            return
        del pending.buffer[:end]
        pending.scope = pending.opening.make_scope(self._share, self._connection, pending.app_state)
        pending.scope["extensions"] = {"websocket.http.response": {}, DIRECT: {"socket": self, "is_full": is_full}}
        self._call_handler(pending.scope)

    def _refuse(self, response: bytes, code: int = CloseCode.ABNORMAL) -> None:
        if self._pending is None or not self._pending.is_denial_begun:  # else it would come in the middle of another
            self._connection.write(response)
        self._finish(code)
        self._hang_up(is_heard_out=True)

    def _accept(self, pending: PendingHandshake, message: dict[str, Any]) -> None:
        opening = pending.opening
        if opening is None or self._connection.is_closing():
            raise ClientDisconnected
        defaults, headers = self._server_state.default_headers, message.get("headers") or ()
        self._connection.write(opening.accept(defaults, headers, message.get("subprotocol")))
        pending.log("[accepted]")
        self._pending = None
        self._open(opening.deflate_bits, opening.inflate_bits)
        self._unchoke()
        if pending.buffer:
            self.data_received(bytes(pending.buffer))

    # The handler, and ASGI

    def _call_handler(self, scope: dict[str, Any]) -> None:
        config, tasks = self._share.config, self._server_state.tasks
        call: Any = config.loaded_app
        call = call(scope, self.receive, self.send)
        if not asyncio.iscoroutine(call):  # a coroutine is not wrapped: a frame of ours would keep the scope
            call = _wait_for(call)
        context = contextvars.Context() if config.reset_contextvars else None
        task: asyncio.Task[None] = self._share.loop.create_task(call, context=context)
        tasks.add(task)
        task.add_done_callback(self._handler_ended)

    def _handler_ended(self, task: asyncio.Task[Any]) -> None:
        self._server_state.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        is_well = not task.cancelled() and (error is None or isinstance(error, ClientDisconnected))
        if error is not None and not is_well:
            _log.error("Exception in ASGI application\n", exc_info=error)
        elif self._state is CONNECTING:
            _log.error("ASGI callable returned without completing handshake.")
        if self._state is CONNECTING:
            self._refuse(make_response(HTTPStatus.INTERNAL_SERVER_ERROR, _FAILED))
        if self._outlives_handler and is_well:
            return
        self._forget_waiting()
        self._say_close(CloseCode.NORMAL if is_well else CloseCode.INTERNAL_ERROR, "")
        self._share.loop.call_soon(self._tell_receiver)

    async def receive(self) -> dict[str, Any]:
        """Return the next ASGI event. After the first disconnect, every call returns it again."""
        if not self._is_connect_taken:
            self._is_connect_taken = True
            return {"type": "websocket.connect"}
        while self._end is None and (not self._waiting or self._receiver is not None):
            await self._changed()
        if self._waiting and self._receiver is None:
            opcode, payload = self._take_waiting()
            if self._is_half_empty():
                self._unchoke()
            if opcode == TEXT:
                return {"type": "websocket.receive", "text": payload.decode()}
            return {"type": "websocket.receive", "bytes": payload}
        code, reason = self._end or (CloseCode.ABNORMAL, "")
        return {"type": "websocket.disconnect", "code": code, "reason": reason}

    async def send(self, message: dict[str, Any]) -> None:
        """Take an ASGI event; wait while the buffer towards the client is full."""
        while not self.is_writable and self._end is None:
            await self._changed()
        if self._pending is not None and self._state is CONNECTING:
            self._send_opening(self._pending, message)
        elif self._state is OPEN:
            self._send_open(message)
        elif self._is_closed_by_handler:
            raise RuntimeError(f"Unexpected ASGI message {message['type']!r} after the handler closed the connection.")
        else:
            raise ClientDisconnected

    def _send_opening(self, pending: PendingHandshake, message: dict[str, Any]) -> None:
        match message["type"]:
            case "websocket.accept" if pending.denial is None:
                self._accept(pending, message)
            case "websocket.close" if pending.denial is None:
                pending.log("403")
                self._is_closed_by_handler = True
                self._refuse(make_response(HTTPStatus.FORBIDDEN, _FORBIDDEN))
            case "websocket.http.response.start" if pending.denial is None:
                pending.deny(message["status"], message.get("headers") or ())
            case "websocket.http.response.body" if pending.denial is not None:
                self._connection.write(pending.deny_with(message, self._server_state.default_headers))
                if not message.get("more_body"):
                    self._is_closed_by_handler = True
                    self._refuse(b"")
            case kind:
                raise RuntimeError(f"Unexpected ASGI message {kind!r} before the handshake is answered.")

    def _send_open(self, message: dict[str, Any]) -> None:
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
                self._forget_waiting()
                self._say_close(code, message.get("reason") or "")
                self._share.loop.call_soon(self._tell_receiver)
            case kind:
                raise RuntimeError(f"Unexpected ASGI message {kind!r} on an open connection.")


class RoomWebSocketProtocol(WebSocketProtocol):
    """A WebSocket of an application that closes each connection over the limit itself, with a code that pages can read.

    The application finds out by `scope["extensions"]["chatkit.direct"]["is_full"]`.
    """

    __slots__ = ()

    is_full_answered = True


async def _wait_for(call: Awaitable[Any]) -> Any:
    return await call

"""A session's socket over ASGI messages, for ASGI servers that do not offer the direct path."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

from litestar.exceptions import WebSocketDisconnect
from litestar.types.asgi_types import WebSocketMode

from chatkit.server.litestar_types import ServerSocket
from chatkit.session.session import Session
from chatkit.websocket.codes import CloseCode
from chatkit.websocket.direct import Receiver
from chatkit.websocket.frames import cut_reason
from chatkit.websocket.reader import payloads

HIGH_WATER_BYTES = 1 << 16  # the most that waits to be sent while the socket is writable, as in asyncio's transports


class AsgiSocket:
    """A `DirectSocket` that queues what is written, for a task that sends it in order (`send_all`)."""

    deflate: int | None = None  # the ASGI server decides about compression

    def __init__(self, socket: ServerSocket) -> None:
        self._socket = socket
        self._receiver: Receiver | None = None
        self._texts: deque[str] = deque()
        self._n_waiting = 0
        self._close: tuple[int, str] | None = None
        self._has_ended = False  # nothing more is sent
        self._written = asyncio.Event()  # set while there is something to send
        self._readable = asyncio.Event()  # set while the handler may read from the client
        self._readable.set()

    @property
    def is_writable(self) -> bool:
        """False while more waits than a socket's buffer would hold."""
        return self._n_waiting < HIGH_WATER_BYTES and self._close is None

    def attach(self, receiver: Receiver, *, outlives_handler: bool = False) -> None:  # noqa: ARG002 - `send_all` ends with its handler
        """Notify this session when it can write again."""
        self._receiver = receiver
        receiver.writable_again()

    def write(self, frames: bytes, /) -> None:
        """Queue whole frames."""
        for payload in payloads(frames):
            self.send_text(payload)

    def send_text(self, payload: bytes) -> None:
        """Queue one text."""
        if self._close is None:
            self._texts.append(payload.decode())
            self._n_waiting += len(payload)
            self._written.set()

    def close(self, code: int, reason: str = "") -> None:
        """Close the socket after everything that was written."""
        if self._close is None:
            self._close = code, cut_reason(reason)
            self._written.set()
            self._readable.set()

    def pause_reading(self) -> None:
        """Stop reading from the client, unless nothing more is sent to it."""
        if not self._has_ended:
            self._readable.clear()

    def resume_reading(self) -> None:
        """Continue to read from the client."""
        self._readable.set()

    async def readable(self) -> None:
        """Wait until the client may be read."""
        await self._readable.wait()

    async def send_all(self) -> None:
        """Send what is written, until the socket is closed, the client disconnects or this task is cancelled."""
        try:
            with suppress(OSError, WebSocketDisconnect):  # the client left; the listener finds that by itself
                await self._send_until_closed()
        finally:
            # A paused listener is normally resumed when the client has read enough. From here on nothing is sent, so it
            # has to be resumed now: it finds that the client left only by receiving.
            self._has_ended = True
            self._readable.set()

    async def _send_until_closed(self) -> None:
        while True:
            await self._written.wait()
            self._written.clear()
            while self._texts:
                await self._send_one()
            if self._close is not None:
                await self._socket.close(*self._close)
                return

    async def _send_one(self) -> None:
        was_writable = self.is_writable
        text = self._texts.popleft()
        await self._socket.send_text(text)
        self._n_waiting -= len(text.encode())
        if not was_writable and self.is_writable and self._receiver is not None:
            self._receiver.writable_again()


class TextOnlySocket(ServerSocket):
    """A WebSocket that passes texts to a session. A binary message closes it with 1003: both protocols are text."""

    __slots__ = ("_is_released", "_out", "_session")  # unset until needed: Litestar makes this object

    def attach(self, session: Session, out: AsgiSocket) -> None:
        """Pass the client's texts to this session from now on."""
        self._session = session
        self._out = out

    def release(self) -> None:
        """Stop the listener, because the direct path carries the connection from now on."""
        self._is_released = True

    async def deliver(self, text: str) -> None:
        """Pass a text to the session, and return when the next may be read."""
        if hasattr(self, "_session"):  # a refused client may have sent texts before it read the close
            self._session.received_text(text.encode())
            await self._out.readable()

    async def receive_data(self, mode: WebSocketMode) -> Any:  # noqa: ARG002  # the listener asks for text only
        """Receive one text. Raise `WebSocketDisconnect` at the end of the connection."""
        if hasattr(self, "_is_released"):
            raise WebSocketDisconnect(detail="the direct path carries the connection", code=CloseCode.NORMAL)
        event = await self.receive()
        if event["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(detail="the connection ended", code=event["code"])
        text = event.get("text")
        if text is None:
            await self.close(CloseCode.UNSUPPORTED_DATA, "text frames only")
            raise WebSocketDisconnect(detail="a binary message", code=CloseCode.UNSUPPORTED_DATA)
        return text

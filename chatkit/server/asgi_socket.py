"""A session's socket over plain ASGI messages, for servers that offer no direct path."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect
from litestar.types.asgi_types import WebSocketMode

from chatkit.session.session import Session
from chatkit.websocket.codes import CloseCode
from chatkit.websocket.direct import Receiver
from chatkit.websocket.frames import cut_reason
from chatkit.websocket.reader import payloads

HIGH_WATER_BYTES = 1 << 16  # what may wait to be sent, as in asyncio's transports


class AsgiSocket:
    """What is written waits, in order, for a task that sends it (`send_all`)."""

    deflate: int | None = None  # whether frames are compressed is the ASGI server's matter

    def __init__(self, socket: WebSocket[Any, Any, Any]) -> None:
        self._socket = socket
        self._receiver: Receiver | None = None
        self._texts: deque[str] = deque()
        self._n_waiting = 0
        self._close: tuple[int, str] | None = None
        self._has_ended = False  # nothing is sent any more
        self._written = asyncio.Event()  # set while there is something to send
        self._readable = asyncio.Event()  # set while the client may be read
        self._readable.set()

    @property
    def is_writable(self) -> bool:
        """False while more waits than a socket's buffer would hold."""
        return self._n_waiting < HIGH_WATER_BYTES and self._close is None

    def attach(self, receiver: Receiver, *, outlives_handler: bool = False) -> None:  # noqa: ARG002 - `send_all` ends with its handler
        """Tell this session when it may write again."""
        self._receiver = receiver
        receiver.writable_again()

    def write(self, frames: bytes, /) -> None:
        """Have whole frames sent."""
        for payload in payloads(frames):
            self.send_text(payload)

    def send_text(self, payload: bytes) -> None:
        """Have one text sent."""
        if self._close is None:
            self._texts.append(payload.decode())
            self._n_waiting += len(payload)
            self._written.set()

    def close(self, code: int, reason: str = "") -> None:
        """Close, behind everything that was written."""
        if self._close is None:
            self._close = code, cut_reason(reason)
            self._written.set()
            self._readable.set()

    def pause_reading(self) -> None:
        """Let the client wait, unless nothing is sent to it any more."""
        if not self._has_ended:
            self._readable.clear()

    def resume_reading(self) -> None:
        """Let the client go on."""
        self._readable.set()

    async def readable(self) -> None:
        """Return when the client may be read."""
        await self._readable.wait()

    async def send_all(self) -> None:
        """Send what is written, until the socket is closed, the client is gone or this is cancelled."""
        try:
            with suppress(OSError, WebSocketDisconnect):  # the client left, as the listener will find
                await self._send_until_closed()
        finally:
            # Nothing is sent any more, so that no answer taken by the client would let a held listener go on: it has
            # to receive, for that is how it finds that the client left.
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


class TextOnlySocket(WebSocket[Any, Any, Any]):
    """A connection that knows its session; a binary message ends it with 1003, for every protocol here is text."""

    __slots__ = ("_is_lent", "_out", "_session")

    def seat(self, session: Session, out: AsgiSocket) -> None:
        """Let this session have the client's texts."""
        self._session = session
        self._out = out

    def lend(self) -> None:
        """Receive nothing here: somebody else has the socket itself."""
        self._is_lent = True

    async def hand_over(self, text: str) -> None:
        """Give a text to the session, and return when the next may be taken."""
        if hasattr(self, "_session"):  # a client that was refused may still have been sending
            self._session.received_text(text.encode())
            await self._out.readable()

    async def receive_data(self, mode: WebSocketMode) -> Any:  # noqa: ARG002  # there is but one
        """Receive one text; raise `WebSocketDisconnect` at the end."""
        if hasattr(self, "_is_lent"):
            raise WebSocketDisconnect(detail="the socket is lent", code=CloseCode.NORMAL)
        event = await self.receive()
        if event["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(detail="the connection ended", code=event["code"])
        text = event.get("text")
        if text is None:
            await self.close(CloseCode.UNSUPPORTED_DATA, "text frames only")
            raise WebSocketDisconnect(detail="a binary message", code=CloseCode.UNSUPPORTED_DATA)
        return text

"""From a subscriber to a WebSocket without an ASGI message for each event, where the server offers that.

`run_in_background(socket.send_text)` names the socket: what it sends can be written as frames that all readers share.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import MethodType
from typing import Any, Final, NoReturn, Protocol, Self, cast

from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from chatkit.core.model import Message
from chatkit.core.segment import Encode
from chatkit.core.subscription import WouldBlock
from chatkit.errors import ChatkitError
from chatkit.litestar.cursor import ChannelCursor
from chatkit.litestar.payload import binary_frame_of, payload_of, text_frame_of
from chatkit.litestar.queue import EventQueue
from chatkit.websocket.direct import DIRECT, DirectSocket
from chatkit.websocket.frames import binary_frame, text_frame

PROBE_S: Final = 10.0  # frames for a client that is gone are dropped in silence: so often, ASGI's `send` is asked
MAX_PAGES: Final = 16  # of a few hundred messages each
MAX_PAGE_BYTES: Final = 1 << 20  # a larger one costs its reader more to send than to join
RETRY_S: Final = 0.05  # a store that does not answer is asked again after this

_SEND_DATA: Final = WebSocket.send_data


class SocketCallback:
    """A socket's own way of sending, given as a callback. What is not text goes as the binary message that it is."""

    def __init__(self, socket: WebSocket[Any, Any, Any], send: Callable[[bytes], Awaitable[Any]]) -> None:
        self._socket = socket
        self._send = send
        self._has_failed = False
        self._is_plain_text = not self.is_binary and WebSocket.send_data is _SEND_DATA  # and nobody replaced it

    @classmethod
    def of(cls, callback: object) -> Self | None:
        """Recognise the callback; None where it is anything else, or a subclass does something of its own."""
        socket = callback.__self__ if isinstance(callback, MethodType) else None
        if not isinstance(callback, MethodType) or not isinstance(socket, WebSocket):
            return None
        function, kind = callback.__func__, type(socket)
        if function not in (WebSocket.send_text, WebSocket.send_bytes, WebSocket.send_data):
            return None
        return cls(socket, callback) if kind.send_data is WebSocket.send_data else None

    @property
    def is_binary(self) -> bool:
        """Say whether everything is sent as binary messages."""
        return isinstance(self._send, MethodType) and self._send.__func__ is WebSocket.send_bytes

    @property
    def is_accepted(self) -> bool:
        """Say whether the connection is open, or was: nothing waits between a socket's receiving and accepting."""
        return self._socket.connection_state != "init"

    @property
    def is_gone(self) -> bool:
        """Say whether the client is known to have left."""
        return self._has_failed or self._socket.connection_state == "disconnect"

    async def __call__(self, payload: bytes) -> None:
        """Send; raise `WebSocketDisconnect` when the client has left."""
        try:
            await self._send_either(payload)
        except (OSError, WebSocketDisconnect) as error:
            self._fail(error)

    async def send_message(self, message: Message) -> None:
        """Send an event whose message is at hand; the same as sending its payload, without a way around."""
        if self._is_plain_text and message.data is None and self.is_accepted:
            try:
                await self._socket.send({"type": "websocket.send", "bytes": None, "text": message.body})
            except (OSError, WebSocketDisconnect) as error:
                self._fail(error)
        else:
            await self(payload_of(message))

    async def _send_either(self, payload: bytes) -> None:
        try:
            await self._send(payload)
        except UnicodeDecodeError:
            await self._socket.send_bytes(payload)

    def _fail(self, error: Exception) -> NoReturn:
        """Say in Litestar's word that the client is gone; ASGI servers say it by an `OSError`."""
        self._has_failed = True
        if isinstance(error, WebSocketDisconnect):
            raise error
        raise WebSocketDisconnect(detail="the client is gone", code=1006) from error

    def direct_socket(self) -> DirectSocket | None:
        """Return the direct path, where there is one and nothing between here and there wants to see what is sent."""
        extension: Any = (self._socket.scope.get("extensions") or {}).get(DIRECT)
        if extension is None:
            return None
        socket = cast("DirectSocket", extension["socket"])
        return socket if _leads_to(self._socket.send, socket) else None


class SenderSource(Protocol):
    """What a sender needs of its subscriber."""

    def cursors(self) -> list[ChannelCursor]:
        """Return the places in all channels."""

    def pull_soon(self, cursor: ChannelCursor) -> None:
        """Have what a cursor is owed put into the stream; the sender is rung then."""

    async def pull(self, cursor: ChannelCursor, limit: int) -> object:
        """Put at most so many events into the stream. Raise `Unavailable`."""

    def advanced(self, n_taken: int) -> None:
        """Hear that so many events were sent."""


class JoinedPages:
    """The last pages that were joined, for the readers behind the tail: they come by one after the other."""

    def __init__(self) -> None:
        self._joined: OrderedDict[tuple[Encode, str, int], tuple[Sequence[Message], bytes]] = OrderedDict()

    def join(self, encode: Encode, messages: Sequence[Message]) -> bytes:
        """Encode and join messages."""
        key = (encode, messages[0].room, messages[0].seq)
        known = self._joined.get(key)
        if known is not None and known[0] == messages:  # else it is longer now, of another log, or redacted
            return known[1]
        frames = b"".join(map(encode, messages))
        if len(frames) > MAX_PAGE_BYTES:
            return frames
        self._joined[key] = messages, frames
        if len(self._joined) > MAX_PAGES:
            self._joined.popitem(last=False)
        return frames


_PAGES: Final = JoinedPages()


class DirectSender:
    """Writes what is in the stream, and then what is in the channels, as far as the socket takes it.

    Its task (`run`) sleeps, but to do what waits: it sends one event by ASGI's `send` where the socket is full, for
    that returns when there is room; now and then, for that raises when the client is gone; and where the connection is
    not accepted yet.
    """

    def __init__(
        self, source: SenderSource, stream: EventQueue, callback: SocketCallback, socket: DirectSocket
    ) -> None:
        self._source = source
        self._stream = stream
        self._callback = callback
        self._socket = socket
        self._encode = binary_frame_of if callback.is_binary else text_frame_of
        self._loop = asyncio.get_running_loop()
        self._probe_at = self._next_probe()
        self._wanted = asyncio.Event()  # set while the task has something to do
        self._is_sending = False  # the task is at it: nothing may be written past what it sends
        self._is_over = False

    async def run(self) -> None:
        """Do what has to wait, until the stream ends. Raise `WebSocketDisconnect` when the client is gone."""
        while True:
            await self._wanted.wait()
            if self._is_over:
                return
            self._wanted.clear()
            if not await self._send_one():
                await asyncio.sleep(RETRY_S)
            self._is_sending = False
            self.ring_all()

    def ring_all(self) -> None:
        """Write what is due."""
        cursors = self._source.cursors()
        if self._is_ready(is_due=any(cursor.is_behind for cursor in cursors)):
            for cursor in cursors:
                self._write(cursor)
            self._source.advanced(0)

    def ring(self, cursor: ChannelCursor) -> None:
        """Write what is due of one channel."""
        if self._is_ready(is_due=True):
            self._write(cursor)

    def _is_ready(self, *, is_due: bool) -> bool:
        """Write what is in the stream, and say whether more may follow; let the task go on where it may not."""
        if self._is_sending or self._is_over:
            return False
        if (is_due or not self._stream.empty()) and not self._is_open():
            self._let_task_send()
            return False
        self._flush()
        return not self._is_over

    @property
    def may_write(self) -> bool:
        """Say whether frames may be written now, past nothing that the task is sending."""
        return not (self._is_sending or self._is_over) and self._is_open()

    def write_page(self, messages: Sequence[Message]) -> bool:
        """Write messages that were read for this subscriber, if that is possible now; say whether it was."""
        if not self._stream.empty() or not self.may_write:
            return False
        self._socket.write(_PAGES.join(self._encode, messages))
        self._source.advanced(len(messages))
        return True

    def _is_open(self) -> bool:
        return self._socket.is_writable and self._callback.is_accepted and self._loop.time() < self._probe_at

    def _next_probe(self) -> float:
        return self._loop.time() + random.uniform(0.5, 1) * PROBE_S  # noqa: S311  # so that not all ask at once

    def _let_task_send(self) -> None:
        self._is_sending = True
        self._wanted.set()

    def _write(self, cursor: ChannelCursor) -> None:
        subscription = cursor.subscription
        if subscription is None or self._is_sending:
            return
        n_before = subscription.position
        while cursor.is_behind and not cursor.is_pulling:
            if not self._socket.is_writable:
                self._let_task_send()
                break
            try:
                frames, is_more = subscription.chunk(self._encode)
            except WouldBlock:
                self._source.pull_soon(cursor)
                break
            if frames:
                self._socket.write(frames)
            if not is_more:
                break
        if subscription.position != n_before:
            self._source.advanced(subscription.position - n_before)

    def _flush(self) -> None:
        frames: list[bytes] = []
        while not self._stream.empty() and not self._is_over:
            payload = self._take()
            if payload is not None:
                frames.append(self._frame(payload))
        if frames:
            self._socket.write(b"".join(frames))
            self._source.advanced(len(frames))

    def _take(self) -> bytes | None:
        payload: bytes | None = self._stream.get_nowait()
        self._stream.task_done()
        if payload is None:
            self._is_over = True
            self._wanted.set()
        return payload

    def _frame(self, payload: bytes) -> bytes:
        if self._callback.is_binary:
            return binary_frame(payload)
        try:
            payload.decode()
        except UnicodeDecodeError:
            return binary_frame(payload)
        return text_frame(payload)

    async def _send_one(self) -> bool:
        """Send what is next by ASGI; say whether there was anything."""
        for cursor in self._source.cursors():
            if not self._stream.empty():
                break
            if cursor.is_behind and not cursor.is_pulling:
                with suppress(ChatkitError):
                    await self._source.pull(cursor, 1)
        if self._stream.empty():
            return False
        payload = self._take()
        if payload is not None:
            await self._callback(payload)
            self._probe_at = self._next_probe()
            self._source.advanced(1)
        return True


def _leads_to(send: object, socket: object) -> bool:
    """Say whether an ASGI `send` is the socket's own, wrapped by nothing but what Litestar wraps it in.

    A middleware's wrapper may look at what is sent, or change it: it must get every event.
    """
    while not isinstance(send, MethodType):
        module, code = getattr(send, "__module__", ""), getattr(send, "__code__", None)
        if code is None or "send" not in code.co_freevars or module not in _TRANSPARENT:
            return False
        send = send.__closure__[code.co_freevars.index("send")].cell_contents  # type: ignore[attr-defined]  # a function
    return send.__self__ is socket


_TRANSPARENT: Final = frozenset(
    {"litestar.connection.websocket", "litestar.middleware._internal.exceptions.middleware"}
)

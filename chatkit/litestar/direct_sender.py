"""DirectSender: writes events to a WebSocket without an ASGI message for each, if the server supports it.

The callback of `run_in_background(socket.send_text)` identifies the socket. Its events are written as frames that are
encoded once for all readers.
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
from chatkit.litestar.events import binary_frame_of, payload_of, text_frame_of
from chatkit.litestar.private_names import is_sent_unchanged
from chatkit.litestar.queue import EventQueue
from chatkit.websocket.direct import DIRECT, DirectSocket
from chatkit.websocket.frames import binary_frame, text_frame

PROBE_S: Final = 10.0  # interval of calls of ASGI's `send`: it reports a lost client, while frames are dropped silently
MAX_PAGES: Final = 16  # of a few hundred messages each
MAX_PAGE_BYTES: Final = 1 << 20  # of a page that is kept: joining a larger one is cheap compared to sending it
RETRY_S: Final = 0.05  # pause before a store that does not answer is read again

_SEND_DATA: Final = WebSocket.send_data


class SocketCallback:
    """A socket's own send method, passed as a callback. Payloads that are not text are sent as binary messages."""

    def __init__(self, socket: WebSocket[Any, Any, Any], send: Callable[[bytes], Awaitable[Any]]) -> None:
        self._socket = socket
        self._send = send
        self._has_failed = False
        self._is_plain_text = not self.is_binary and WebSocket.send_data is _SEND_DATA  # and the method is not replaced

    @classmethod
    def of(cls, callback: object) -> Self | None:
        """Return the callback if it is a socket's own send method; None for others and for overridden methods."""
        socket = callback.__self__ if isinstance(callback, MethodType) else None
        if not isinstance(callback, MethodType) or not isinstance(socket, WebSocket):
            return None
        function, kind = callback.__func__, type(socket)
        if function not in (WebSocket.send_text, WebSocket.send_bytes, WebSocket.send_data):
            return None
        return cls(socket, callback) if kind.send_data is WebSocket.send_data else None

    @property
    def is_binary(self) -> bool:
        """Whether every payload is sent as a binary message."""
        return isinstance(self._send, MethodType) and self._send.__func__ is WebSocket.send_bytes

    @property
    def is_accepted(self) -> bool:
        """Whether the connection was accepted. It may be closed by now."""
        return self._socket.connection_state != "init"

    @property
    def is_gone(self) -> bool:
        """Whether the client is known to have disconnected."""
        return self._has_failed or self._socket.connection_state == "disconnect"

    async def __call__(self, payload: bytes) -> None:
        """Send a payload. Raise `WebSocketDisconnect` if the client has disconnected."""
        try:
            await self._send_either(payload)
        except (OSError, WebSocketDisconnect) as error:
            self._fail(error)

    async def send_message(self, message: Message) -> None:
        """Send the payload of a message, without encoding and decoding it if it is text."""
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
        """Raise `WebSocketDisconnect`. ASGI servers report a disconnected client by an `OSError`."""
        self._has_failed = True
        if isinstance(error, WebSocketDisconnect):
            raise error
        raise WebSocketDisconnect(detail="the client has disconnected", code=1006) from error

    def direct_socket(self) -> DirectSocket | None:
        """Return the server's direct socket; None without one, or if a middleware wraps `send`."""
        extension: Any = (self._socket.scope.get("extensions") or {}).get(DIRECT)
        if extension is None:
            return None
        socket = cast("DirectSocket", extension["socket"])
        return socket if is_sent_unchanged(self._socket.send, socket) else None


class SenderSource(Protocol):
    """The methods of a subscriber that a sender uses."""

    def cursors(self) -> list[ChannelCursor]:
        """Return the cursors of all channels."""

    def pull_soon(self, cursor: ChannelCursor) -> None:
        """Move a cursor's events to the queue in a task, and then wake the sender."""

    async def pull(self, cursor: ChannelCursor, limit: int) -> object:
        """Move at most `limit` events to the queue. Raise `Unavailable`."""

    def count_read(self, n_read: int) -> None:
        """Count events as read."""


class JoinedPages:
    """The last pages that were encoded. Readers that are behind the tail read the same pages one after the other."""

    def __init__(self) -> None:
        self._joined: OrderedDict[tuple[Encode, str, int], tuple[Sequence[Message], bytes]] = OrderedDict()

    def join(self, encode: Encode, messages: Sequence[Message]) -> bytes:
        """Encode messages and join the frames."""
        key = (encode, messages[0].room, messages[0].seq)
        known = self._joined.get(key)
        if (
            known is not None and known[0] == messages
        ):  # else the page has grown, belongs to another log, or was redacted
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
    """Writes the events of the queue, and then those of the channels, while the socket is writable.

    The task of `run` sleeps most of the time. It sends one event by ASGI's `send` when the socket is full, because
    `send` returns when there is space; every `PROBE_S`, because `send` raises if the client has disconnected; and
    before the connection is accepted.
    """

    def __init__(self, source: SenderSource, queue: EventQueue, callback: SocketCallback, socket: DirectSocket) -> None:
        self._source = source
        self._queue = queue
        self._callback = callback
        self._socket = socket
        self._encode = binary_frame_of if callback.is_binary else text_frame_of
        self._loop = asyncio.get_running_loop()
        self._probe_at = self._next_probe()
        self._wanted = asyncio.Event()  # set while the task has an event to send
        self._is_sending = False  # the task is sending: later events must not be written before its event
        self._is_over = False

    async def run(self) -> None:
        """Send the events that have to wait, until the queue ends. Raise `WebSocketDisconnect`."""
        while True:
            await self._wanted.wait()
            if self._is_over:
                return
            self._wanted.clear()
            if not await self._send_one():
                await asyncio.sleep(RETRY_S)
            self._is_sending = False
            self.write_due()

    def write_due(self) -> None:
        """Write all events that are ready."""
        cursors = self._source.cursors()
        if self._is_ready(is_due=any(cursor.is_behind for cursor in cursors)):
            for cursor in cursors:
                self._write(cursor)
            self._source.count_read(0)

    def write_channel(self, cursor: ChannelCursor) -> None:
        """Write the events of one channel that are ready."""
        if self._is_ready(is_due=True):
            self._write(cursor)

    def _is_ready(self, *, is_due: bool) -> bool:
        """Write the queued events. Return whether more may be written; if not, let the task continue."""
        if self._is_sending or self._is_over:
            return False
        if (is_due or not self._queue.empty()) and not self._is_open():
            self._let_task_send()
            return False
        self._flush()
        return not self._is_over

    @property
    def may_write(self) -> bool:
        """Whether frames may be written now: not while the task is sending."""
        return not (self._is_sending or self._is_over) and self._is_open()

    def write_page(self, messages: Sequence[Message]) -> bool:
        """Write messages that were read for this subscriber, if possible. Return whether they were written."""
        if not self._queue.empty() or not self.may_write:
            return False
        self._socket.write(_PAGES.join(self._encode, messages))
        self._source.count_read(len(messages))
        return True

    def _is_open(self) -> bool:
        return self._socket.is_writable and self._callback.is_accepted and self._loop.time() < self._probe_at

    def _next_probe(self) -> float:
        return self._loop.time() + random.uniform(0.5, 1) * PROBE_S  # noqa: S311  # jitter: connections do not probe at the same time

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
            self._source.count_read(subscription.position - n_before)

    def _flush(self) -> None:
        frames: list[bytes] = []
        while not self._queue.empty() and not self._is_over:
            payload = self._pop()
            if payload is not None:
                frames.append(self._frame(payload))
        if frames:
            self._socket.write(b"".join(frames))
            self._source.count_read(len(frames))

    def _pop(self) -> bytes | None:
        payload: bytes | None = self._queue.get_nowait()
        self._queue.task_done()
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
        """Send the next event by ASGI. Return whether there was one."""
        for cursor in self._source.cursors():
            if not self._queue.empty():
                break
            if cursor.is_behind and not cursor.is_pulling:
                with suppress(ChatkitError):
                    await self._source.pull(cursor, 1)
        if self._queue.empty():
            return False
        payload = self._pop()
        if payload is not None:
            await self._callback(payload)
            self._probe_at = self._next_probe()
            self._source.count_read(1)
        return True

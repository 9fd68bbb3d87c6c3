"""One connection to one Redis server, which carries many concurrent calls.

A cancelled call does not damage the connection: its answer is read and dropped. A lost connection stays lost; the
caller opens a new one. Knows nothing of rooms.

This is the only module that uses private attributes of redis-py (`_parser`, `_writer`, `_reader`, `_connect`); see
`_DriverAccess`. pyproject.toml therefore bounds the minor version of redis-py.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Any, NamedTuple, TypeAlias

import hiredis
from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import RedisError, ResponseError

from chatkit.backends.redis.errors import to_chatkit_error
from chatkit.errors import ChatkitError, StoreError, Unavailable

CONNECT_S = 3.0  # a healthy server answers at once; a paused one accepts the connection and does not answer
ANSWER_S = 5.0  # longer than a fork or a large script blocks a healthy server
TICK_S = 0.5  # interval of the check whether the server still answers
READ_BYTES = 262_144  # the answer to a batch, or its publication, takes few reads

Word: TypeAlias = bytes | str | int
Command: TypeAlias = tuple[Word, ...]
Reply: TypeAlias = Any  # the answer to a command, or a `ResponseError`


class Address(NamedTuple):
    """The host and port of a server."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class _DriverAccess:
    """Access to redis-py's private attributes: write without waiting, receive pushes, abort, use a Unix socket."""

    def prepare(self, on_data: Callable[[], None]) -> None:
        """Call `on_data` whenever bytes arrive: even a part of a long answer shows that the server is alive."""
        parser = self._parser  # type: ignore[attr-defined]  # a connection's
        parser.set_pubsub_push_handler(_return_push)  # the default handler writes a log
        read_from_socket = parser.read_from_socket

        async def read_and_notify() -> bool:
            has_data: bool = await read_from_socket()
            on_data()
            return has_data

        parser.read_from_socket = read_and_notify

    def write(self, data: bytes) -> None:
        self._writer.write(data)  # type: ignore[attr-defined]  # a connection's

    def abort(self) -> None:
        if (writer := self._writer) is not None:  # type: ignore[attr-defined]  # a connection's
            writer.transport.abort()

    def use_unix_socket(self, path: str) -> None:
        """Connect to a Unix socket instead of a TCP port."""
        driver: Any = self  # a connection, whose attributes have narrower types

        async def connect() -> None:
            driver._reader, driver._writer = await asyncio.open_unix_connection(path)  # noqa: SLF001 - this object's own

        driver._connect = connect  # noqa: SLF001 - the same


class PlainConnection(_DriverAccess, Connection):
    """A connection over TCP."""


class TlsConnection(_DriverAccess, SSLConnection):
    """A connection over TLS."""


DriverConnection: TypeAlias = PlainConnection | TlsConnection


async def _return_push(push: Any) -> Any:
    return push


class _PendingCall:
    """Commands that were sent together, and the answers received so far."""

    __slots__ = ("future", "n_answers", "replies", "sent_s")

    def __init__(self, future: asyncio.Future[list[Reply]], n_answers: int | None, sent_s: float) -> None:
        self.future = future
        self.n_answers = n_answers  # None: read until an answer is not an error
        self.replies: list[Reply] = []
        self.sent_s = sent_s

    def add_reply(self, reply: Reply) -> bool:
        """Store an answer. Return whether it was the last."""
        self.replies.append(reply)
        if self.n_answers is None:
            return not isinstance(reply, ResponseError)
        return len(self.replies) == self.n_answers


class RedisConnection:
    """A connection. `on_push` receives the server's push messages; `on_lost` is called once, with the error, on loss.

    After `ping_after_s` without data, the connection sends a PING.
    """

    def __init__(
        self,
        driver: DriverConnection,
        *,
        ping_after_s: float,
        on_push: Callable[[list[Any]], None] | None = None,
        on_lost: Callable[[ChatkitError], None] | None = None,
    ) -> None:
        self._driver = driver
        self.where = f"{driver.host}:{driver.port}"
        self._ping_after_s = ping_after_s
        self._on_push = on_push
        self._on_lost = on_lost
        self._calls: deque[_PendingCall] = deque()
        self._received_s = self._ticked_s = -inf
        self._reader: asyncio.Task[None] | None = None
        self._tick_handle: asyncio.TimerHandle | None = None
        self.fault: ChatkitError | None = None  # the reason for the loss

    async def open(self) -> None:
        """Connect. Raise `Unavailable` or `StoreError`."""
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                self._driver.prepare(self._on_data)
                await self._driver.connect()  # type: ignore[no-untyped-call]  # redis-py's
        except (RedisError, OSError) as error:
            raise await self._abandon(to_chatkit_error(error, self.where)) from error
        except BaseException:
            await self._abandon(Unavailable("cancelled"))
            raise
        self._received_s = self._ticked_s = self._loop.time()
        self._reader = self._loop.create_task(self._read())
        self._tick_handle = self._loop.call_later(TICK_S, self._tick)

    async def _abandon(self, fault: ChatkitError) -> ChatkitError:
        self.fault = fault
        self._driver.abort()
        with suppress(RedisError, OSError):
            await self._driver.disconnect(nowait=True)
        return fault

    async def close(self) -> None:
        """Close the connection. Pending calls fail with `Unavailable`."""
        self._on_lost = None
        self._fail(Unavailable("the connection to Redis was closed"))
        if self._reader is not None:
            await asyncio.wait([self._reader])
        with suppress(RedisError, OSError):
            await self._driver.disconnect(nowait=True)

    def send(self, commands: Sequence[Command], *, answered: bool = True) -> asyncio.Future[list[Reply]]:
        """Send the commands. The future receives their answers, including errors, or fails with `Unavailable`.

        With `answered=False`, the commands answer only if they fail. The future then receives these errors, and the
        answer to a PING that is sent after them.
        """
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        future.add_done_callback(_retrieve)
        if self.fault is not None:
            future.set_exception(self.fault)
            return future
        if not answered:
            commands = [*commands, ("PING",)]
        self._driver.write(b"".join(hiredis.pack_command(command) for command in commands))  # type: ignore[arg-type]  # the stub declares one word
        self._calls.append(_PendingCall(future, len(commands) if answered else None, self._loop.time()))
        return future

    async def _read(self) -> None:
        driver, push = self._driver, hiredis.PushNotification
        try:
            while True:
                try:
                    reply = await driver.read_response(timeout=inf, push_request=True, disconnect_on_error=False)
                except ResponseError as error:
                    reply = error
                if isinstance(reply, push):
                    if self._on_push is not None:
                        self._on_push(reply)
                else:
                    self._settle(reply)
        except (RedisError, OSError) as error:
            self._fail(to_chatkit_error(error, self.where))
        except hiredis.HiredisError as error:
            self._fail(StoreError(f"the server at {self.where} does not speak the Redis protocol: {error}"))
        finally:  # in every case: a connection without a reader is lost
            self._fail(Unavailable(f"the connection to Redis at {self.where} was closed"))

    def _on_data(self) -> None:
        self._received_s = self._loop.time()

    def _settle(self, reply: Reply) -> None:
        if not self._calls:
            self._fail(StoreError(f"Redis at {self.where} sent an answer to no command"))
            return
        call = self._calls[0]
        if call.add_reply(reply):
            self._calls.popleft()
            if not call.future.done():  # it is done if the caller was cancelled
                call.future.set_result(call.replies)

    def _tick(self) -> None:
        now_s = self._loop.time()
        if now_s - self._ticked_s > 2 * TICK_S + 1:
            self._received_s = now_s  # this process was suspended: answers may be waiting unread
        self._ticked_s = now_s
        self._tick_handle = self._loop.call_later(TICK_S, self._tick)
        if self._calls:
            if now_s - max(self._received_s, self._calls[0].sent_s) > ANSWER_S:
                self._fail(Unavailable(f"Redis at {self.where} has not answered for {ANSWER_S:.0f} s"))
        elif now_s - self._received_s > self._ping_after_s:
            self.send([("PING",)])

    def _fail(self, fault: ChatkitError) -> None:
        if self.fault is not None:
            return
        self.fault = fault
        if self._tick_handle is not None:
            self._tick_handle.cancel()
        self._driver.abort()
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()
        for call in self._calls:
            if not call.future.done():
                call.future.set_exception(type(fault)(str(fault)))
        self._calls.clear()
        if self._on_lost is not None:
            self._on_lost(fault)


def _retrieve(future: asyncio.Future[list[Reply]]) -> None:
    """Retrieve the exception of a call whose caller may be gone, so that asyncio does not log it."""
    if not future.cancelled():
        future.exception()

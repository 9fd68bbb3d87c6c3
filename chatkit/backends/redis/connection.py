"""Link: one connection to one Redis server, on which many calls are under way at once.

A call that is cancelled leaves the link whole: its answer is read and dropped. A link that is lost stays lost; whoever
wants another makes one. Knows nothing of rooms.
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

from chatkit.backends.redis.errors import as_ours
from chatkit.errors import ChatkitError, StoreError, Unavailable

CONNECT_S = 3.0  # a server that is there answers at once; a paused one takes the connection and says nothing
ANSWER_S = 5.0  # longer than a fork or a large script holds up a server that is well
TICK_S = 0.5  # how often a link looks whether it is still answered
READ_BYTES = 262_144  # a batch's answer, or news of it, in few reads

Word: TypeAlias = bytes | str | int
Command: TypeAlias = tuple[Word, ...]
Reply: TypeAlias = Any  # what a command answers, or the `ResponseError` that it answered


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class _NonBlocking:
    """What we add to redis-py's connections: to write without waiting, to hear pushes, to end at once."""

    def prepare(self, heard: Callable[[], None]) -> None:
        """Have `heard` called whenever anything comes: a part of a long answer is a sign of life, too."""
        parser = self._parser  # type: ignore[attr-defined]  # a connection's
        parser.set_pubsub_push_handler(_pass_on)  # its own writes a log
        read_from_socket = parser.read_from_socket

        async def read_and_tell() -> bool:
            came: bool = await read_from_socket()
            heard()
            return came

        parser.read_from_socket = read_and_tell

    def write(self, data: bytes) -> None:
        self._writer.write(data)  # type: ignore[attr-defined]  # a connection's

    def abort(self) -> None:
        if (writer := self._writer) is not None:  # type: ignore[attr-defined]  # a connection's
            writer.transport.abort()


class PlainConnection(_NonBlocking, Connection):
    """A connection over TCP."""


class TlsConnection(_NonBlocking, SSLConnection):
    """A connection over TLS."""


Wire: TypeAlias = PlainConnection | TlsConnection


async def _pass_on(push: Any) -> Any:
    return push


class _PendingCall:
    """Commands that were sent together, and the answers that came so far."""

    __slots__ = ("future", "n_answers", "replies", "sent_s")

    def __init__(self, future: asyncio.Future[list[Reply]], n_answers: int | None, sent_s: float) -> None:
        self.future = future
        self.n_answers = n_answers  # None: until one comes that is no error
        self.replies: list[Reply] = []
        self.sent_s = sent_s

    def take(self, reply: Reply) -> bool:
        """Take an answer; say whether it was the last."""
        self.replies.append(reply)
        if self.n_answers is None:
            return not isinstance(reply, ResponseError)
        return len(self.replies) == self.n_answers


class RedisConnection:
    """A connection. `heard` gets what the server says unasked; `lost` is called once, with why, when the link is lost.

    A link that was silent for `quiet_s` asks whether the server is there.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        quiet_s: float,
        heard: Callable[[list[Any]], None] | None = None,
        lost: Callable[[ChatkitError], None] | None = None,
    ) -> None:
        self._wire = wire
        self.where = f"{wire.host}:{wire.port}"
        self._quiet_s = quiet_s
        self._heard = heard
        self._lost = lost
        self._calls: deque[_PendingCall] = deque()
        self._heard_s = self._ticked_s = -inf
        self._reader: asyncio.Task[None] | None = None
        self._tick_handle: asyncio.TimerHandle | None = None
        self.fault: ChatkitError | None = None  # why it was lost

    async def open(self) -> None:
        """Connect. Raise `Unavailable` or `StoreError`."""
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                self._wire.prepare(self._came)
                await self._wire.connect()  # type: ignore[no-untyped-call]  # redis-py's
        except (RedisError, OSError) as error:
            raise await self._given_up(as_ours(error, self.where)) from error
        except BaseException:
            await self._given_up(Unavailable("cancelled"))
            raise
        self._heard_s = self._ticked_s = self._loop.time()
        self._reader = self._loop.create_task(self._read())
        self._tick_handle = self._loop.call_later(TICK_S, self._tick)

    async def _given_up(self, fault: ChatkitError) -> ChatkitError:
        self.fault = fault
        self._wire.abort()
        with suppress(RedisError, OSError):
            await self._wire.disconnect(nowait=True)
        return fault

    async def close(self) -> None:
        """End it; whoever still waits gets `Unavailable`."""
        self._lost = None
        self._fail(Unavailable("the link to Redis was closed"))
        if self._reader is not None:
            await asyncio.wait([self._reader])
        with suppress(RedisError, OSError):
            await self._wire.disconnect(nowait=True)

    def send(self, commands: Sequence[Command], *, answered: bool = True) -> asyncio.Future[list[Reply]]:
        """Send the commands; the future gets their answers, errors among them, or `Unavailable` if the link is lost.

        With `answered=False`, the commands answer only if they fail; the future then gets these errors, and the answer
        of a question that is sent behind them.
        """
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        future.add_done_callback(_retrieve)
        if self.fault is not None:
            future.set_exception(self.fault)
            return future
        if not answered:
            commands = [*commands, ("PING",)]
        self._wire.write(b"".join(hiredis.pack_command(command) for command in commands))  # type: ignore[arg-type]  # its stub has one word
        self._calls.append(_PendingCall(future, len(commands) if answered else None, self._loop.time()))
        return future

    async def _read(self) -> None:
        wire, push = self._wire, hiredis.PushNotification
        try:
            while True:
                try:
                    reply = await wire.read_response(timeout=inf, push_request=True, disconnect_on_error=False)
                except ResponseError as error:
                    reply = error
                if isinstance(reply, push):
                    if self._heard is not None:
                        self._heard(reply)
                else:
                    self._settle(reply)
        except (RedisError, OSError) as error:
            self._fail(as_ours(error, self.where))
        except hiredis.HiredisError as error:
            self._fail(StoreError(f"what listens at {self.where} is no Redis: {error}"))
        finally:  # whatever ended it: a link that nobody reads is lost
            self._fail(Unavailable(f"the link to Redis at {self.where} was ended"))

    def _came(self) -> None:
        self._heard_s = self._loop.time()

    def _settle(self, reply: Reply) -> None:
        if not self._calls:
            self._fail(StoreError(f"Redis at {self.where} answered what nobody asked"))
            return
        call = self._calls[0]
        if call.take(reply):
            self._calls.popleft()
            if not call.future.done():  # it is, when who called was cancelled
                call.future.set_result(call.replies)

    def _tick(self) -> None:
        now_s = self._loop.time()
        if now_s - self._ticked_s > 2 * TICK_S + 1:
            self._heard_s = now_s  # it is this process that stood still: the answers may be there, unread
        self._ticked_s = now_s
        self._tick_handle = self._loop.call_later(TICK_S, self._tick)
        if self._calls:
            if now_s - max(self._heard_s, self._calls[0].sent_s) > ANSWER_S:
                self._fail(Unavailable(f"Redis at {self.where} has not answered for {ANSWER_S:.0f} s"))
        elif now_s - self._heard_s > self._quiet_s:
            self.send([("PING",)])

    def _fail(self, fault: ChatkitError) -> None:
        if self.fault is not None:
            return
        self.fault = fault
        if self._tick_handle is not None:
            self._tick_handle.cancel()
        self._wire.abort()
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()
        for call in self._calls:
            if not call.future.done():
                call.future.set_exception(type(fault)(str(fault)))
        self._calls.clear()
        if self._lost is not None:
            self._lost(fault)


def _retrieve(future: asyncio.Future[list[Reply]]) -> None:
    """Look at what came of a call that nobody may wait for any more."""
    if not future.cancelled():
        future.exception()

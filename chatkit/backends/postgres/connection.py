"""Pool: a few connections to PostgreSQL, lent for one statement at a time, and replaced when they break.

Each call has a time limit. A connection whose call was cancelled, or was not answered in time, is not used again; the
driver asks the server to give the statement up. Knows nothing of rooms.
"""

# ruff: noqa: D102 - what a connection's methods mean is said by the driver

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Protocol, Self, TypeAlias, TypeVar

import asyncpg

from chatkit.backends.postgres.errors import DRIVER_ERRORS, MISSING, RETRIED, as_ours, has_answered, state_of
from chatkit.backoff import Backoff
from chatkit.errors import Unavailable

T = TypeVar("T")

CONNECT_S = 3.0  # seconds; a server that comes back is not met by the end of a long wait
CLOSE_S = 1.0  # for a server to give up a statement, or to hear that we leave
IDLE_S = 60.0  # a connection that rested longer is closed: a proxy may have forgotten it
MAX_TRIES = 5  # where others were in the way; each time one of them gets through
TRY_AGAIN_S, MAX_AGAIN_S = 0.02, 0.08  # about what the transaction takes that was in the way


class PostgresConnection(Protocol):
    """What is used of the driver's connection."""

    async def execute(self, query: str, *args: Any) -> str: ...
    async def fetch(self, query: str, *args: Any) -> Sequence[Mapping[str, Any]]: ...
    async def fetchrow(self, query: str, *args: Any) -> Mapping[str, Any] | None: ...
    async def fetchval(self, query: str, *args: Any) -> Any: ...
    async def add_listener(
        self, channel: str, callback: Callable[["PostgresConnection", int, str, str], None]
    ) -> None: ...
    def add_termination_listener(self, callback: Callable[["PostgresConnection"], None]) -> None: ...
    def transaction(self) -> Any: ...
    def is_closed(self) -> bool: ...
    async def close(self, *, timeout: float) -> None: ...  # noqa: ASYNC109 - the driver's
    def terminate(self) -> None: ...


Do: TypeAlias = Callable[[PostgresConnection], Awaitable[T]]
Connect: TypeAlias = Callable[[], Awaitable[PostgresConnection]]
"""Makes a connection of the driver's."""


class PostgresEndpoint:
    """Where the database is, and how it is connected to. `place` is what errors call it."""

    def __init__(self, make: Connect, place: str) -> None:
        self._make = make
        self.place = place

    @classmethod
    def of(cls, dsn: str, place: str, *, cached_statements: int) -> Self:
        """Connect by a dsn of the driver's."""
        return cls(
            partial(asyncpg.connect, dsn, timeout=CONNECT_S, statement_cache_size=cached_statements),
            place,
        )

    async def connect(self, settings: str = "") -> PostgresConnection:
        """Connect, and run the settings, which are SQL; raise the driver's errors."""
        connection = await self._make()
        try:
            # What a statement sees begins with the statement, whatever the database's default is; and none of ours
            # takes so long that compiling it would pay.
            await connection.execute("SET default_transaction_isolation = 'read committed'; SET jit = off;" + settings)
        except BaseException:
            connection.terminate()
            raise
        return connection


class ConnectionPool:
    """At most `size` connections, made when they are needed; the one that was used last is used next."""

    def __init__(self, server: PostgresEndpoint, size: int, *, settings: str = "") -> None:
        self._server = server
        self._settings = settings
        self._slots = asyncio.Semaphore(size)  # one for each connection that may be lent
        self._idle: list[tuple[PostgresConnection, float]] = []  # and since when
        self._lent_out: set[PostgresConnection] = set()
        self._connecting: set[asyncio.Task[PostgresConnection]] = set()  # closing waits for them; CONNECT_S bounds that
        self._retired: set[asyncio.Task[None]] = set()  # connections being closed
        self._heal: Do[object] | None = None
        self._is_closed = False

    def heal_with(self, heal: Do[object]) -> None:
        """Call this when the tables are missing, and try again then."""
        self._heal = heal

    async def run(self, do: Do[T], *, timeout_s: float) -> T:
        """Lend a connection; raise errors of ours. What the server refused wholly because of others is tried again."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._try(do)
        except TimeoutError as error:
            raise Unavailable(f"{self._server.place} has not answered for {timeout_s:.0f} s") from error
        except DRIVER_ERRORS as error:
            raise as_ours(error, self._server.place) from error

    async def _try(self, do: Do[T]) -> T:
        tries, heal, backoff = 0, self._heal, Backoff(TRY_AGAIN_S, MAX_AGAIN_S)
        while True:
            tries += 1
            try:
                async with self._lent() as connection:
                    return await do(connection)
            except asyncpg.PostgresError as error:
                if state_of(error) in RETRIED and tries < MAX_TRIES:
                    await asyncio.sleep(backoff.next_s())
                elif state_of(error) in MISSING and heal is not None:
                    async with self._lent() as connection:
                        await heal(connection)
                    heal = None
                else:
                    raise

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[PostgresConnection]:
        async with self._slots:
            connection = await self._take()
            self._lent_out.add(connection)
            try:
                yield connection
            except BaseException as error:
                self._give_back(connection, is_good=has_answered(error))
                if self._is_closed and isinstance(error, AttributeError):
                    # So the driver finds between two steps of a statement that we cut its connection.
                    raise Unavailable("the backend is closed") from error
                raise
            self._give_back(connection)

    async def _take(self) -> PostgresConnection:
        # That connections were cut while the loop was busy, it learns in its next turn.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if self._is_closed:
            raise Unavailable("the backend is closed")
        self._drop_old()
        while self._idle:
            connection, _ = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._connect()

    async def _connect(self) -> PostgresConnection:
        """Connect, in a task of its own. It is never cancelled: the driver would leave an error that nobody takes."""
        task = asyncio.create_task(self._server.connect(self._settings))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.add_done_callback(_abandon)
            raise
        if self._is_closed:
            _abandon(task)
            raise Unavailable("the backend is closed")
        return task.result()

    def _drop_old(self) -> None:
        oldest_s = asyncio.get_running_loop().time() - IDLE_S
        while self._idle and self._idle[0][1] < oldest_s:
            self._retire(self._idle.pop(0)[0])

    def _give_back(self, connection: PostgresConnection, *, is_good: bool = True) -> None:
        self._lent_out.discard(connection)
        if connection.is_closed():
            return
        if is_good and not self._is_closed:
            self._idle.append((connection, asyncio.get_running_loop().time()))
        else:
            self._retire(connection)

    def _retire(self, connection: PostgresConnection) -> None:
        task = asyncio.create_task(close_connection(connection))
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    async def close(self) -> None:
        """Close all connections; a call under way fails. Closing again does nothing."""
        self._is_closed = True
        while self._idle:
            self._retire(self._idle.pop()[0])
        for connection in tuple(self._lent_out):
            connection.terminate()
        if ending := {*self._retired, *self._connecting}:
            await asyncio.wait(ending)


def _abandon(connecting: asyncio.Task[PostgresConnection]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:  # which also takes the error
        connecting.result().terminate()


async def close_connection(connection: PostgresConnection) -> None:
    """Close politely if that is quick: then the server has given up what was asked last, too."""
    with suppress(*DRIVER_ERRORS):  # TimeoutError is an OSError
        await connection.close(timeout=CLOSE_S)
    connection.terminate()

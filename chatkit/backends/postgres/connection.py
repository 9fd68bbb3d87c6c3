"""ConnectionPool: a few connections to PostgreSQL, each lent to one call at a time, and replaced when it breaks.

Each call has a time limit. A connection whose call was cancelled or timed out is not used again; the driver asks the
server to cancel the statement. Knows nothing of rooms.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Protocol, Self, TypeAlias, TypeVar

import asyncpg

from chatkit.backends.postgres.errors import DRIVER_ERRORS, MISSING, RETRIED, has_answered, state_of, to_chatkit_error
from chatkit.backoff import Backoff
from chatkit.errors import Unavailable

T = TypeVar("T")

CONNECT_S = 3.0  # short, so that a server that comes back is soon tried again
CLOSE_S = 1.0  # for the server to cancel a statement and to learn of the close
IDLE_S = 60.0  # an idle connection is closed after that: a proxy may have dropped it
JUST_USED_S = 0.01  # a connection that answered so recently is used without another turn of the event loop
MAX_TRIES = 5  # after conflicts of concurrent transactions, of which one succeeds each time
RETRY_MIN_S, RETRY_MAX_S = 0.02, 0.08  # about the duration of the conflicting transaction


class PostgresConnection(Protocol):
    """The part of the driver's connection that is used here."""

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
"""Opens a connection of the driver."""


class PostgresEndpoint:
    """How to connect to the database. `display_url` names it in errors, without a password."""

    def __init__(self, make: Connect, display_url: str) -> None:
        self._make = make
        self.display_url = display_url

    @classmethod
    def of(cls, dsn: str, display_url: str, *, cached_statements: int) -> Self:
        """Return the endpoint of a dsn of the driver."""
        return cls(
            partial(asyncpg.connect, dsn, timeout=CONNECT_S, statement_cache_size=cached_statements),
            display_url,
        )

    async def connect(self, settings: str = "") -> PostgresConnection:
        """Connect, and execute the SQL of `settings`; raise the errors of the driver."""
        connection = await self._make()
        try:
            # Each statement must see the commits before it, whatever the database's default is. No statement runs long
            # enough for compiling to pay.
            await connection.execute("SET default_transaction_isolation = 'read committed'; SET jit = off;" + settings)
        except BaseException:
            connection.terminate()
            raise
        return connection


class ConnectionPool:
    """At most `size` connections, opened when they are needed; the one that was used last is used next."""

    def __init__(self, endpoint: PostgresEndpoint, size: int, *, settings: str = "") -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._slots = asyncio.Semaphore(size)  # limits the connections that are in use
        self._idle: list[tuple[PostgresConnection, float]] = []  # and since when, oldest first
        self._in_use: set[PostgresConnection] = set()
        self._connecting: set[asyncio.Task[PostgresConnection]] = set()  # `close` waits for them, for at most CONNECT_S
        self._retired: set[asyncio.Task[None]] = set()  # the tasks that close connections
        self._repair: Do[object] | None = None
        self._is_closed = False

    def repair_with(self, repair: Do[object]) -> None:
        """Set the function that is called when a table or function is missing, before one more attempt."""
        self._repair = repair

    async def run(self, do: Do[T], *, timeout_s: float) -> T:
        """Call `do` with a connection; raise an error of chatkit. Retry after a conflict of concurrent transactions."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._run_with_retries(do)
        except TimeoutError as error:
            raise Unavailable(f"{self._endpoint.display_url} has not answered for {timeout_s:.0f} s") from error
        except DRIVER_ERRORS as error:
            raise to_chatkit_error(error, self._endpoint.display_url) from error

    async def _run_with_retries(self, do: Do[T]) -> T:
        tries, repair, backoff = 0, self._repair, Backoff(RETRY_MIN_S, RETRY_MAX_S)
        while True:
            tries += 1
            try:
                async with self._lend() as connection:
                    return await do(connection)
            except asyncpg.PostgresError as error:
                if state_of(error) in RETRIED and tries < MAX_TRIES:
                    await asyncio.sleep(backoff.next_s())
                elif state_of(error) in MISSING and repair is not None:
                    async with self._lend() as connection:
                        await repair(connection)
                    repair = None
                else:
                    raise

    @asynccontextmanager
    async def _lend(self) -> AsyncIterator[PostgresConnection]:
        async with self._slots:
            connection = await self._acquire()
            self._in_use.add(connection)
            try:
                yield connection
            except BaseException as error:
                self._release(connection, is_good=has_answered(error))
                if self._is_closed and isinstance(error, AttributeError):
                    # The driver fails in this way if the connection is terminated between two steps of a statement.
                    raise Unavailable("the backend is closed") from error
                raise
            self._release(connection)

    async def _acquire(self) -> PostgresConnection:
        if not self._was_just_used():
            # The event loop needs a turn to learn of connections that were lost while it was busy.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        if self._is_closed:
            raise Unavailable("the backend is closed")
        self._retire_idle()
        while self._idle:
            connection, _ = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._connect()

    def _was_just_used(self) -> bool:
        return bool(self._idle) and self._idle[-1][1] > asyncio.get_running_loop().time() - JUST_USED_S

    async def _connect(self) -> PostgresConnection:
        """Connect in a task that is never cancelled: the driver would leave an error that nobody retrieves."""
        task = asyncio.create_task(self._endpoint.connect(self._settings))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.add_done_callback(_discard)
            raise
        if self._is_closed:
            _discard(task)
            raise Unavailable("the backend is closed")
        return task.result()

    def _retire_idle(self) -> None:
        oldest_s = asyncio.get_running_loop().time() - IDLE_S
        while self._idle and self._idle[0][1] < oldest_s:
            self._retire(self._idle.pop(0)[0])

    def _release(self, connection: PostgresConnection, *, is_good: bool = True) -> None:
        self._in_use.discard(connection)
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
        """Close all connections; calls in progress fail. Closing again does nothing."""
        self._is_closed = True
        while self._idle:
            self._retire(self._idle.pop()[0])
        for connection in tuple(self._in_use):
            connection.terminate()
        if ending := {*self._retired, *self._connecting}:
            await asyncio.wait(ending)


def _discard(connecting: asyncio.Task[PostgresConnection]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:  # this also retrieves the error
        connecting.result().terminate()


async def close_connection(connection: PostgresConnection) -> None:
    """Close the connection properly if that is quick, so that the server also cancels its last statement."""
    with suppress(*DRIVER_ERRORS):  # TimeoutError is an OSError
        await connection.close(timeout=CLOSE_S)
    connection.terminate()

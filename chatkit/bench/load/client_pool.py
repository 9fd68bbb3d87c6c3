"""ClientPool: connects the clients of a load, and reconnects them when they are disconnected, until it is closed."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence

from chatkit.backoff import RECONNECT_FACTOR, Backoff
from chatkit.bench.load.connection import LoadConnection
from chatkit.bench.load.websocket_client import ServerAddress
from chatkit.errors import ChatkitError, RateLimited, Unavailable

FIRST_WAIT_S, MAX_WAIT_S = 0.1, 10.0  # before a reconnect, as in chatkit's client
CONCURRENT_CONNECTS = 64  # connections opened at the same time; more would only wait for each other
TICK_S = 0.2
STALL_S = 30.0  # without progress; longer than a server needs to restart

Show = Callable[[str, int, int], None]
"""Shows progress: the name of the step, how much is done, and the total."""


class ClientPool:
    """Keeps connections open. `ended` is set at the end of the load; `fail` receives errors that a retry cannot fix."""

    def __init__(
        self,
        address: ServerAddress,
        connections: Sequence[LoadConnection],
        ended: asyncio.Event,
        fail: Callable[[ChatkitError], None],
    ) -> None:
        self.n_reconnects = 0
        self._address = address
        self._connections = connections
        self._ended = ended
        self._fail = fail
        self._group: asyncio.TaskGroup | None = None  # while the pool is open
        self._tasks: set[asyncio.Task[None]] = set()  # tasks of the group that `close` cancels

    @property
    def is_connected(self) -> bool:
        """Whether every connection is open."""
        return all(connection.transport is not None for connection in self._connections)

    async def connect(self, group: asyncio.TaskGroup, show: Show) -> None:
        """Open all connections. Raise an error if that fails, at once if the first one fails."""
        self._group = group
        await self._connections[0].connect(self._address)
        waiting = iter(self._connections[1:])
        connectors = [self._spawn(group, self._connect_each(waiting)) for _ in range(CONCURRENT_CONNECTS)]
        stall = StallDetector()
        while not all(knock.done() for knock in connectors) and not self._ended.is_set():
            connected = sum(connection.transport is not None for connection in self._connections)
            show("connecting", connected, len(self._connections))
            if stall.is_stalled(connected):
                raise Unavailable(
                    f"the server accepted {connected} of {len(self._connections)} connections, and no more"
                )
            await asyncio.wait(connectors, timeout=TICK_S)

    def reconnect(self, connection: LoadConnection) -> None:
        """Connect a lost connection again."""
        if self._group is not None:
            self._spawn(self._group, self._reconnect(connection))

    def close(self) -> None:
        """Close all connections for good."""
        self._group = None
        for task in self._tasks:
            task.cancel()
        for connection in self._connections:
            connection.abort()

    def _spawn(self, group: asyncio.TaskGroup, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _connect_each(self, waiting: Iterator[LoadConnection]) -> None:
        for connection in waiting:
            await self._connect_with_retry(connection)

    async def _reconnect(self, connection: LoadConnection) -> None:
        if await self._connect_with_retry(connection):
            self.n_reconnects += 1

    async def _connect_with_retry(self, connection: LoadConnection) -> bool:
        backoff = Backoff(FIRST_WAIT_S, MAX_WAIT_S, factor=RECONNECT_FACTOR)
        while not self._ended.is_set():
            try:
                await connection.connect(self._address)
            except (Unavailable, RateLimited):
                await asyncio.sleep(backoff.next_s())
            except ChatkitError as error:
                self._fail(error)
            else:
                return True
        return False


class StallDetector:
    """Detects that there has been no progress for a while."""

    def __init__(self, after_s: float = STALL_S) -> None:
        self._after_s = after_s
        self._last: object = None
        self._since = time.monotonic()

    def is_stalled(self, progress: object) -> bool:
        """Return whether the progress has not changed for too long."""
        now = time.monotonic()
        if progress != self._last:
            self._last, self._since = progress, now
        return now - self._since >= self._after_s

"""Crew: the peers of a load, connected, and connected again when they are cut off, until they hang up for good."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence

from chatkit.backoff import Backoff
from chatkit.bench.load.connection import LoadConnection
from chatkit.bench.load.websocket_client import ServerAddress
from chatkit.errors import ChatkitError, RateLimited, Unavailable

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 10.0  # before an attempt to connect again, as a client waits
KNOCKS = 64  # connections that are opened at once: more would only wait for each other
TICK_S = 0.2
STALL_S = 30.0  # without any progress: beyond what a server needs to be started again

Show = Callable[[str, int, int], None]
"""Hears what is being done, how much of it is, and how much it will be."""


class ClientPool:
    """Keeps peers connected. `ended` is the load's end; `fail` hears what a server says to those it does not want."""

    def __init__(
        self,
        door: ServerAddress,
        peers: Sequence[LoadConnection],
        ended: asyncio.Event,
        fail: Callable[[ChatkitError], None],
    ) -> None:
        self.n_reconnects = 0
        self._door = door
        self._peers = peers
        self._ended = ended
        self._fail = fail
        self._group: asyncio.TaskGroup | None = None  # while connections are wanted
        self._tasks: set[asyncio.Task[None]] = set()  # of the group, so that hanging up ends them

    @property
    def is_whole(self) -> bool:
        """Whether every peer has its connection."""
        return all(peer.transport is not None for peer in self._peers)

    async def connect(self, group: asyncio.TaskGroup, show: Show) -> None:
        """Connect all. Raise why that cannot be: at once if not even the first one can."""
        self._group = group
        await self._peers[0].connect(self._door)
        waiting = iter(self._peers[1:])
        knocks = [self._spawn(group, self._knock(waiting)) for _ in range(KNOCKS)]
        stall = StallDetector()
        while not all(knock.done() for knock in knocks) and not self._ended.is_set():
            connected = sum(peer.transport is not None for peer in self._peers)
            show("connecting", connected, len(self._peers))
            if stall.is_one(connected):
                raise Unavailable(f"the server took {connected} of {len(self._peers)} connections, and no more")
            await asyncio.wait(knocks, timeout=TICK_S)

    def bring_back(self, peer: LoadConnection) -> None:
        """Connect a peer again that lost its connection."""
        if self._group is not None:
            self._spawn(self._group, self._bring_back(peer))

    def hang_up(self) -> None:
        """End all connections for good."""
        self._group = None
        for task in self._tasks:
            task.cancel()
        for peer in self._peers:
            peer.cut_off()

    def _spawn(self, group: asyncio.TaskGroup, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _knock(self, waiting: Iterator[LoadConnection]) -> None:
        for peer in waiting:
            await self._keep_knocking(peer)

    async def _bring_back(self, peer: LoadConnection) -> None:
        if await self._keep_knocking(peer):
            self.n_reconnects += 1

    async def _keep_knocking(self, peer: LoadConnection) -> bool:
        backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S)
        while not self._ended.is_set():
            try:
                await peer.connect(self._door)
            except (Unavailable, RateLimited):
                await asyncio.sleep(backoff.next_s())
            except ChatkitError as error:
                self._fail(error)
            else:
                return True
        return False


class StallDetector:
    """Notices that nothing has moved for a while."""

    def __init__(self, after_s: float = STALL_S) -> None:
        self._after_s = after_s
        self._last: object = None
        self._since = time.monotonic()

    def is_one(self, progress: object) -> bool:
        """Say whether this is what it has been for too long."""
        now = time.monotonic()
        if progress != self._last:
            self._last, self._since = progress, now
        return now - self._since >= self._after_s

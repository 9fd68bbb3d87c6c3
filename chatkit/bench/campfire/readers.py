"""RoomReaders: many readers of one room, and how long each is away when the server restarts."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatkit.bench.load.checker import Faults
from chatkit.bench.load.client_pool import ClientPool, Show, StallDetector
from chatkit.bench.load.connection import LoadConnection
from chatkit.bench.load.frame_parser import FrameParser, ParsedChunk
from chatkit.bench.load.latency import Latencies
from chatkit.bench.load.load import SAMPLED_READERS
from chatkit.bench.load.reader import LoadReader
from chatkit.bench.load.websocket_client import ServerAddress
from chatkit.core.model import MAX_SEQ
from chatkit.errors import ChatkitError
from chatkit.wire.protocol import AnyEvent, JoinedEvent

DRAIN_TICK_S = 0.02  # the end of a measurement is this exact


class BlackoutReader(LoadReader):
    """Reads a room without an end, and measures its blackouts.

    A blackout begins when the connection is lost. It ends when the reader has joined the room again and has received
    every message that the room had at that moment.
    """

    blackouts: Latencies  # those of all readers of the room
    has_returned = False  # whether a blackout has ended
    _lost_ns = 0  # when the connection was lost, or 0 while it is not in a blackout
    _due = 0  # the number of the room's last message when the reader joined

    def connection_lost(self, exc: Exception | None) -> None:
        """Begin a blackout, unless it is in one."""
        if self._is_ready and not self._lost_ns:
            self._lost_ns = time.monotonic_ns()
        super().connection_lost(exc)

    def _on_chunk(self, chunk: ParsedChunk) -> None:
        super()._on_chunk(chunk)
        if self._lost_ns and self._is_ready and self.checker.last >= self._due:
            now_ns = time.monotonic_ns()
            self.blackouts.add(now_ns, (self._lost_ns,))
            self.blackouts.note_longest(now_ns - self._lost_ns)
            self._lost_ns, self.has_returned = 0, True

    def _on_event(self, event: AnyEvent) -> None:
        if isinstance(event, JoinedEvent):
            self._due = event.last
        super()._on_event(event)


class RoomReaders:
    """`number` readers of `room`, which connect again when their connection is lost, until `close`."""

    def __init__(self, number: int, room: str, address: ServerAddress) -> None:
        self.latencies = Latencies()  # from a post to its delivery
        self.blackouts = Latencies()
        self._error: ChatkitError | None = None  # the first with which a reader failed
        self._ended = asyncio.Event()  # a reader has failed, or all are closed
        self._parser, self._sampled_every = FrameParser(), max(1, number // SAMPLED_READERS)
        self._readers = [self._make_reader(room, index) for index in range(number)]
        self._pool = ClientPool(address, self._readers, self._ended, self.fail)

    def __len__(self) -> int:
        return len(self._readers)

    @property
    def delivered(self) -> int:
        """The number of different messages received, over all readers."""
        return sum(reader.checker.delivered for reader in self._readers)

    @property
    def gaps(self) -> int:
        """The number of messages that the server reported as missing, over all readers."""
        return sum(reader.checker.n_in_gaps for reader in self._readers)

    @property
    def n_returned(self) -> int:
        """The number of readers that were disconnected and have received everything since then."""
        return sum(reader.has_returned for reader in self._readers)

    @asynccontextmanager
    async def connected(self, show: Show) -> AsyncIterator[None]:
        """Keep all readers connected during the block. Raise the error with which one fails."""
        error: ChatkitError | None = None
        async with asyncio.TaskGroup() as group:
            try:
                if self._readers:
                    await self._pool.connect(group, show)
                self._check()
                yield
                self._check()
            except ChatkitError as raised:  # the group would wrap it
                error = raised
            finally:
                self._ended.set()
                self._pool.close()
        if error is not None:
            raise error

    async def wait_for(self, last: int, show: Show) -> None:
        """Wait until every reader has received message `last`, or until nothing more arrives."""
        stall = StallDetector()
        while n_behind := sum(reader.checker.last < last for reader in self._readers):
            self._check()
            show("delivering", len(self) - n_behind, len(self))
            if stall.is_stalled(self.delivered):
                return
            await asyncio.sleep(DRAIN_TICK_S)

    def faults(self, last: int) -> Faults:
        """Return the faults of all readers, given the number of the room's last message."""
        return sum((reader.checker.faults(last) for reader in self._readers), Faults())

    def caught_up(self) -> None:
        """Ignore that a reader has reached its goal, which has none."""

    def disconnected(self, connection: LoadConnection) -> None:
        """Reconnect a lost connection."""
        self._pool.reconnect(connection)

    def fail(self, error: ChatkitError) -> None:
        """Note the first error."""
        self._error = self._error or error
        self._ended.set()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _make_reader(self, room: str, index: int) -> BlackoutReader:
        reader = BlackoutReader(
            f"bench-reader-{index}",
            self,
            room=room,
            goal=MAX_SEQ,
            parser=self._parser,
            latencies=self.latencies,
            samples=index % self._sampled_every == 0,
        )
        reader.blackouts = self.blackouts
        return reader

"""Load: readers and senders on one server, from the first connection to the final comparison.

A closed loop: a sender has a limited number of messages in flight, so the server sets the pace.
"""

import asyncio
import gc
import random
import time
from array import array
from contextlib import suppress

from chatkit.bench.load.checker import Faults, compare
from chatkit.bench.load.client_pool import TICK_S, ClientPool, Show, StallDetector
from chatkit.bench.load.connection import LoadConnection
from chatkit.bench.load.frame_parser import FrameParser
from chatkit.bench.load.latency import Latencies
from chatkit.bench.load.plan import LoadPlan
from chatkit.bench.load.reader import LoadReader
from chatkit.bench.load.report import LoadReport
from chatkit.bench.load.sender import LoadSender
from chatkit.bench.load.websocket_client import ServerAddress
from chatkit.client import Client
from chatkit.client.endpoint import Endpoint
from chatkit.core.model import Gap
from chatkit.errors import ChatkitError, Unavailable

SAMPLED_READERS = 16  # readers whose latencies are all recorded; of the others only the longest


class Load:
    """One load. Call `run` once; after it, `error` is what ended the load early, if anything did."""

    def __init__(self, plan: LoadPlan, endpoint: Endpoint, show: Show) -> None:
        self.error: ChatkitError | None = None
        self.is_interrupted = False
        self._plan = plan
        self._endpoint = endpoint
        self._show = show
        self._latencies = Latencies()
        self._acked = array("q", bytes(8 * plan.messages))  # by number: the message's `seq`, or 0
        self._n_acked = 0
        self._n_behind = sum(1 for index in range(plan.subs) if plan.messages_in(index % plan.rooms))
        self._began_at: float | None = None
        self._ended_at: float | None = None
        self._ended = asyncio.Event()  # all is acknowledged and delivered, or an error makes continuing pointless
        self._readers = self._make_readers()
        self._senders = [LoadSender(f"bench-sender-{index}", self, plan, index) for index in range(plan.pubs)]
        self._pool = ClientPool(ServerAddress.of(endpoint), [*self._senders, *self._readers], self._ended, self.fail)
        self._stored: Faults | None = None  # faults of the store, once it was compared

    async def run(self) -> LoadReport:
        """Run until the end. If cancelled, return the report so far. Raise the error that prevents the start."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._load(group)
            if self._began_at is not None:
                await self._compare()
        except asyncio.CancelledError:
            self.is_interrupted = True
        if self.error is not None and self._began_at is None:
            raise self.error
        return self._report()

    def acknowledged(self, number: int, seq: int) -> None:
        """Record that a message is committed."""
        self._acked[number] = seq
        self._n_acked += 1
        if self._plan.resume and self._n_acked % self._plan.cut_every == 0:
            random.choice(self._readers).abort()  # noqa: S311 - any of them
        self._end_if_done()

    def caught_up(self) -> None:
        """Record that a reader has received every message."""
        self._n_behind -= 1
        self._end_if_done()

    def disconnected(self, connection: LoadConnection) -> None:
        """Reconnect a lost connection."""
        self._pool.reconnect(connection)

    def fail(self, error: ChatkitError) -> None:
        """Stop the load early."""
        self.error = self.error or error
        self._end()

    def _make_readers(self) -> list[LoadReader]:
        plan, parser = self._plan, FrameParser()
        sampled_every = max(1, plan.subs // SAMPLED_READERS)
        return [
            LoadReader(
                f"bench-reader-{index}",
                self,
                room=plan.room(index % plan.rooms),
                goal=plan.messages_in(index % plan.rooms),
                parser=parser,
                latencies=self._latencies,
                samples=index % sampled_every == 0,
            )
            for index in range(plan.subs)
        ]

    async def _load(self, group: asyncio.TaskGroup) -> None:
        try:
            await self._pool.connect(group, self._show)
            if self.error is None:
                await self._publish()
        except ChatkitError as error:
            self.fail(error)
        finally:
            self._end()
            for sender in self._senders:
                sender.stop()
            self._pool.close()

    async def _publish(self) -> None:
        gc.collect()
        gc.freeze()  # garbage collections during the measurement need not walk thousands of connections
        self._began_at = time.perf_counter()
        for sender in self._senders:
            sender.start()
        plan, stall = self._plan, StallDetector()
        while not self._ended.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._ended.wait()
            delivered = self._n_delivered()
            if plan.subs:
                self._show("delivering", delivered, plan.deliveries)
            else:
                self._show("publishing", self._n_acked, plan.messages)
            is_rate_limited = any(sender.is_waiting for sender in self._senders)
            if not is_rate_limited and stall.is_stalled((self._n_acked, delivered, self._pool.n_reconnects)):
                self._give_up()

    def _give_up(self) -> None:
        n_open = self._plan.messages - self._n_acked
        if not self._pool.is_connected:
            self.fail(Unavailable(f"no server answers at {self._endpoint.url}"))
        elif n_open:
            self.fail(Unavailable(f"the server stopped acknowledging: {n_open} messages are left"))
        else:
            self._end()  # messages that readers do not have by now are lost

    def _end_if_done(self) -> None:
        if not self._n_behind and self._n_acked == self._plan.messages:
            self._end()

    def _end(self) -> None:
        if self._ended_at is None:
            self._ended_at = time.perf_counter()
        self._ended.set()

    async def _compare(self) -> None:
        """Compare the acknowledgements with the store, room by room."""
        plan, faults = self._plan, Faults()
        async with Client(self._endpoint.url, token=self._endpoint.token) as client:
            for index in range(plan.rooms):
                self._show("comparing", index, plan.rooms)
                log: list[tuple[int, int | None]] = []
                first = 1
                async for item in client.scroll(plan.room(index), after=0):
                    if isinstance(item, Gap):
                        first = item.before
                    else:
                        log.append((item.seq, plan.number(item.key)))
                numbers = range(index, plan.messages, plan.rooms)
                acked = {number: seq for number in numbers if (seq := self._acked[number])}
                faults += compare(acked, log, senders=plan.pubs, first=first)
        self._stored = faults

    def _n_delivered(self) -> int:
        return sum(reader.checker.delivered for reader in self._readers)

    def _report(self) -> LoadReport:
        plan = self._plan
        is_all_acked = self._n_acked == plan.messages
        faults = self._stored or Faults()
        for reader in self._readers:
            faults += reader.checker.faults(reader.goal if is_all_acked and not self.is_interrupted else 0)
        seconds = (self._ended_at or 0.0) - (self._began_at or 0.0) if self._began_at is not None else 0.0
        delivered = self._n_delivered()
        p50_ms, p99_ms = self._latencies.percentiles_ms(0.5, 0.99)
        limits = self._senders[0].limits
        return LoadReport(
            server=self._endpoint.url,
            subs=plan.subs,
            pubs=plan.pubs,
            rooms=plan.rooms,
            messages=plan.messages,
            size=plan.size,
            window=plan.window,
            resume=plan.resume,
            seconds=round(seconds, 3),
            acknowledged=self._n_acked,
            delivered=delivered,
            messages_per_s=round(self._n_acked / seconds) if seconds else 0,
            deliveries_per_s=round(delivered / seconds) if seconds else 0,
            p50_ms=round(p50_ms, 2),
            p99_ms=round(p99_ms, 2),
            max_ms=round(self._latencies.longest_ns / 1e6, 2),
            lost=faults.lost,
            repeated=faults.repeated,
            out_of_order=faults.out_of_order,
            gaps=sum(reader.checker.gaps for reader in self._readers),
            missing=sum(reader.checker.n_in_gaps for reader in self._readers),
            reconnects=self._pool.n_reconnects,
            waited_s=round(sum(sender.waited_s for sender in self._senders) / plan.pubs, 1),
            rate_limit=limits.rate if limits else 0,
            complete=is_all_acked and self._stored is not None and self.error is None,
        )

"""WorkerPool: the workers of the consumers of one room, what they report, and the faults that they suffer."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from chatkit.bench.chaos.checker import RoomChecker
from chatkit.bench.chaos.consumer_checker import ConsumerChecker, ConsumerFindings
from chatkit.bench.chaos.event_pipe import EventPipe
from chatkit.bench.chaos.fleet import Fleet
from chatkit.bench.chaos.plan import ChaosPlan
from chatkit.bench.chaos.work_event import WorkEvent, WorkEventKind
from chatkit.bench.chaos.worker_process import ConsumerWorkerProcess, Job
from chatkit.bench.load.client_pool import StallDetector
from chatkit.client import Client
from chatkit.client.consumers import ConsumerClient
from chatkit.client.endpoint import Endpoint
from chatkit.errors import NotFound, Unavailable

SHARED, ORDERED = "shared", "ordered"  # the names of the consumers
RETRIES = 4  # with leases of killed workers, few messages other than those that always fail are given up
QUIET_S = (0.4, 2.0)  # between two faults
AWAY_S = (0.0, 1.0)  # between the kill and the next start of a worker
PAUSE_S = (1.0, 8.0)  # shorter and longer than leases
POLL_S = 0.05
ASK_EVERY_S = 0.5


class WorkerPool:
    """The shared consumer with its workers, and the ordered one with one worker; nothing if the plan has no workers."""

    def __init__(self, plan: ChaosPlan, fleet: Fleet, room: str, checker: RoomChecker, folder: Path) -> None:
        self.n_kills = self.n_pauses = self.n_crashes = 0
        self.room = room
        self.consumers = _checkers(plan)
        self._fleet = fleet
        self._room_checker = checker
        self._addresses = folder / "addresses"
        self._by_name = {each.name: each for each in self.consumers}
        self._dice = random.Random(f"workers {plan.seed}")  # noqa: S311 - faults that the seed reproduces
        self._events = EventPipe(WorkEvent, self._on_event)
        consumers = [each for each in self.consumers for _ in range(each.n_workers)]
        jobs = [Job(room, each.name, each.ordered, str(self._addresses), self._events.write_end) for each in consumers]
        self._workers = [ConsumerWorkerProcess(job, folder / f"worker-{index}") for index, job in enumerate(jobs)]

    @classmethod
    @contextmanager
    def open(cls, plan: ChaosPlan, fleet: Fleet, room: str, checker: RoomChecker) -> "Iterator[WorkerPool]":
        """Make a pool for the block. At its end, the workers are killed."""
        with TemporaryDirectory(prefix="chatkit-bench-") as name:
            pool = cls(plan, fleet, room, checker, Path(name))
            try:
                yield pool
            finally:
                pool._close()

    async def make_consumers(self) -> None:
        """Make the consumers, at the start of the room."""
        for each in self.consumers:
            put = partial(_put, self._fleet.servers[0].url, self.room, each)
            await asyncio.to_thread(put)

    async def run(self) -> None:
        """Start the workers, and let them work until cancelled."""
        self._events.listen()
        try:
            self._write_addresses()
            for worker in self._workers:
                worker.start()
            while True:
                await asyncio.sleep(POLL_S)
                self._write_addresses()
        finally:
            self._events.ignore()

    async def break_workers(self) -> None:
        """Kill and pause workers, one at a time, until cancelled. Then all of them run."""
        while self._workers:
            await asyncio.sleep(self._dice.uniform(*QUIET_S))
            self._restart_crashed()
            worker = self._dice.choice(self._workers)
            if self._dice.random() < 0.5:
                await self._kill(worker, self._dice.uniform(*AWAY_S))
            else:
                await self._pause(worker, self._dice.uniform(*PAUSE_S))

    async def drain(self) -> None:
        """Wait until the consumers have no unsettled messages, or until there is no progress; end the workers."""
        stall = StallDetector()
        while (lag := await self._lag()) != 0 and not stall.is_stalled(
            (lag, [each.n_handled for each in self.consumers])
        ):
            await asyncio.sleep(ASK_EVERY_S)
            self._restart_crashed()
        await asyncio.to_thread(self._kill_all)
        self._events.read()

    async def read_dead_letters(self, client: Client) -> None:
        """Read which messages were given up."""
        try:
            async for message in client.scroll(f"{self.room}.failed"):
                data = getattr(message, "data", None) or {}
                if data.get("consumer") in self._by_name:
                    self._by_name[data["consumer"]].given_up(data["seq"])
        except NotFound:
            return  # none was

    def findings(self) -> list[ConsumerFindings]:
        """Return what became of the messages, after the log and the dead letters were read."""
        return [each.findings(self._room_checker.stored_seqs()) for each in self.consumers]

    def errors(self) -> list[str]:
        """Return the last line of what each worker that ended by itself has written."""
        return [
            lines[-1] for each in self._workers if each.log.exists() and (lines := each.log.read_text().splitlines())
        ]

    async def _kill(self, worker: ConsumerWorkerProcess, away_s: float) -> None:
        self.n_kills += 1
        worker.kill()  # not in a thread: it could still run, and kill the next process, if this is cancelled
        try:
            await asyncio.sleep(away_s)
        finally:
            worker.start()

    async def _pause(self, worker: ConsumerWorkerProcess, for_s: float) -> None:
        self.n_pauses += 1
        worker.pause()
        try:
            await asyncio.sleep(for_s)
        finally:
            worker.resume()

    def _restart_crashed(self) -> None:
        for worker in self._workers:
            if worker.has_ended:
                self.n_crashes += 1
                worker.start()

    async def _lag(self) -> int | None:
        """Return how many messages are not settled, or None if the server does not answer."""
        try:
            return await asyncio.to_thread(_lag_of, self._fleet.servers[0].url, self.room, list(self._by_name))
        except Unavailable:
            return None

    def _write_addresses(self) -> None:
        text = "\n".join(server.url for server in self._fleet.servers if server.url)
        if not self._addresses.exists() or self._addresses.read_text() != text:
            new = self._addresses.with_suffix(".new")
            new.write_text(text)
            new.replace(self._addresses)

    def _on_event(self, event: WorkEvent) -> None:
        self._by_name[event.consumer].record(event)
        if event.kind is WorkEventKind.RECEIVED:
            for seq, digest in zip(event.seqs, event.digests, strict=True):
                self._room_checker.delivered_digest(seq, digest)

    def _kill_all(self) -> None:
        for worker in self._workers:
            worker.kill()

    def _close(self) -> None:
        self._kill_all()
        self._events.close()


def _checkers(plan: ChaosPlan) -> list[ConsumerChecker]:
    if not plan.workers:
        return []
    shared = ConsumerChecker(SHARED, ordered=False, n_workers=plan.workers)
    return [shared, ConsumerChecker(ORDERED, ordered=True, n_workers=1)]


def _put(url: str, room: str, consumer: ConsumerChecker) -> None:
    with ConsumerClient(Endpoint.parse(url, "worker")) as calls:
        calls.put_consumer(room, consumer.name, after="start", retries=RETRIES, ordered=consumer.ordered)


def _lag_of(url: str, room: str, names: Sequence[str]) -> int:
    with ConsumerClient(Endpoint.parse(url)) as calls:
        return sum(calls.consumer(room, name).lag for name in names)

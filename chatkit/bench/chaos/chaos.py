"""Chaos: one run of publishers, followers and workers whose servers are broken, and the check at its end."""

import asyncio
import time
from contextlib import AsyncExitStack
from itertools import cycle

from chatkit.bench.chaos.checker import Findings, RoomChecker
from chatkit.bench.chaos.fleet import Fleet
from chatkit.bench.chaos.follower import Follower
from chatkit.bench.chaos.nemesis import Nemesis, PrintLine
from chatkit.bench.chaos.plan import ChaosPlan
from chatkit.bench.chaos.presence_check import PresenceCheck, check_presence
from chatkit.bench.chaos.publisher import Publisher
from chatkit.bench.chaos.receiver_pool import ReceiverPool
from chatkit.bench.chaos.recovery import RecoveryTracker
from chatkit.bench.chaos.report import ChaosReport
from chatkit.bench.chaos.schedule import schedule_outages
from chatkit.bench.chaos.worker_pool import WorkerPool
from chatkit.bench.load.client_pool import Show, StallDetector
from chatkit.bench.local.store import LocalStore
from chatkit.client import Client
from chatkit.core.model import Gap, Message
from chatkit.errors import ChatkitError

TICK_S = 0.2
FIRST_BODY = "the room is open"  # message 1 of each room; its epoch is where followers start


class Chaos:
    """One run. Call `run` once; after it, `error` is what ended the run early, if anything did."""

    def __init__(
        self, plan: ChaosPlan, fleet: Fleet, store: LocalStore | None, show: Show, print_line: PrintLine
    ) -> None:
        self.error: ChatkitError | None = None
        self.is_interrupted = False
        self._plan = plan
        self._fleet = fleet
        self._show = show
        self._recovery = RecoveryTracker()
        self._checkers = {room: RoomChecker(plan) for room in plan.room_names}
        self._followers = self._make_followers()
        self._publishers = [Publisher(index, plan, fleet, self._acknowledged) for index in range(plan.pubs)]
        self._nemesis = Nemesis(fleet, store, self._recovery, self._followers, print_line)
        self._presence: PresenceCheck | None = None
        self._is_checked = False
        self._began_at = time.monotonic()

    async def run(self) -> ChaosReport:
        """Run until the end. If cancelled, return the report so far. Raise the error that prevents the start."""
        epochs = await self._open_rooms()
        room, checker = next(iter(self._checkers.items()))
        with (
            WorkerPool.open(self._plan, self._fleet, room, checker) as workers,
            ReceiverPool.open(self._plan, self._fleet, room, checker) as receivers,
        ):
            await workers.make_consumers()
            await receivers.start(epochs[room])
            try:
                await self._run_and_check(epochs, workers, receivers)
            except asyncio.CancelledError:
                self.is_interrupted = True
            return self._report(workers, receivers)

    def _make_followers(self) -> list[Follower]:
        rooms = self._plan.room_names
        return [
            Follower(index, room, self._checkers[room], self._fleet, self._recovery)
            for index, room in zip(range(self._plan.subs), cycle(rooms), strict=False)
        ]

    async def _open_rooms(self) -> dict[str, str]:
        epochs = {}
        async with Client(self._fleet.servers[0].url, "opener") as client:
            for room, checker in self._checkers.items():
                receipt = await client.publish(room, FIRST_BODY)
                checker.acknowledged(receipt.message)
                epochs[room] = receipt.message.epoch
        return epochs

    async def _run_and_check(self, epochs: dict[str, str], workers: WorkerPool, receivers: ReceiverPool) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                reading = [group.create_task(each.run(epochs[each.room])) for each in self._followers]
                reading.append(group.create_task(workers.run()))
                await self._run_workload(workers)
                await self._compare(workers, receivers)
                for task in reading:
                    task.cancel()
        except* ChatkitError as errors:
            self.error = _first(errors)

    async def _run_workload(self, workers: WorkerPool) -> None:
        async with asyncio.TaskGroup() as group:
            publishing = [group.create_task(publisher.run()) for publisher in self._publishers]
            showing = group.create_task(self._show_progress())
            breaking = group.create_task(workers.break_workers())
            await self._nemesis.run(schedule_outages(self._plan), self._plan.duration_s)
            breaking.cancel()
            for publisher in self._publishers:
                publisher.end()
            await self._await_acknowledgements(publishing)
            showing.cancel()
        await self._nemesis.restart_crashed()

    async def _await_acknowledgements(self, publishing: "list[asyncio.Task[None]]") -> None:
        """Wait until every message is acknowledged; raise `ChatkitError` if there is no progress."""
        stall = StallDetector()
        while not all(task.done() for task in publishing):
            n_unacked = sum(publisher.n_unacked for publisher in self._publishers)
            if stall.is_stalled(n_unacked):
                raise ChatkitError(f"{n_unacked} messages are not acknowledged, although all servers are back")
            await asyncio.wait(publishing, timeout=TICK_S)

    async def _compare(self, workers: WorkerPool, receivers: ReceiverPool) -> None:
        for follower in self._followers:
            follower.pin()
        self._show("workers catch up", 0, len(workers.consumers))
        await workers.drain()
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(Client(server.url)) for server in self._fleet.servers]
            for room in self._checkers:
                await self._read(clients[0], room)
            await workers.read_dead_letters(clients[0])
            await self._await_catch_up()
            self._show("webhooks catch up", 0, len(receivers.receivers))
            await receivers.drain()
            self._is_checked = True
            self._show("checking presence", 0, len(self._followers))
            self._presence = await check_presence(clients, self._expected_members())

    async def _show_progress(self) -> None:
        while True:
            elapsed_s = min(time.monotonic() - self._began_at, self._plan.duration_s)
            self._show(f"{self._n_acknowledged:,} messages", int(elapsed_s), int(self._plan.duration_s))
            await asyncio.sleep(TICK_S)

    async def _read(self, client: Client, room: str) -> None:
        checker = self._checkers[room]
        async for item in client.scroll(room):
            if isinstance(item, Gap):
                checker.trimmed(item.before)
            else:
                checker.stored(item)
                if item.seq % 1_000 == 0:
                    self._show(f"reading {room}", item.seq, self._n_acknowledged)

    async def _await_catch_up(self) -> None:
        """Wait until every follower has its room's last message, or until there is no progress."""
        stall = StallDetector()
        while behind := [
            each for each in self._followers if each.checker.reader_checker.last < self._checkers[each.room].last
        ]:
            self._show("followers catch up", len(self._followers) - len(behind), len(self._followers))
            if stall.is_stalled(sum(each.checker.reader_checker.last for each in behind)):
                return  # whatever has not arrived by now is missing
            await asyncio.sleep(TICK_S)

    def _expected_members(self) -> dict[str, set[str]]:
        return {room: {each.name for each in self._followers if each.room == room} for room in self._checkers}

    def _acknowledged(self, message: Message) -> None:
        self._checkers[message.room].acknowledged(message)

    @property
    def _n_acknowledged(self) -> int:
        return sum(checker.n_acknowledged for checker in self._checkers.values())

    def _findings(self) -> Findings:
        if not self._is_checked:
            return Findings()
        followers = {room: [each.checker for each in self._followers if each.room == room] for room in self._checkers}
        return sum((checker.findings(followers[room]) for room, checker in self._checkers.items()), Findings())

    def _report(self, workers: WorkerPool, receivers: ReceiverPool) -> ChaosReport:
        plan, presence = self._plan, self._presence or PresenceCheck(0, 0)
        moves = sum(each.connection - 1 for each in self._followers) + sum(each.n_moves for each in self._publishers)
        return ChaosReport(
            servers=plan.servers,
            store=plan.store if plan.backend is None else plan.backend.partition(":")[0],
            rooms=plan.rooms,
            subs=plan.subs,
            pubs=plan.pubs,
            workers=plan.workers,
            rate=plan.rate,
            kill_store=plan.kill_store,
            seed=plan.seed,
            seconds=round(time.monotonic() - self._began_at, 1),
            outages=self._recovery.summaries(),
            acknowledged=self._n_acknowledged,
            stored=sum(checker.n_stored for checker in self._checkers.values()),
            delivered=sum(each.checker.reader_checker.delivered for each in self._followers),
            moves=moves,
            worker_kills=workers.n_kills,
            worker_pauses=workers.n_pauses,
            consumers=workers.findings() if self._is_checked else [],
            receivers=receivers.findings() if self._is_checked else [],
            **_named(self._findings()),
            gaps=sum(each.checker.reader_checker.gaps for each in self._followers),
            ghosts=presence.ghosts,
            absent=presence.absent,
            deaf=self._recovery.n_waiting,
            crashes=self._nemesis.n_crashes + workers.n_crashes + receivers.n_crashes,
            errors=sorted({*self._fleet.errors(), *workers.errors(), *receivers.errors()}),
            complete=self._presence is not None,
        )


def _named(findings: Findings) -> dict[str, int]:
    return {name: getattr(findings, name) for name in Findings.__struct_fields__}


def _first(errors: BaseExceptionGroup[ChatkitError]) -> ChatkitError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error

"""Chaos: publishers and followers on several servers, which are broken meanwhile; and at the end, the comparison."""

import asyncio
import time
from contextlib import AsyncExitStack
from itertools import cycle

from chatkit.bench.chaos.checker import Findings, RoomChecker
from chatkit.bench.chaos.fleet import Fleet
from chatkit.bench.chaos.follower import Follower
from chatkit.bench.chaos.nemesis import Nemesis, Tell
from chatkit.bench.chaos.plan import ChaosPlan
from chatkit.bench.chaos.presence_check import PresenceCheck, census
from chatkit.bench.chaos.publisher import Publisher
from chatkit.bench.chaos.recovery import RecoveryTracker
from chatkit.bench.chaos.report import ChaosReport
from chatkit.bench.chaos.schedule import outages
from chatkit.bench.load.connections import Show, StallDetector
from chatkit.bench.local.store import LocalStore
from chatkit.client import Client
from chatkit.core.model import Gap, Message
from chatkit.errors import ChatkitError

TICK_S = 0.2
OPENING = "the room is open"  # message 1 of each room: from it on, there is an epoch to follow


class Chaos:
    """One run. `run` may be called once; after it, `error` says what ended it early, if something did."""

    def __init__(self, plan: ChaosPlan, fleet: Fleet, store: LocalStore | None, show: Show, tell: Tell) -> None:
        self.error: ChatkitError | None = None
        self.is_interrupted = False
        self._plan = plan
        self._fleet = fleet
        self._show = show
        self._hearing = RecoveryTracker()
        self._records = {room: RoomChecker(plan) for room in plan.room_names}
        self._followers = self._make_followers()
        self._publishers = [Publisher(index, plan, fleet, self._acknowledged) for index in range(plan.pubs)]
        self._breaker = Nemesis(fleet, store, self._hearing, self._followers, tell)
        self._census: PresenceCheck | None = None
        self._is_compared = False
        self._began_at = time.monotonic()

    async def run(self) -> ChaosReport:
        """Do everything. Cancelled, return what there is until then. Raise what kept it from beginning."""
        epochs = await self._open_rooms()
        try:
            await self._break_and_compare(epochs)
        except asyncio.CancelledError:
            self.is_interrupted = True
        return self._report()

    def _make_followers(self) -> list[Follower]:
        rooms = self._plan.room_names
        return [
            Follower(index, room, self._records[room], self._fleet, self._hearing)
            for index, room in zip(range(self._plan.subs), cycle(rooms), strict=False)
        ]

    async def _open_rooms(self) -> dict[str, str]:
        epochs = {}
        async with Client(self._fleet.servers[0].url, "opener") as client:
            for room, record in self._records.items():
                receipt = await client.publish(room, OPENING)
                record.acknowledged(receipt.message)
                epochs[room] = receipt.message.epoch
        return epochs

    async def _break_and_compare(self, epochs: dict[str, str]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                following = [group.create_task(each.run(epochs[each.room])) for each in self._followers]
                await self._break()
                await self._compare()
                for task in following:
                    task.cancel()
        except* ChatkitError as errors:
            self.error = _first(errors)

    async def _break(self) -> None:
        async with asyncio.TaskGroup() as group:
            publishing = [group.create_task(publisher.run()) for publisher in self._publishers]
            showing = group.create_task(self._keep_showing())
            await self._breaker.run(outages(self._plan), self._plan.duration_s)
            for publisher in self._publishers:
                publisher.end()
            await self._hear_of_all(publishing)
            showing.cancel()
        await self._breaker.mend_crashes()

    async def _hear_of_all(self, publishing: "list[asyncio.Task[None]]") -> None:
        """Wait until everything is acknowledged; raise if that does not go on."""
        stall = StallDetector()
        while not all(task.done() for task in publishing):
            n_unacked = sum(publisher.n_unacked for publisher in self._publishers)
            if stall.is_one(n_unacked):
                raise ChatkitError(f"{n_unacked} messages are not acknowledged, though all servers are back")
            await asyncio.wait(publishing, timeout=TICK_S)

    async def _compare(self) -> None:
        for follower in self._followers:
            follower.stay()
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(Client(server.url)) for server in self._fleet.servers]
            for room in self._records:
                await self._read(clients[0], room)
            await self._hear_the_rest()
            self._is_compared = True
            self._show("looking who is there", 0, len(self._followers))
            self._census = await census(clients, self._present())

    async def _keep_showing(self) -> None:
        while True:
            elapsed_s = min(time.monotonic() - self._began_at, self._plan.duration_s)
            self._show(f"{self._n_acknowledged:,} messages", int(elapsed_s), int(self._plan.duration_s))
            await asyncio.sleep(TICK_S)

    async def _read(self, client: Client, room: str) -> None:
        record = self._records[room]
        async for item in client.scroll(room):
            if isinstance(item, Gap):
                record.trimmed(item.before)
            else:
                record.kept(item)
                if item.seq % 1_000 == 0:
                    self._show(f"reading {room}", item.seq, self._n_acknowledged)

    async def _hear_the_rest(self) -> None:
        """Wait until every follower has its room's last message, as long as something still comes."""
        stall = StallDetector()
        while behind := [each for each in self._followers if each.record.account.last < self._records[each.room].last]:
            self._show("followers catch up", len(self._followers) - len(behind), len(self._followers))
            if stall.is_one(sum(each.record.account.last for each in behind)):
                return  # what has not come by now is missing
            await asyncio.sleep(TICK_S)

    def _present(self) -> dict[str, set[str]]:
        return {room: {each.name for each in self._followers if each.room == room} for room in self._records}

    def _acknowledged(self, message: Message) -> None:
        self._records[message.room].acknowledged(message)

    @property
    def _n_acknowledged(self) -> int:
        return sum(record.n_acknowledged for record in self._records.values())

    def _findings(self) -> Findings:
        if not self._is_compared:
            return Findings()
        followers = {room: [each.record for each in self._followers if each.room == room] for room in self._records}
        return sum((record.findings(followers[room]) for room, record in self._records.items()), Findings())

    def _report(self) -> ChaosReport:
        plan, taken = self._plan, self._census or PresenceCheck(0, 0)
        moves = sum(each.connection - 1 for each in self._followers) + sum(each.n_moves for each in self._publishers)
        return ChaosReport(
            servers=plan.servers,
            store=plan.store if plan.backend is None else plan.backend.partition(":")[0],
            rooms=plan.rooms,
            subs=plan.subs,
            pubs=plan.pubs,
            rate=plan.rate,
            kill_store=plan.kill_store,
            seed=plan.seed,
            seconds=round(time.monotonic() - self._began_at, 1),
            outages=self._hearing.lines(),
            acknowledged=self._n_acknowledged,
            stored=sum(record.n_kept for record in self._records.values()),
            delivered=sum(each.record.account.delivered for each in self._followers),
            moves=moves,
            **_named(self._findings()),
            gaps=sum(each.record.account.gaps for each in self._followers),
            ghosts=taken.ghosts,
            absent=taken.absent,
            deaf=self._hearing.n_waiting,
            crashes=self._breaker.n_crashes,
            errors=sorted(set(self._fleet.errors())),
            complete=self._census is not None,
        )


def _named(findings: Findings) -> dict[str, int]:
    return {name: getattr(findings, name) for name in Findings.__struct_fields__}


def _first(errors: BaseExceptionGroup[ChatkitError]) -> ChatkitError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error

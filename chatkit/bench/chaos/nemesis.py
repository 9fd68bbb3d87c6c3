"""Nemesis: breaks servers and stores as scheduled, logs it, and restores them."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from chatkit.bench.chaos.fleet import Fleet
from chatkit.bench.chaos.follower import Follower
from chatkit.bench.chaos.recovery import PendingRecovery, RecoveryTracker
from chatkit.bench.chaos.schedule import Outage, OutageKind
from chatkit.bench.local.server import LocalServer
from chatkit.bench.local.store import LocalStore

RECOVERY_TIMEOUT_S = 20.0  # then the next outage starts; the remaining followers keep waiting
POLL_S = 0.05

PrintLine = Callable[[str], None]
"""Prints a line about what happens."""


class Nemesis:
    """Breaks a fleet and its store, and reports to `recovery` which followers are affected."""

    def __init__(
        self,
        fleet: Fleet,
        store: LocalStore | None,
        recovery: RecoveryTracker,
        followers: Sequence[Follower],
        print_line: PrintLine,
    ) -> None:
        self.n_crashes = 0  # crashes of servers
        self._fleet = fleet
        self._store = store
        self._recovery = recovery
        self._followers = followers
        self._print = print_line
        self._began_at = time.monotonic()

    async def run(self, outages: Iterable[Outage], duration_s: float) -> None:
        """Break, restore, wait until every follower receives messages again, and repeat. At return, everything runs."""
        for outage in outages:
            left_s = self._began_at + duration_s - time.monotonic()
            if left_s <= outage.quiet_s:
                await asyncio.sleep(max(0.0, left_s))
                break
            await asyncio.sleep(outage.quiet_s)
            await self.restart_crashed()
            self._recovery.count(outage.kind)
            await self._carry_out(outage.kind, outage.server, min(outage.for_s, max(1.0, left_s)))
            await self._wait_for_recovery()

    async def restart_crashed(self) -> None:
        """Restart servers that ended by themselves, and count them."""
        crashed = [server for server in self._fleet.servers if server.has_ended]
        for server in crashed:
            self.n_crashes += 1
            self._print_line(f"{self._name(server)} ended by itself: started again")
        if crashed:
            await asyncio.to_thread(self._fleet.start, crashed)

    async def _carry_out(self, kind: OutageKind, index: int, for_s: float) -> None:
        match kind:
            case OutageKind.SERVER_KILLED:
                await self._kill(kind, [self._choose_server(index)], for_s)
            case OutageKind.ALL_KILLED:
                await self._kill(kind, self._fleet.servers, for_s)
            case OutageKind.SERVER_PAUSED:
                await self._pause(self._choose_server(index), for_s)
            case OutageKind.ROLLING_RESTART:
                for server in self._fleet.servers:
                    await self._restart(server)
            case OutageKind.STORE_KILLED | OutageKind.STORE_PAUSED | OutageKind.EVERYTHING_KILLED if (
                self._store is not None
            ):
                await self._break_store(kind, self._store, for_s)
            case _:
                pass  # without a local store, the schedule has no outages of the store

    def _choose_server(self, index: int) -> LocalServer:
        """Return one of the servers that have followers; breaking another one would prove less."""
        followed = sorted({each.server for each in self._followers if each.server is not None}) or [0]
        return self._fleet.servers[followed[index % len(followed)]]

    async def _kill(self, kind: OutageKind, servers: Sequence[LocalServer], for_s: float) -> None:
        pending = self._begin_outage(kind, servers)
        await asyncio.to_thread(self._fleet.kill, servers)
        self._print_line(f"{kind}: {self._names(servers)}")
        await asyncio.sleep(for_s)
        await self._start_all(servers, pending)

    async def _pause(self, server: LocalServer, for_s: float) -> None:
        pending = self._begin_outage(OutageKind.SERVER_PAUSED, [server])
        server.pause()
        self._print_line(f"{OutageKind.SERVER_PAUSED} for {for_s:.1f} s: {self._name(server)}")
        await asyncio.sleep(for_s)
        server.resume()
        self._end_outage(pending, f"{self._name(server)} continues")

    async def _restart(self, server: LocalServer) -> None:
        pending = self._begin_outage(OutageKind.ROLLING_RESTART, [server])
        self._print_line(f"{OutageKind.ROLLING_RESTART}: {self._name(server)}")
        await asyncio.to_thread(server.stop)
        await self._start(server, pending)

    async def _start_all(self, servers: Sequence[LocalServer], pending: PendingRecovery) -> None:
        async with asyncio.TaskGroup() as group:
            for server in servers:
                group.create_task(self._start(server, pending))

    async def _start(self, server: LocalServer, pending: PendingRecovery) -> None:
        await asyncio.to_thread(server.start)
        self._end_outage(pending, f"{self._name(server)} started again")

    async def _break_store(self, kind: OutageKind, store: LocalStore, for_s: float) -> None:
        pending = self._begin_outage(kind, self._fleet.servers)
        if kind is OutageKind.EVERYTHING_KILLED:
            await asyncio.to_thread(self._fleet.kill, self._fleet.servers)
        await asyncio.to_thread(store.pause if kind is OutageKind.STORE_PAUSED else store.kill)
        self._print_line(f"{kind} for {for_s:.1f} s")
        await asyncio.sleep(for_s)
        await asyncio.to_thread(store.resume if kind is OutageKind.STORE_PAUSED else store.start)
        if kind is OutageKind.EVERYTHING_KILLED:
            self._print_line("the store is back")
            await self._start_all(self._fleet.servers, pending)
        else:
            self._end_outage(pending, "the store is back")

    def _begin_outage(self, kind: OutageKind, servers: Sequence[LocalServer]) -> PendingRecovery:
        indices = {index for index, server in enumerate(self._fleet.servers) if server in servers}
        hit = {each.index: each.connection for each in self._followers if each.server in indices}
        can_go_elsewhere = len(indices) < len(self._fleet.servers)
        return self._recovery.begin(kind, hit, self._now() if can_go_elsewhere else None)

    def _end_outage(self, pending: PendingRecovery, line: str) -> None:
        pending.end(self._now())
        self._print_line(line)

    async def _wait_for_recovery(self) -> None:
        deadline = self._now() + RECOVERY_TIMEOUT_S
        while self._recovery.n_waiting and self._now() < deadline:  # noqa: ASYNC110 - the tracker does not use asyncio
            await asyncio.sleep(POLL_S)
        if self._recovery.n_waiting:
            self._print_line(f"{self._recovery.n_waiting} followers still receive nothing")

    def _print_line(self, line: str) -> None:
        self._print(f"{time.monotonic() - self._began_at:7.1f} s  {line}")

    def _names(self, servers: Sequence[LocalServer]) -> str:
        return ", ".join(map(self._name, servers))

    def _name(self, server: LocalServer) -> str:
        return f"server {self._fleet.servers.index(server) + 1}"

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

"""Breaker: breaks servers and stores as the schedule says, tells so, and mends them."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from chatkit.bench.chaos.fleet import Fleet
from chatkit.bench.chaos.follower import Follower
from chatkit.bench.chaos.recovery import PendingRecovery, RecoveryTracker
from chatkit.bench.chaos.schedule import Outage, OutageKind
from chatkit.bench.local.server import LocalServer
from chatkit.bench.local.store import LocalStore

HEARD_WITHIN_S = 20.0  # then the next outage comes, and who is deaf goes on waiting
POLL_S = 0.05

Tell = Callable[[str], None]
"""Hears a line of what happens."""


class Nemesis:
    """What it breaks is a fleet on a store; it tells `hearing` whom it strikes."""

    def __init__(
        self,
        fleet: Fleet,
        store: LocalStore | None,
        hearing: RecoveryTracker,
        followers: Sequence[Follower],
        tell: Tell,
    ) -> None:
        self.n_crashes = 0  # servers that ended by themselves
        self._fleet = fleet
        self._store = store
        self._hearing = hearing
        self._followers = followers
        self._tell_line = tell
        self._began_at = time.monotonic()

    async def run(self, outages: Iterable[Outage], duration_s: float) -> None:
        """Break, mend, wait until everyone hears again; and so on. When it returns, all is mended."""
        for outage in outages:
            left_s = self._began_at + duration_s - time.monotonic()
            if left_s <= outage.quiet_s:
                await asyncio.sleep(max(0.0, left_s))
                break
            await asyncio.sleep(outage.quiet_s)
            await self.mend_crashes()
            self._hearing.count(outage.kind)
            await self._carry_out(outage.kind, outage.server, min(outage.for_s, max(1.0, left_s)))
            await self._wait_until_heard()

    async def mend_crashes(self) -> None:
        """Start servers again that ended by themselves, and count them."""
        crashed = [server for server in self._fleet.servers if server.has_ended]
        for server in crashed:
            self.n_crashes += 1
            self._tell(f"{self._name(server)} ended by itself: started again")
        if crashed:
            await asyncio.to_thread(self._fleet.start, crashed)

    async def _carry_out(self, kind: OutageKind, index: int, for_s: float) -> None:
        match kind:
            case OutageKind.SERVER_KILLED:
                await self._kill(kind, [self._chosen(index)], for_s)
            case OutageKind.ALL_KILLED:
                await self._kill(kind, self._fleet.servers, for_s)
            case OutageKind.SERVER_PAUSED:
                await self._pause(self._chosen(index), for_s)
            case OutageKind.ROLLING_RESTART:
                for server in self._fleet.servers:
                    await self._restart(server)
            case OutageKind.STORE_KILLED | OutageKind.STORE_PAUSED | OutageKind.EVERYTHING_KILLED if (
                self._store is not None
            ):
                await self._strike_store(kind, self._store, for_s)
            case _:
                pass  # no store of our own: the schedule has none of these then

    def _chosen(self, index: int) -> LocalServer:
        """Return one of the servers that have followers: to strike another would prove less."""
        worthy = sorted({each.server for each in self._followers if each.server is not None}) or [0]
        return self._fleet.servers[worthy[index % len(worthy)]]

    async def _kill(self, kind: OutageKind, servers: Sequence[LocalServer], for_s: float) -> None:
        silence = self._struck(kind, servers)
        await asyncio.to_thread(self._fleet.kill, servers)
        self._tell(f"{kind}: {self._names(servers)}")
        await asyncio.sleep(for_s)
        await self._start_all(servers, silence)

    async def _pause(self, server: LocalServer, for_s: float) -> None:
        silence = self._struck(OutageKind.SERVER_PAUSED, [server])
        server.pause()
        self._tell(f"{OutageKind.SERVER_PAUSED} for {for_s:.1f} s: {self._name(server)}")
        await asyncio.sleep(for_s)
        server.resume()
        self._over(silence, f"{self._name(server)} goes on")

    async def _restart(self, server: LocalServer) -> None:
        silence = self._struck(OutageKind.ROLLING_RESTART, [server])
        self._tell(f"{OutageKind.ROLLING_RESTART}: {self._name(server)}")
        await asyncio.to_thread(server.stop)
        await self._start(server, silence)

    async def _start_all(self, servers: Sequence[LocalServer], silence: PendingRecovery) -> None:
        async with asyncio.TaskGroup() as group:
            for server in servers:
                group.create_task(self._start(server, silence))

    async def _start(self, server: LocalServer, silence: PendingRecovery) -> None:
        await asyncio.to_thread(server.start)
        self._over(silence, f"{self._name(server)} started again")

    async def _strike_store(self, kind: OutageKind, store: LocalStore, for_s: float) -> None:
        silence = self._struck(kind, self._fleet.servers)
        if kind is OutageKind.EVERYTHING_KILLED:
            await asyncio.to_thread(self._fleet.kill, self._fleet.servers)
        await asyncio.to_thread(store.pause if kind is OutageKind.STORE_PAUSED else store.kill)
        self._tell(f"{kind} for {for_s:.1f} s")
        await asyncio.sleep(for_s)
        await asyncio.to_thread(store.resume if kind is OutageKind.STORE_PAUSED else store.start)
        if kind is OutageKind.EVERYTHING_KILLED:
            self._tell("the store is back")
            await self._start_all(self._fleet.servers, silence)
        else:
            self._over(silence, "the store is back")

    def _struck(self, kind: OutageKind, servers: Sequence[LocalServer]) -> PendingRecovery:
        indices = {index for index, server in enumerate(self._fleet.servers) if server in servers}
        hit = {each.index: each.connection for each in self._followers if each.server in indices}
        can_go_elsewhere = len(indices) < len(self._fleet.servers)
        return self._hearing.struck(kind, hit, self._now() if can_go_elsewhere else None)

    def _over(self, silence: PendingRecovery, line: str) -> None:
        silence.over(self._now())
        self._tell(line)

    async def _wait_until_heard(self) -> None:
        deadline = self._now() + HEARD_WITHIN_S
        while self._hearing.n_waiting and self._now() < deadline:  # noqa: ASYNC110 - hearing has no event loop
            await asyncio.sleep(POLL_S)
        if self._hearing.n_waiting:
            self._tell(f"{self._hearing.n_waiting} followers still hear nothing")

    def _tell(self, line: str) -> None:
        self._tell_line(f"{time.monotonic() - self._began_at:7.1f} s  {line}")

    def _names(self, servers: Sequence[LocalServer]) -> str:
        return ", ".join(map(self._name, servers))

    def _name(self, server: LocalServer) -> str:
        return f"server {self._fleet.servers.index(server) + 1}"

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

"""Campfire: runs the loads one after another against one server, and audits each.

Closed loops: each client posts after the answer to its previous post, so the server sets the pace.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

from chatkit.bench.campfire.audit import audit, read_history
from chatkit.bench.campfire.measurement import Measurement
from chatkit.bench.campfire.plan import POST_CLIENTS, RESTART_POSTERS, ROOM_POSTERS, CampfirePlan
from chatkit.bench.campfire.poster import Posters
from chatkit.bench.campfire.readers import RoomReaders
from chatkit.bench.campfire.report import CampfireReport, CampfireResult, LoadName
from chatkit.bench.load.client_pool import Show
from chatkit.bench.load.websocket_client import ServerAddress
from chatkit.client.endpoint import Endpoint
from chatkit.errors import ChatkitError, Unavailable

RETURN_WITHIN_S = 60.0  # from the beginning of a restart; far beyond the longest wait between two attempts

Restart = Callable[[], Awaitable[None]]
"""Stops the server and starts it again at the same address; returns when it accepts connections."""


class Campfire:
    """The loads on one server. Call `run` once; after it, `error` is what ended the run early, if anything did.

    The restart is left out if there is no function that restarts the server.
    """

    def __init__(self, plan: CampfirePlan, endpoint: Endpoint, show: Show, restart: Restart | None = None) -> None:
        self.error: ChatkitError | None = None
        self.is_interrupted = False
        self._plan = plan
        self._endpoint = endpoint
        self._address = ServerAddress.of(endpoint)
        self._show = show
        self._restart = restart
        self._results: list[CampfireResult] = []

    async def run(self) -> CampfireReport:
        """Run all loads. If cancelled, return the results so far. Raise the error that prevents the first one."""
        gc.collect()
        gc.freeze()  # garbage collections during the measurement need not walk what exists already
        try:
            await self._run_all()
        except asyncio.CancelledError:
            self.is_interrupted = True
        except ChatkitError as error:
            if not self._results:
                raise
            self.error = error
        finally:
            gc.unfreeze()
        is_complete = self.error is None and not self.is_interrupted
        return CampfireReport(
            server=self._endpoint.url, size=self._plan.size, results=self._results, complete=is_complete
        )

    async def _run_all(self) -> None:
        await self._run_load("posts", POST_CLIENTS, 0)
        for n_posters in ROOM_POSTERS:
            await self._run_load("room", n_posters, self._plan.subs)
        if self._restart is not None:
            await self._run_load("restart", RESTART_POSTERS, self._plan.subs, self._restart)

    async def _run_load(self, load: LoadName, n_posters: int, n_readers: int, restart: Restart | None = None) -> None:
        room, down_s = self._plan.room(f"{load}-{n_posters}"), None
        readers = RoomReaders(n_readers, room, self._address)
        posters = Posters(n_posters, room, self._address, size=self._plan.size, is_patient=restart is not None)
        async with readers.connected(self._show), posters.posting():
            await self._post_for(self._plan.warm_up_s, posters, "warming up")
            measurement = Measurement(load, posters, readers)
            if restart is None:
                await self._post_for(self._plan.seconds, posters, f"posting with {n_posters} clients")
            else:
                down_s = await self._post_over(restart, posters, readers)
            await posters.stop()
            measurement.end_posting()
            await readers.wait_for(posters.last, self._show)
            measurement.end()
        self._show("auditing", 0, len(posters.acknowledged))
        faults = audit(posters.acknowledged, await read_history(self._endpoint, room))
        self._results.append(measurement.result(faults, down_s))

    async def _post_for(self, seconds: float, posters: Posters, what: str) -> None:
        began_at = time.perf_counter()

        def is_over() -> bool:
            elapsed_s = time.perf_counter() - began_at
            self._show(what, round(elapsed_s), round(seconds))
            return elapsed_s >= seconds

        await posters.wait(is_over)

    async def _post_over(self, restart: Restart, posters: Posters, readers: RoomReaders) -> float:
        """Restart the server, wait until all readers are back, and return for how many seconds it was down."""
        down = asyncio.ensure_future(_timed(restart))
        deadline = time.perf_counter() + RETURN_WITHIN_S

        def is_over() -> bool:
            self._show("returning", readers.n_returned, len(readers))
            if time.perf_counter() > deadline:
                n_away = len(readers) - readers.n_returned
                raise Unavailable(f"{n_away} readers had not returned {RETURN_WITHIN_S:.0f} s after the restart began")
            return down.done() and (down.exception() is not None or readers.n_returned == len(readers))

        try:
            await posters.wait(is_over)
            return await down
        finally:
            down.cancel()


async def _timed(restart: Restart) -> float:
    """Restart the server and return how many seconds that took."""
    began_at = time.perf_counter()
    await restart()
    return time.perf_counter() - began_at

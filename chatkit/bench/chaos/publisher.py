"""Publisher: publishes at a steady rate through any running server, and repeats unacknowledged messages."""

import asyncio
import itertools
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from chatkit.bench.chaos.fleet import Fleet
from chatkit.bench.chaos.follower import CONNECT_WITHIN_S, PAUSE_S, PING_S
from chatkit.bench.chaos.plan import ChaosPlan
from chatkit.client import Client
from chatkit.client.signals import ConnectionLost, ConnectionRestored
from chatkit.core.model import Message, Receipt
from chatkit.errors import RateLimited, Unavailable

MAX_UNACKED = 256  # messages; no message is added beyond this

Acknowledged = Callable[[Message], None]


class Publisher:
    """Publisher number `index` of the plan. At a new server, it repeats unacknowledged messages with the same keys."""

    def __init__(self, index: int, plan: ChaosPlan, fleet: Fleet, acknowledged: Acknowledged) -> None:
        self.n_moves = 0
        self._name = f"publisher-{index}"
        self._plan = plan
        self._fleet = fleet
        self._acknowledged = acknowledged
        self._fresh = itertools.count(index, plan.pubs)
        self._unacked: deque[int] = deque()  # in order; messages acknowledged out of order are in `_acked`
        self._acked: set[int] = set()
        self._interval_s = plan.pubs / plan.rate
        self._server: int | None = None
        self._stop_requested = asyncio.Event()  # wakes `_keep_publishing`

    @property
    def n_unacked(self) -> int:
        """The number of unacknowledged messages."""
        return len(self._unacked)

    def end(self) -> None:
        """Add no more messages; `run` returns once all messages are acknowledged."""
        self._stop_requested.set()

    async def run(self) -> None:
        """Publish until `end` is called and every message is acknowledged."""
        while self._unacked or not self._stop_requested.is_set():
            with suppress(Unavailable, RateLimited, TimeoutError):
                await self._run_connection()
            await asyncio.sleep(random.uniform(*PAUSE_S))  # noqa: S311 - spreads load

    async def _run_connection(self) -> None:
        index = self._fleet.choose_server(self._server)
        if index is not None:
            self.n_moves += self._server is not None
            self._server = index
            await self._publish(self._fleet.servers[index].url)

    async def _publish(self, url: str) -> None:
        """Publish over one connection until it fails or everything is done."""
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # After a lost connection, the client would send later messages over a new one, before those in flight.
        watcher = partial(_fail, failed)
        async with Client(url, self._name, give_up_after_s=0, ping_s=PING_S, watcher=watcher) as client:
            for number in [number for number in self._unacked if number not in self._acked]:
                async with asyncio.timeout(CONNECT_WITHIN_S):
                    await self._submit(client, number, failed)
            ended = asyncio.create_task(self._stop_requested.wait())
            try:
                await self._keep_publishing(client, failed, ended)
            finally:
                ended.cancel()

    async def _keep_publishing(
        self, client: Client, failed: "asyncio.Future[None]", ended: "asyncio.Task[bool]"
    ) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        wake_ups: list[asyncio.Future[Any]] = [failed, ended]
        while not ended.done():
            await asyncio.wait(wake_ups, timeout=due - loop.time(), return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                failed.result()
            due = max(due + self._interval_s, loop.time() - self._interval_s)  # do not catch up after a delay
            if len(self._unacked) < MAX_UNACKED and not ended.done():
                number = next(self._fresh)
                self._unacked.append(number)
                async with asyncio.timeout(CONNECT_WITHIN_S):
                    await self._submit(client, number, failed)
        while self._unacked:
            await asyncio.wait([failed], timeout=self._interval_s)
            if failed.done():
                failed.result()

    async def _submit(self, client: Client, number: int, failed: "asyncio.Future[None]") -> None:
        plan = self._plan
        answer = await client.submit(
            plan.room_of(number), plan.body(number), data=plan.data(number), key=plan.key(number)
        )
        answer.add_done_callback(partial(self._answered, number, failed))

    def _answered(self, number: int, failed: "asyncio.Future[None]", answer: "asyncio.Future[Receipt]") -> None:
        if answer.cancelled():
            return
        error = answer.exception()
        if error is not None:
            _fail(failed, error)
            return
        if number in self._acked or not self._unacked or number < self._unacked[0]:
            return  # acknowledged over an earlier connection
        self._acked.add(number)
        self._acknowledged(answer.result().message)
        while self._unacked and self._unacked[0] in self._acked:
            self._acked.remove(self._unacked.popleft())


def _fail(failed: "asyncio.Future[None]", why: BaseException | ConnectionLost | ConnectionRestored) -> None:
    if not failed.done():
        failed.set_exception(why if isinstance(why, BaseException) else Unavailable("the connection was lost"))
        failed.exception()  # mark it as retrieved: it may not be awaited any more

"""Follower: reads one room through any running server, and resumes at another one by its cursor."""

import asyncio
import random
from contextlib import aclosing, suppress

from chatkit.bench.chaos.checker import FollowerChecker, RoomChecker
from chatkit.bench.chaos.fleet import Fleet
from chatkit.bench.chaos.recovery import RecoveryTracker
from chatkit.client import Client
from chatkit.client.signals import Joined
from chatkit.core.model import Cursor, Gap, Message
from chatkit.errors import RateLimited, Unavailable

CONNECT_WITHIN_S = 2.0  # a paused server accepts connections and does not answer: then try the next one
PING_S = 1.0  # to notice a paused server on an open connection
PAUSE_S = (0.05, 0.15)  # before the next attempt, so that a fleet that is down is not polled without pause
STAY_S = (5.0, 20.0)  # then it moves to another server, so that cursors are used across servers without outages, too


class Follower:
    """Follower number `index`, in the room of `checker`. Every connection uses a different name.

    This way, a member that stays listed after its server was killed is not mistaken for the one that reconnected.
    """

    def __init__(self, index: int, room: str, checker: RoomChecker, fleet: Fleet, recovery: RecoveryTracker) -> None:
        self.checker = FollowerChecker(checker)
        self.room = room
        self.index = index
        self.server: int | None = None  # index of the server it uses or tries
        self.connection = 0  # counted from 1
        self.is_pinned = False
        self._cursor = Cursor("", 0)
        self._fleet = fleet
        self._recovery = recovery
        self._timeout: asyncio.Timeout | None = None  # of the open connection

    @property
    def name(self) -> str:
        """The follower's current name in the room."""
        return f"follower-{self.index}.{self.connection}"

    async def run(self, epoch: str) -> None:
        """Follow from the room's first message on, until cancelled."""
        self._cursor = Cursor(epoch, 0)
        while True:
            with suppress(Unavailable, RateLimited, TimeoutError):
                await self._run_connection()
            await asyncio.sleep(random.uniform(*PAUSE_S))  # noqa: S311 - spreads load

    def pin(self) -> None:
        """Stay at the current server from now on."""
        self.is_pinned = True
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(None)

    async def _run_connection(self) -> None:
        index = self._fleet.choose_server(self.server)
        if index is not None:
            self.server = index
            self.connection += 1
            await self._follow(self._fleet.servers[index].url)

    async def _follow(self, url: str) -> None:
        async with (
            Client(url, self.name, give_up_after_s=0, ping_s=PING_S) as client,
            asyncio.timeout(CONNECT_WITHIN_S) as timeout,
            aclosing(client.follow(self.room, after=self._cursor, signals=True)) as items,
        ):
            try:
                async for item in items:
                    match item:
                        case Message():
                            self._on_message(item)
                        case Gap():
                            self._cursor = Cursor(self._cursor.epoch, item.before - 1)
                            self.checker.on_gap(item)
                        case Joined():
                            self._joined(timeout)
                        case _:
                            pass  # presence is checked at the end of the run
            finally:
                self._timeout = None

    def _joined(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout
        if timeout.expired():
            return
        stay_s = random.uniform(*STAY_S)  # noqa: S311 - spreads load
        timeout.reschedule(None if self.is_pinned else asyncio.get_running_loop().time() + stay_s)

    def _on_message(self, message: Message) -> None:
        self._cursor = message.cursor
        self.checker.on_message(message)
        self._recovery.delivered(self.index, self.connection, asyncio.get_running_loop().time())

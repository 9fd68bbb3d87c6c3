"""Follower: reads one room through whichever server there is, and goes on at another by its cursor."""

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

CONNECT_WITHIN_S = 2.0  # a server that is paused takes connections and says nothing: then the next one is tried
PING_S = 1.0  # likewise for one that stood before
PAUSE_S = (0.05, 0.15)  # before the next server, so that a fleet that is away is not asked without pause
WANDER_S = (5.0, 20.0)  # it goes to another server by itself after so long: cursors cross servers in quiet times, too


class Follower:
    """Number `index`, in the room of `record`. Every connection of its has a name of its own.

    So a member who stands although its server was killed is seen, and not taken for the one who came back.
    """

    def __init__(self, index: int, room: str, record: RoomChecker, fleet: Fleet, hearing: RecoveryTracker) -> None:
        self.record = FollowerChecker(record)
        self.room = room
        self.index = index
        self.server: int | None = None  # where it is, or tries to be
        self.connection = 0  # counted from 1
        self.is_here_to_stay = False
        self._cursor = Cursor("", 0)
        self._fleet = fleet
        self._hearing = hearing
        self._patience: asyncio.Timeout | None = None  # of the connection that stands

    @property
    def name(self) -> str:
        """Its name in the room, now."""
        return f"follower-{self.index}.{self.connection}"

    async def run(self, epoch: str) -> None:
        """Follow from the room's first message on, until cancelled."""
        self._cursor = Cursor(epoch, 0)
        while True:
            with suppress(Unavailable, RateLimited, TimeoutError):
                await self._go_on()
            await asyncio.sleep(random.uniform(*PAUSE_S))  # noqa: S311 - spreads load

    def stay(self) -> None:
        """Wander no more."""
        self.is_here_to_stay = True
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(None)

    async def _go_on(self) -> None:
        index = self._fleet.another(self.server)
        if index is not None:
            self.server = index
            self.connection += 1
            await self._follow(self._fleet.servers[index].url)

    async def _follow(self, url: str) -> None:
        async with (
            Client(url, self.name, give_up_after_s=0, ping_s=PING_S) as client,
            asyncio.timeout(CONNECT_WITHIN_S) as patience,
            aclosing(client.follow(self.room, after=self._cursor, signals=True)) as items,
        ):
            try:
                async for item in items:
                    match item:
                        case Message():
                            self._take(item)
                        case Gap():
                            self._cursor = Cursor(self._cursor.epoch, item.before - 1)
                            self.record.told(item)
                        case Joined():
                            self._joined(patience)
                        case _:
                            pass  # who comes and goes is looked at when all is quiet
            finally:
                self._patience = None

    def _joined(self, patience: asyncio.Timeout) -> None:
        self._patience = patience
        if patience.expired():
            return
        stay_s = random.uniform(*WANDER_S)  # noqa: S311 - spreads load
        patience.reschedule(None if self.is_here_to_stay else asyncio.get_running_loop().time() + stay_s)

    def _take(self, message: Message) -> None:
        self._cursor = message.cursor
        self.record.took(message)
        self._hearing.heard(self.index, self.connection, asyncio.get_running_loop().time())

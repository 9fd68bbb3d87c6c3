"""The part that all kinds of talking clients share: they act, go away and come back, and stop together."""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import ClassVar, Final, NamedTuple

from chatkit.core.model import Message
from chatkit.errors import BadReference, BadRequest, Forbidden, NotFound, Unavailable
from talkers.known import Action, Known

ROOM: Final = "talk"
END: Final = "the end"  # the text of the last message
SETTLE_S: Final = 240.0  # for the last entries to be delivered, with many processes on few cores
AWAY_S: Final = 0.5  # at most, between going away and coming back
REFUSALS: Final = (BadReference, BadRequest, Forbidden, NotFound)


class Pace(NamedTuple):
    """How fast the clients act, in seconds on average: between two actions, and between two returns."""

    pause_s: float = 0.02
    stay_s: float = 1.75


class Place(NamedTuple):
    """Where a client talks: a server, and a folder of its own for its files."""

    url: str
    folder: Path


class Outcome(NamedTuple):
    """What the store has at the end: the entries of the log, and the messages as they are shown."""

    raw: Sequence[Message]
    shown: Sequence[Message]


class Ending:
    """When all clients have stored what they sent, the last message is published, and each waits until it has it."""

    def __init__(self, n_talkers: int) -> None:
        self._barrier = asyncio.Barrier(n_talkers + 1)
        self._last: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def all_stored(self) -> None:
        """Wait until all clients have stored what they sent."""
        await self._barrier.wait()

    def publish(self, last: int) -> None:
        """Let the clients know the number of the last message."""
        self._last.set_result(last)

    async def last(self) -> int:
        """Wait until the last message is published, and return its number."""
        await self._barrier.wait()
        return await self._last


class Talker(ABC):
    """One client, which acts at random and keeps what it sees."""

    kind: ClassVar[str]
    min_actions: ClassVar[int] = 0  # also if the time is over before: a machine may be slow

    def __init__(self, name: str, place: Place, known: Known, pace: Pace, seed: int) -> None:
        self.name = name
        self.n_actions = self.n_refused = self.n_unavailable = self.n_returns = 0
        self._place = place
        self._known = known
        self._pace = pace
        self._chance = random.Random(seed)
        self._stack = AsyncExitStack()  # what to close at the end

    async def run(self, until_s: float, ending: Ending) -> None:
        """Act until a time of the monotonic clock, and then wait until everything has been delivered."""
        async with self._stack, asyncio.TaskGroup() as tasks:
            await self._start(tasks)
            while time.monotonic() < until_s or self.n_actions < self.min_actions:
                await self._attempt(self._known.choose(self.name, self._chance))
                await asyncio.sleep(self._pace.pause_s * self._chance.random() * 2)
                if self._chance.random() < self._pace.pause_s / self._pace.stay_s:
                    await self._go_and_return(tasks)
                    self.n_returns += 1
            await self._finish()
            last = await ending.last()
            async with asyncio.timeout(SETTLE_S):
                await self._settle(last)
            await self._stop()

    async def _attempt(self, action: Action) -> None:
        self.n_actions += 1
        try:
            await self._act(action)
        except REFUSALS:
            self.n_refused += 1
        except Unavailable:  # while the server is being started again
            self.n_unavailable += 1

    async def _sleep_away(self) -> None:
        await asyncio.sleep(AWAY_S * self._chance.random())

    @abstractmethod
    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to follow the room. A failure of a task ends the run."""

    @abstractmethod
    async def _act(self, action: Action) -> None:
        """Do something. Raise one of `REFUSALS`, or `Unavailable`."""

    @abstractmethod
    async def _go_and_return(self, tasks: asyncio.TaskGroup) -> None:
        """Go away, and come back after a while."""

    async def _finish(self) -> None:  # noqa: B027 - nothing to do where each action waits for that
        """Wait until everything that was sent is stored."""

    @abstractmethod
    async def _settle(self, last: int) -> None:
        """Wait until this client has the last message, and keep what it shows."""

    async def _stop(self) -> None:  # noqa: B027 - nothing to do without tasks
        """Stop the tasks."""

    @abstractmethod
    def check(self, outcome: Outcome) -> None:
        """Raise `AssertionError` if this client shows anything but what the store has."""

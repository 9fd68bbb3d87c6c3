"""Newsroom: the rooms that this process watches, how far it has seen each, and how their channels are kept heard.

The stream is the truth. When a link was broken, and now and then when none was, every watched room is asked how far it
is, many in one round trip. Knows nothing of what messages are read for.
"""

# A link that breaks takes all of them down with it: then the map of a cluster is learnt anew, and every room asked.

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from chatkit.backends.notifications import NotificationQueue
from chatkit.backends.redis.codec import KeyNames, RoomPosition, decode_news
from chatkit.backends.redis.echo import OwnPublishes
from chatkit.backends.redis.pubsub import PubSub, RoomMoved
from chatkit.backends.redis.router import Router
from chatkit.backoff import Backoff
from chatkit.core.backend import Disconnected, MessageRedacted, Reconnected, RoomAdvanced
from chatkit.errors import ChatkitError, Unavailable

T = TypeVar("T")
_logger = logging.getLogger(__name__)

CHECK_S = 30.0  # how often rooms are asked although the links are whole: a store that was flushed says nothing of it
CHECKED_EACH_S = 500  # of many rooms, so many a second on average: on a cluster each is a call of its own
STEP = 1_000  # rooms subscribed to and asked for in one round trip: some milliseconds of the server's
RETRY_MIN_S, RETRY_MAX_S = 0.05, 0.5  # everything is to be read on within 2 s of the store's return


class _Watched:
    """A watched room: how far it has been seen. `ready` is done when its channel is heard."""

    __slots__ = ("known", "ready", "room")

    def __init__(self, room: str, ready: asyncio.Future[None]) -> None:
        self.room = room
        self.ready = ready
        self.known = RoomPosition()
        ready.add_done_callback(_look)


class RedisListener:
    """Watches rooms, and mends what breaks. Open it, and have `run` run until it is closed."""

    def __init__(self, nodes: Router, names: KeyNames, echoes: OwnPublishes, inbox: NotificationQueue) -> None:
        self._nodes = nodes
        self._echoes = echoes
        self._inbox = inbox
        self.channels = PubSub(nodes, names, self._heard, self._break)
        self._rooms: dict[str, _Watched] = {}
        self._joining: list[_Watched] = []
        self._leaving: list[str] = []
        self._is_flush_due = False
        self._joins: set[asyncio.Task[None]] = set()
        self._doubtful: dict[str, None] = {}  # rooms in which nobody knows what came of an append
        self._disturbed = asyncio.Event()  # set when links are to be made anew, or rooms to be asked for
        self._fault: ChatkitError | None = Unavailable("the link to Redis is not yet open")
        self._n_breaks = 0

    # Opening, mending, closing

    async def open(self) -> None:
        """Connect. Raise `Unavailable` or `StoreError`."""
        await self.channels.open()
        self._fault = None

    async def run(self) -> None:
        """Mend the links whenever they break, and check the rooms now and then; until cancelled."""
        while True:
            rest_s = max(CHECK_S, len(self._rooms) / CHECKED_EACH_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(0.5, 1) * rest_s):  # noqa: S311 - jitter, not a secret
                    await self._disturbed.wait()
            if self._fault is not None:
                await self._mend()
                continue
            self._disturbed.clear()
            rooms, self._doubtful = self._doubtful or dict.fromkeys(self._rooms), {}
            try:
                await self._check([watched for room in rooms if (watched := self._rooms.get(room)) is not None])
            except ChatkitError as error:
                self._break(error)

    async def close(self) -> None:
        """Close every link; whoever waits to watch a room gets `Unavailable`."""
        self._fault = self._fault or Unavailable("the backend was left")
        for join in self._joins:
            join.cancel()
        await asyncio.gather(*self._joins, return_exceptions=True)
        self._refuse(self._joining, self._fault)
        await self.channels.close()

    def _break(self, fault: ChatkitError) -> None:
        if self._fault is None:
            self._inbox.put([Disconnected(str(fault))])
        self._fault = fault
        self._n_breaks += 1
        self._nodes.mistrust()
        self._disturbed.set()

    async def _mend(self) -> None:
        backoff = Backoff(RETRY_MIN_S, RETRY_MAX_S)
        while not await self._is_mended():  # noqa: ASYNC110 - no event reports that the store is back
            await asyncio.sleep(backoff.next_s())
        self._fault = None
        self._inbox.put([Reconnected()])

    async def _is_mended(self) -> bool:
        """Connect, subscribe and check anew; say whether that went well, and nothing broke meanwhile."""
        self._disturbed.clear()
        self._doubtful.clear()
        n_breaks = self._n_breaks
        try:
            await self.channels.close()
            await self.channels.open()
            rooms = list(self._rooms.values())
            for step in _steps(rooms):
                await self.channels.subscribe([watched.room for watched in step if self._is_wanted(watched)])
            await self._check(rooms)
        except ChatkitError as error:
            self._break(error)
        return n_breaks == self._n_breaks  # a doubt that came meanwhile has its turn next

    async def _check(self, rooms: Sequence[_Watched]) -> None:
        """Ask how far rooms are, and tell of those that are not where they were seen."""
        for step in _steps(rooms):
            before = {watched.room: watched.known for watched in step}
            for room, error in (await self._learn(step)).items():
                _logger.warning("room %s cannot be asked for: %s", room, error)
            for watched in step:
                await self._tell(watched, before[watched.room])

    async def _tell(self, watched: _Watched, before: RoomPosition) -> None:
        """Tell what was not heard of a room."""
        room, now = watched.room, watched.known
        if not self._is_wanted(watched):
            return
        if (now.epoch, now.last) != (before.epoch, before.last):
            self._inbox.put([RoomAdvanced(room, now.last, epoch=now.epoch)])
        if now.redacted > before.redacted:  # which, is not known any more: all of them are told
            self._inbox.put([MessageRedacted(room, seq) for seq in await self.channels.redacted(room)])

    async def _learn(self, rooms: Sequence[_Watched]) -> dict[str, ChatkitError]:
        """Ask how far rooms are; return those that alone could not be asked for."""
        failed: dict[str, ChatkitError] = {}
        found = await self.channels.heads([(watched.room, watched.known) for watched in rooms])
        for watched in rooms:
            head = found[watched.room]
            if isinstance(head, RoomPosition):
                watched.known = watched.known.merged(head)
            else:
                failed[watched.room] = head
        return failed

    # Watching

    def known(self, room: str) -> RoomPosition:
        """Return how far a watched room has been seen."""
        watched = self._rooms.get(room)
        return RoomPosition() if watched is None else watched.known

    def saw(self, room: str, known: RoomPosition) -> None:
        """Hear how far a room is."""
        watched = self._rooms.get(room)
        if watched is not None:
            watched.known = watched.known.merged(known)

    def doubt(self, rooms: Iterable[str]) -> None:
        """Ask soon how far these rooms are: what came of an append of this process is not known."""
        self._doubtful |= dict.fromkeys(room for room in rooms if room in self._rooms)
        if self._doubtful:
            self._disturbed.set()

    async def watch(self, room: str) -> None:
        """Return when the room's channel is heard. Raise `Unavailable` while a link is broken."""
        watched = self._rooms.get(room)
        if watched is None:
            if self._fault is not None:
                raise Unavailable(str(self._fault))
            watched = self._rooms[room] = _Watched(room, asyncio.get_running_loop().create_future())
            self._joining.append(watched)
            self._flush_soon()
        await asyncio.shield(watched.ready)

    async def caught_up(self, rooms: Iterable[str]) -> None:
        """Return when what was published in these rooms before is in the inbox, or the link that carries it is lost."""
        if watched := [room for room in rooms if room in self._rooms]:
            with suppress(ChatkitError):
                await self.channels.drained(watched)

    def unwatch(self, room: str) -> None:
        """Hear the room's channel no more."""
        if self._rooms.pop(room, None) is not None:
            self._leaving.append(room)
            self._flush_soon()

    def _flush_soon(self) -> None:
        """Send what is asked for in this turn of the loop in one go."""
        if not self._is_flush_due:
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        leaving, self._leaving = self._leaving, []
        joining, self._joining = self._joining, []
        # Before the subscriptions: a room that was left and watched again in this turn is subscribed to.
        for rooms in _steps(leaving):
            self.channels.leave(rooms)
        if joining:
            join = asyncio.get_running_loop().create_task(self._join(joining))
            self._joins.add(join)
            join.add_done_callback(self._joins.discard)

    async def _join(self, joining: Sequence[_Watched]) -> None:
        try:
            for step in _steps(joining):
                failed = await self._join_step([watched for watched in step if self._is_wanted(watched)])
                for watched in step:
                    if (fault := failed.get(watched.room)) is not None:
                        self._refuse([watched], fault)
                    if not watched.ready.done():
                        watched.ready.set_result(None)
        except ChatkitError as error:
            if isinstance(error, RoomMoved) and self._fault is None:
                self._break(error)
            self._refuse(joining, error)
        except asyncio.CancelledError:
            self._refuse(joining, Unavailable("the backend was left"))
            raise

    async def _join_step(self, step: Sequence[_Watched]) -> dict[str, ChatkitError]:
        if self._fault is not None:
            raise self._fault
        subscribing = self.channels.subscribe([watched.room for watched in step])
        failed: dict[str, ChatkitError]
        _, failed = await asyncio.gather(subscribing, self._learn(step))
        return failed

    def _is_wanted(self, watched: _Watched) -> bool:
        return self._rooms.get(watched.room) is watched

    def _refuse(self, joining: Iterable[_Watched], error: ChatkitError) -> None:
        for watched in joining:
            if not watched.ready.done():
                watched.ready.set_exception(type(error)(str(error)))
                if self._is_wanted(watched):
                    self.unwatch(watched.room)  # the mending may have subscribed to it, or another step did

    # Hearing

    def _heard(self, room: str, payload: bytes) -> None:
        if room not in self._rooms:
            return
        try:
            if self._echoes.is_own(payload):
                return
            item, known = decode_news(room, payload)
        except (ValueError, msgspec.MsgspecError):  # not of ours, but where it stands, something may have happened
            self.doubt([room])
            return
        if known is not None:
            self.saw(room, known)
        self._inbox.put([item])


def _steps(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + STEP] for start in range(0, len(items), STEP))


def _look(ready: asyncio.Future[None]) -> None:
    """Look at what came of a watch that nobody may wait for any more."""
    if not ready.cancelled():
        ready.exception()

"""RedisListener: the watched rooms, the position at which each was last seen, and their subscriptions.

The stream is authoritative. After a connection was lost, and at intervals in any case, the listener reads the position
of every watched room, many in one round trip, and reports what it missed. Knows nothing of the readers of messages.
"""

# When one connection is lost, all of them are closed: the topology is then read again, and the position of every room.

import asyncio
import logging
import random
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from chatkit.backends.notifications import NotificationQueue
from chatkit.backends.redis.codec import KeyNames, RoomPosition, decode_published
from chatkit.backends.redis.pubsub import PubSub, RoomMoved
from chatkit.backends.redis.router import Router
from chatkit.backoff import Backoff
from chatkit.core.backend import Disconnected, MessageRedacted, Reconnected, RoomAdvanced
from chatkit.errors import ChatkitError, Unavailable

T = TypeVar("T")
_logger = logging.getLogger(__name__)

CHECK_S = 30.0  # interval of checks with healthy connections: a store that was flushed sends no notification of it
CHECKED_PER_S = 500  # bound on the average rate of checks: on a cluster each is a call of its own
STEP = 1_000  # rooms subscribed to and read in one round trip: some milliseconds of the server's time
RETRY_MIN_S, RETRY_MAX_S = 0.05, 0.5  # readers must continue within 2 s after the store is back
# Answered appends whose own publication may still arrive. It arrives at about the time of the answer; the delay is what
# waits on the other connection.
MAX_CONFIRMED = 4_096


class OwnPublishes:
    """Recognises publications of this process, whose content its calls have already returned. No I/O.

    Each append has an id, with which its publication begins.
    """

    def __init__(self, process: str) -> None:
        self.process = process
        self._count = 0
        self._own = {process.encode()}
        self._confirmed: deque[bytes] = deque()

    def begin(self) -> str:
        """Return a new id for an append that is about to be sent."""
        self._count += 1
        append_id = f"{self.process}{self._count:x}"
        self._own.add(append_id.encode())
        return append_id

    def confirm(self, append_id: str) -> None:
        """Register that an append was answered. Its publication contains nothing new, however late it arrives."""
        self._confirmed.append(append_id.encode())
        if len(self._confirmed) > MAX_CONFIRMED:
            self._own.discard(self._confirmed.popleft())

    def forget(self, append_id: str) -> None:
        """Treat the publication of an append as another process's, because the outcome of the append is unknown."""
        self._own.discard(append_id.encode())

    def is_own(self, payload: bytes) -> bool:
        """Return whether a payload, which begins with an id in quotes, was published by this process."""
        return payload[2 : payload.index(b'"', 2)] in self._own


class _Watched:
    """A watched room and its last known position. `ready` is done when its subscription is confirmed."""

    __slots__ = ("position", "ready", "room")

    def __init__(self, room: str, ready: asyncio.Future[None]) -> None:
        self.room = room
        self.ready = ready
        self.position = RoomPosition()
        ready.add_done_callback(_retrieve)


class RedisListener:
    """Watches rooms and restores lost connections. Call `open`, and keep `run` running until `close`."""

    def __init__(
        self, router: Router, names: KeyNames, own_publishes: OwnPublishes, notifications: NotificationQueue
    ) -> None:
        self._router = router
        self._own_publishes = own_publishes
        self._notifications = notifications
        self.pubsub = PubSub(router, names, self._on_message, self._on_lost)
        self._rooms: dict[str, _Watched] = {}
        self._subscribing: list[_Watched] = []
        self._unsubscribing: list[str] = []
        self._is_flush_due = False
        self._subscribe_tasks: set[asyncio.Task[None]] = set()
        self._uncertain: dict[str, None] = {}  # rooms with an append whose outcome is unknown
        self._wakeup = asyncio.Event()  # set when connections have to be opened again, or rooms have to be checked
        self._fault: ChatkitError | None = Unavailable("the connection to Redis is not yet open")
        self._n_losses = 0

    # Opening, reconnecting, closing

    async def open(self) -> None:
        """Connect. Raise `Unavailable` or `StoreError`."""
        await self.pubsub.open()
        self._fault = None

    async def run(self) -> None:
        """Reconnect after each loss, and check the rooms at intervals, until cancelled."""
        while True:
            rest_s = max(CHECK_S, len(self._rooms) / CHECKED_PER_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(0.5, 1) * rest_s):  # noqa: S311 - jitter, not a secret
                    await self._wakeup.wait()
            if self._fault is not None:
                await self._reconnect()
                continue
            self._wakeup.clear()
            rooms, self._uncertain = self._uncertain or dict.fromkeys(self._rooms), {}
            try:
                await self._check([watched for room in rooms if (watched := self._rooms.get(room)) is not None])
            except ChatkitError as error:
                self._on_lost(error)

    async def close(self) -> None:
        """Close every connection. Pending calls of `watch` fail with `Unavailable`."""
        self._fault = self._fault or Unavailable("the backend was closed")
        for task in self._subscribe_tasks:
            task.cancel()
        await asyncio.gather(*self._subscribe_tasks, return_exceptions=True)
        self._fail_watches(self._subscribing, self._fault)
        await self.pubsub.close()

    def _on_lost(self, fault: ChatkitError) -> None:
        if self._fault is None:
            self._notifications.put([Disconnected(str(fault))])
        self._fault = fault
        self._n_losses += 1
        self._router.invalidate()
        self._wakeup.set()

    async def _reconnect(self) -> None:
        backoff = Backoff(RETRY_MIN_S, RETRY_MAX_S)
        while not await self._try_reconnect():  # noqa: ASYNC110 - no event reports that the store is back
            await asyncio.sleep(backoff.next_s())
        self._fault = None
        self._notifications.put([Reconnected()])

    async def _try_reconnect(self) -> bool:
        """Connect, subscribe and check all rooms. Return whether this succeeded without another lost connection."""
        self._wakeup.clear()
        self._uncertain.clear()
        n_losses = self._n_losses
        try:
            await self.pubsub.close()
            await self.pubsub.open()
            rooms = list(self._rooms.values())
            for batch in _batches(rooms):
                await self.pubsub.subscribe([watched.room for watched in batch if self._is_wanted(watched)])
            await self._check(rooms)
        except ChatkitError as error:
            self._on_lost(error)
        return n_losses == self._n_losses  # rooms that became uncertain during this are checked next

    async def _check(self, rooms: Sequence[_Watched]) -> None:
        """Read the positions of rooms, and report each room that is not where it was last seen."""
        for batch in _batches(rooms):
            before = {watched.room: watched.position for watched in batch}
            for room, error in (await self._read_positions(batch)).items():
                _logger.warning("the position of room %s cannot be read: %s", room, error)
            for watched in batch:
                await self._report_missed(watched, before[watched.room])

    async def _report_missed(self, watched: _Watched, before: RoomPosition) -> None:
        room, now = watched.room, watched.position
        if not self._is_wanted(watched):
            return
        if (now.epoch, now.last) != (before.epoch, before.last):
            self._notifications.put([RoomAdvanced(room, now.last, epoch=now.epoch)])
        if now.redacted > before.redacted:  # the server does not say which ones are new: all of them are reported
            self._notifications.put([MessageRedacted(room, seq) for seq in await self.pubsub.redacted_seqs(room)])

    async def _read_positions(self, rooms: Sequence[_Watched]) -> dict[str, ChatkitError]:
        """Read the positions of rooms. Return the rooms whose position alone could not be read."""
        failed: dict[str, ChatkitError] = {}
        found = await self.pubsub.read_positions([(watched.room, watched.position) for watched in rooms])
        for watched in rooms:
            position = found[watched.room]
            if isinstance(position, RoomPosition):
                watched.position = watched.position.merged(position)
            else:
                failed[watched.room] = position
        return failed

    # Watching

    def position(self, room: str) -> RoomPosition:
        """Return the position at which a watched room was last seen."""
        watched = self._rooms.get(room)
        return RoomPosition() if watched is None else watched.position

    def advance(self, room: str, position: RoomPosition) -> None:
        """Register the position of a room, if the room is watched."""
        watched = self._rooms.get(room)
        if watched is not None:
            watched.position = watched.position.merged(position)

    def check_soon(self, rooms: Iterable[str]) -> None:
        """Read the positions of these rooms soon: the outcome of an append of this process is unknown."""
        self._uncertain |= dict.fromkeys(room for room in rooms if room in self._rooms)
        if self._uncertain:
            self._wakeup.set()

    async def watch(self, room: str) -> None:
        """Subscribe to a room, and wait for the confirmation. Raise `Unavailable` while a connection is lost."""
        watched = self._rooms.get(room)
        if watched is None:
            if self._fault is not None:
                raise Unavailable(str(self._fault))
            watched = self._rooms[room] = _Watched(room, asyncio.get_running_loop().create_future())
            self._subscribing.append(watched)
            self._schedule_flush()
        await asyncio.shield(watched.ready)

    async def wait_received(self, rooms: Iterable[str]) -> None:
        """Wait until earlier publications in these rooms are in the notification queue, or their connection is lost."""
        if watched := [room for room in rooms if room in self._rooms]:
            with suppress(ChatkitError):
                await self.pubsub.wait_delivered(watched)

    def unwatch(self, room: str) -> None:
        """Unsubscribe from a room."""
        if self._rooms.pop(room, None) is not None:
            self._unsubscribing.append(room)
            self._schedule_flush()

    def _schedule_flush(self) -> None:
        """Send all requests of this turn of the event loop together."""
        if not self._is_flush_due:
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        unsubscribing, self._unsubscribing = self._unsubscribing, []
        subscribing, self._subscribing = self._subscribing, []
        # Unsubscribe first: a room that was unwatched and watched again in this turn must end up subscribed.
        for rooms in _batches(unsubscribing):
            self.pubsub.unsubscribe(rooms)
        if subscribing:
            task = asyncio.get_running_loop().create_task(self._subscribe(subscribing))
            self._subscribe_tasks.add(task)
            task.add_done_callback(self._subscribe_tasks.discard)

    async def _subscribe(self, subscribing: Sequence[_Watched]) -> None:
        try:
            for batch in _batches(subscribing):
                failed = await self._subscribe_batch([watched for watched in batch if self._is_wanted(watched)])
                for watched in batch:
                    if (fault := failed.get(watched.room)) is not None:
                        self._fail_watches([watched], fault)
                    if not watched.ready.done():
                        watched.ready.set_result(None)
        except ChatkitError as error:
            if isinstance(error, RoomMoved) and self._fault is None:
                self._on_lost(error)
            self._fail_watches(subscribing, error)
        except asyncio.CancelledError:
            self._fail_watches(subscribing, Unavailable("the backend was closed"))
            raise

    async def _subscribe_batch(self, batch: Sequence[_Watched]) -> dict[str, ChatkitError]:
        if self._fault is not None:
            raise self._fault
        subscribed = self.pubsub.subscribe([watched.room for watched in batch])
        failed: dict[str, ChatkitError]
        _, failed = await asyncio.gather(subscribed, self._read_positions(batch))
        return failed

    def _is_wanted(self, watched: _Watched) -> bool:
        return self._rooms.get(watched.room) is watched

    def _fail_watches(self, subscribing: Iterable[_Watched], error: ChatkitError) -> None:
        for watched in subscribing:
            if not watched.ready.done():
                watched.ready.set_exception(type(error)(str(error)))
                if self._is_wanted(watched):
                    self.unwatch(watched.room)  # a reconnect or another batch may have subscribed to it

    # Receiving

    def _on_message(self, room: str, payload: bytes) -> None:
        if room not in self._rooms:
            return
        try:
            if self._own_publishes.is_own(payload):
                return
            item, position = decode_published(room, payload)
        except (ValueError, msgspec.MsgspecError):  # not published by chatkit; something may have happened to the room
            self.check_soon([room])
            return
        if position is not None:
            self.advance(room, position)
        self._notifications.put([item])


def _batches(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + STEP] for start in range(0, len(items), STEP))


def _retrieve(ready: asyncio.Future[None]) -> None:
    """Retrieve the exception of a watch whose caller may be gone, so that asyncio does not log it."""
    if not ready.cancelled():
        ready.exception()

"""The rooms that have readers in this process: opens them, passes commits and notifications to them, closes them."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from itertools import chain
from typing import assert_never

from chatkit.backoff import Backoff
from chatkit.core.backend import (
    Backend,
    Disconnected,
    MessageRedacted,
    Notification,
    Reconnected,
    RoomAdvanced,
)
from chatkit.core.fanout import Fanout
from chatkit.core.measures import Durations, ReaderMeasures
from chatkit.core.model import Cursor, Gap, Head, Message, Receipt
from chatkit.core.page_cache import PageCache
from chatkit.core.position import is_in_log, start_before_end
from chatkit.core.room import Room, Wake
from chatkit.core.signals import MembersChanged, RoomChanged, Signal, StoreAvailable, StoreUnavailable, Typing
from chatkit.core.subscription import Subscription
from chatkit.core.tasks import Spawn
from chatkit.errors import ChatkitError, Unavailable

READERS_A_TURN = 500  # measured in one turn of the event loop: some tenths of a millisecond
RETRY_S = 2.0  # before the notifications are read again: the longest delay after the store is available again

_logger = logging.getLogger(__name__)


class Rooms:
    """One process's rooms with readers, over one backend. Knows nothing of publishing or of members.

    `spawn` starts a coroutine as a task of the hub. `on_reconnect` is called when the store is available again,
    `on_close` with every subscription that is closed. `before_restart` is awaited with the name of a room
    whose log is gone, before its readers get a gap.
    """

    def __init__(
        self,
        backend: Backend,
        spawn: Spawn,
        *,
        on_reconnect: Callable[[], None],
        on_close: Callable[[Subscription], None],
        before_restart: Callable[[str], Coroutine[None, None, None]],
    ) -> None:
        self.fault: str | None = None  # a sentence that says why notifications do not arrive
        self._backend = backend
        self._spawn = spawn
        self._on_reconnect = on_reconnect
        self._on_close = on_close
        self._before_restart = before_restart
        self._on_reader_closed = self._close_reader  # bound once: every subscription keeps it
        self._rooms: dict[str, Room] = {}
        self._fanout = Fanout()
        self._pages = PageCache()
        self._is_closed = False
        self.n_published = 0  # messages that this process committed
        self._n_delivered = 0  # messages that the readers which have left had read

    # Readers

    async def subscribe(
        self,
        name: str,
        *,
        after: Cursor | None,
        history: int,
        wake: Wake | None,
        member: str | None,
        on_signal: Callable[[Signal], None] | None,
    ) -> Subscription:
        """Return a new reader of the room; see `Hub.subscribe`."""
        self._check_open()
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, self._backend, self._pages, self._spawn)
        room.n_users += 1
        try:
            start, gap = await self._enter(room, after, history)
        except BaseException:
            self._release(room)
            raise
        subscription = Subscription(
            room, start, had=after, gap=gap, member=member, on_signal=on_signal, on_close=self._on_reader_closed
        )
        room.readers[subscription] = _ignore if wake is None else wake
        return subscription

    def is_in_memory(self, name: str, after: Cursor | None) -> bool:
        """Return whether `subscribe` would not wait: the room is open, and its tail says where the reader starts."""
        room = self._rooms.get(name)
        if room is None or not room.is_open:
            return False
        return after is None or (room.keeps_history and is_in_log(after, room.tail.head))

    def _close_reader(self, subscription: Subscription) -> None:
        room = self._rooms[subscription.room]  # a room is kept as long as it has readers
        self._n_delivered += subscription.n_read
        self._on_close(subscription)
        room.remove(subscription)
        self._release(room)

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("the server is shutting down")

    async def _enter(self, room: Room, after: Cursor | None, history: int) -> tuple[Cursor, Gap | None]:
        if not room.is_open:
            async with room.lock:
                if not room.is_open:
                    await room.open()
        if after is None:
            start, gap = start_before_end(room.tail.head, history), None
        elif room.keeps_history and is_in_log(after, room.tail.head):
            start, gap = after, None  # a trim after this position is found when the reader reads on
        else:
            start, gap = await room.resume_from(after, room.tail.last + 1)
            if room.keeps_history and gap is not None and gap.reason == "trimmed":
                start, gap = after, None
        self._check_open()  # the hub may have been left during the read: it would not close this subscription
        return start, gap

    def _release(self, room: Room) -> None:
        room.n_users -= 1
        if not room.n_users:
            try:
                self._spawn(self._close_room(room))
            except Unavailable:  # the hub has been left, so nothing is watched
                return

    async def _close_room(self, room: Room) -> None:
        async with room.lock:
            try:
                # A reader that came since then found this same room, and waits for the lock to open it again.
                if room.is_open and not room.n_users:
                    await room.close()
            finally:  # a room that the backend could not unwatch must not stay here as well
                if not room.n_users and self._rooms.get(room.name) is room:
                    del self._rooms[room.name]

    def close_readers(self) -> None:
        """Close every subscription, which ends the iterators over them."""
        for room in list(self._rooms.values()):
            for reader in list(room.readers):
                reader.close()

    def refuse(self) -> None:
        """Refuse new subscriptions from now on."""
        self._is_closed = True

    # Commits and notifications

    def on_committed(self, receipts: Sequence[Receipt]) -> None:
        """Extend the rooms with messages that this process committed, and wake their readers."""
        fresh: defaultdict[str, list[Message]] = defaultdict(list)
        for receipt in receipts:
            if not receipt.repeat:
                message = receipt.message
                fresh[message.room].append(message)
        for name, messages in fresh.items():
            self.n_published += len(messages)
            self.grow(name, messages[-1].seq, messages)

    def grow(self, name: str, last: int, messages: Sequence[Message], epoch: str = "") -> None:
        """Extend the room's tail, if it has readers here, and wake them soon; see `Room.grow`."""
        room = self._rooms.get(name)
        if room is not None and (n_chars := room.grow(last, messages, epoch)):
            self._fanout.schedule(room, n_chars)

    async def listen(self) -> None:
        """Read the backend's notifications until cancelled. If they fail, wait and read them again."""
        backoff = Backoff(RETRY_S, jitter=0.9)
        while True:
            try:
                async for notification in self._backend.notifications():
                    self._on_notification(notification)
                self.fault = "the backend's notifications ended"
            except ChatkitError as error:
                self.fault = str(error)
                _logger.warning("reading the backend's notifications failed: %s", error)
            except Exception:
                self.fault = "the backend's notifications failed; see the server's log"
                _logger.exception("reading the backend's notifications failed")
            await asyncio.sleep(backoff.next_s())
            self.fault = None
            self._check_all()

    def _on_notification(self, notification: Notification) -> None:
        match notification:
            case RoomAdvanced(name, 0, _, epoch) if epoch:
                if name in self._rooms:
                    self._spawn(self._restart(name, epoch))
            case RoomAdvanced(name, last, messages, epoch):
                self.grow(name, last, messages, epoch)
            case MessageRedacted(name, seq):
                if (room := self._rooms.get(name)) is not None:
                    room.redact(seq)
            case Typing():
                self.notify(notification)
            case Disconnected(reason):
                self.fault = reason
                _logger.warning("the connection to the store was lost: %s", reason)
                self._notify_all(StoreUnavailable(reason))
            case Reconnected():
                self.fault = None
                _logger.warning("the connection to the store is restored")
                self._on_reconnect()
                self._notify_all(StoreAvailable())
            case _:
                assert_never(notification)

    def notify(self, signal: MembersChanged | Typing | RoomChanged) -> None:
        room = self._rooms.get(signal.room)
        if room is not None:
            room.notify(signal)

    def _notify_all(self, signal: StoreUnavailable | StoreAvailable) -> None:
        for room in list(self._rooms.values()):
            room.notify(signal)

    def on_trimmed(self, name: str | None) -> None:
        """Drop cached pages after a trim, and compare the trimmed room, or every room, with the store."""
        self._pages.clear()
        if name is None:
            self._check_all()
        elif (room := self._rooms.get(name)) is not None:
            room.check()

    def on_replaced(self, name: str) -> None:
        """Drop a room's cached pages, and compare it with the store, after its log was deleted or loaded."""
        self._pages.discard(name)
        if (room := self._rooms.get(name)) is not None:
            room.check()

    def on_moved(self, name: str) -> None:
        """Drop a room's cached pages after its log got another name, and compare it when its readers have left."""
        self._pages.discard(name)
        if name in self._rooms:
            self._spawn(self._restart(name))

    async def _restart(self, name: str, epoch: str | None = None) -> None:
        """Give the gap to the readers that stay in a room whose log is gone."""
        await self._before_restart(name)
        if epoch is not None:
            self.grow(name, 0, (), epoch)
        elif (room := self._rooms.get(name)) is not None:
            room.check()

    def _check_all(self) -> None:
        for room in list(self._rooms.values()):
            room.check()

    # Counts

    def heads(self) -> dict[str, Head]:
        """Return the head of the log of each room that is read in this process."""
        return {room.name: room.tail.head for room in self._rooms.values() if room.is_open}

    @property
    def counts(self) -> dict[str, int]:
        """The number of rooms that are read in this process, and of the subscriptions to them."""
        return {"rooms": len(self._rooms), "subscriptions": sum(len(room.readers) for room in self._rooms.values())}

    @property
    def fanout(self) -> Durations:
        """How long the deliveries of the fan-out took."""
        return self._fanout.durations.read()

    async def measure_readers(self) -> ReaderMeasures:
        """Add up all readers, a bounded number in each turn of the event loop."""
        # A reader that leaves during the loop stays in this list, so that the sum never falls between two calls.
        measures = ReaderMeasures(self._n_delivered)
        readers = list(chain.from_iterable(room.readers for room in self._rooms.values()))
        for start in range(0, len(readers), READERS_A_TURN):
            for reader in readers[start : start + READERS_A_TURN]:
                measures.add(reader.n_read, reader.n_due, is_open=not reader.is_closed)
            await asyncio.sleep(0)
        return measures


def _ignore() -> None:
    """Return at once: the wake callback of a reader that is not woken."""

"""The rooms that have readers in this process: opened, fed from commits and the backend's notifications, and closed."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from typing import assert_never

from chatkit.backoff import Backoff
from chatkit.core.backend import (
    Backend,
    Disconnected,
    MessageRedacted,
    Notification,
    Reconnected,
    RoomAdvanced,
    Writing,
)
from chatkit.core.fanout import Fanout
from chatkit.core.model import Cursor, Gap, Head, Message, Receipt
from chatkit.core.page_cache import PageCache
from chatkit.core.position import is_in_log, start_before_end
from chatkit.core.room import Room, Signal, StoreAvailable, StoreUnavailable, Typing, Wake
from chatkit.core.roster import Change
from chatkit.core.subscription import Subscription
from chatkit.errors import ChatkitError, Unavailable

RETRY_S = 2.0  # before the backend is listened to again: a store that is back is noticed within this time

_logger = logging.getLogger(__name__)


class Rooms:
    """One process's rooms with readers, over one backend. Knows nothing of publishing and of members.

    `spawn` runs a coroutine beside all others; `on_reconnect` is called when the store is back, `on_close` with every
    subscription that is closed.
    """

    def __init__(
        self,
        backend: Backend,
        spawn: Callable[[Coroutine[None, None, None]], object],
        *,
        on_reconnect: Callable[[], None],
        on_close: Callable[[Subscription], None],
    ) -> None:
        self.fault: str | None = None  # why notifications of other processes do not arrive, as a sentence
        self._backend = backend
        self._spawn = spawn
        self._on_reconnect = on_reconnect
        self._on_close = on_close
        self._on_reader_closed = self._close_reader  # bound once: every subscription keeps it
        self._rooms: dict[str, Room] = {}
        self._bells = Fanout()
        self._pages = PageCache()
        self._is_closed = False

    # Readers

    async def subscribe(
        self,
        room: str,
        *,
        after: Cursor | None,
        history: int,
        wake: Wake | None,
        member: str | None,
        on_signal: Callable[[Signal], None] | None,
    ) -> Subscription:
        """Return a new reader of the room; see `Hub.subscribe`."""
        self._check_open()
        live = self._rooms.get(room)
        if live is None:
            live = self._rooms[room] = Room(room, self._backend, self._pages, self._spawn)
        live.users += 1
        try:
            start, gap = await self._enter(live, after, history)
        except BaseException:
            self._release(live)
            raise
        subscription = Subscription(
            live, start, had=after, gap=gap, member=member, on_signal=on_signal, on_close=self._on_reader_closed
        )
        live.readers[subscription] = _ignore if wake is None else wake
        return subscription

    def _close_reader(self, subscription: Subscription) -> None:
        live = self._rooms[subscription.room]  # a room is kept as long as it has readers
        self._on_close(subscription)
        live.remove(subscription)
        self._release(live)

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("the server is shutting down")

    async def _enter(self, live: Room, after: Cursor | None, history: int) -> tuple[Cursor, Gap | None]:
        if not live.is_open:
            async with live.lock:
                if not live.is_open:
                    await live.open()
        if after is None:
            start, gap = start_before_end(live.feed.head, history), None
        elif live.keeps_history and is_in_log(after, live.feed.head):
            start, gap = after, None  # what was trimmed behind it is found when it reads on
        else:
            start, gap = await live.place(after, live.feed.last + 1)
            if live.keeps_history and gap is not None and gap.reason == "trimmed":
                start, gap = after, None
        self._check_open()  # else nobody would close this subscription
        return start, gap

    def _release(self, live: Room) -> None:
        live.users -= 1
        if not live.users:
            try:
                self._spawn(self._close_room(live))
            except Unavailable:  # the hub has been left: nothing is watched any more
                return

    async def _close_room(self, live: Room) -> None:
        async with live.lock:
            try:
                # A reader that came in the meantime found this same room, and waits for the lock to open it again.
                if live.is_open and not live.users:
                    await live.close()
            finally:  # a room that the backend could not unwatch must not be kept here, too
                if not live.users and self._rooms.get(live.room) is live:
                    del self._rooms[live.room]

    def close_readers(self) -> None:
        """Close every subscription; iterators over them end."""
        for live in list(self._rooms.values()):
            for reader in list(live.readers):
                reader.close()

    def refuse(self) -> None:
        """Refuse new subscriptions from now on."""
        self._is_closed = True

    # What happens in rooms

    def on_committed(self, receipts: Sequence[Receipt]) -> None:
        """Pass on what this process committed."""
        fresh: defaultdict[str, list[Message]] = defaultdict(list)
        for receipt in receipts:
            if not receipt.repeat:
                message = receipt.message
                fresh[message.room].append(message)
        for room, messages in fresh.items():
            self.grow(room, messages[-1].seq, messages)

    def grow(self, room: str, last: int, messages: Sequence[Message], epoch: str = "") -> None:
        """Extend a room that is read here, and wake its readers soon; see `Room.grow`."""
        live = self._rooms.get(room)
        if live is not None and (n_chars := live.grow(last, messages, epoch)):
            self._bells.schedule(live, n_chars)

    async def listen(self) -> None:
        """Follow the backend's notifications until cancelled; a listener that fails is started again."""
        backoff = Backoff(RETRY_S, jitter=0.9)
        while True:
            try:
                async for news in self._backend.notifications():
                    self._on_news(news)
                self.fault = "the backend's news ended"
            except ChatkitError as error:
                self.fault = str(error)
                _logger.warning("the backend's news broke off: %s", error)
            except Exception:
                self.fault = "the backend's news failed; the server's log says how"
                _logger.exception("the backend's news broke off")
            await asyncio.sleep(backoff.next_s())
            self.fault = None
            self._check_all()

    def _on_news(self, news: Notification) -> None:
        match news:
            case RoomAdvanced(room, last, messages, epoch):
                self.grow(room, last, messages, epoch)
            case MessageRedacted(room, seq):
                if (live := self._rooms.get(room)) is not None:
                    live.redact(seq)
            case Writing(room, sender):
                self.notify(Typing(room, sender))
            case Disconnected(reason):
                self.fault = reason
                _logger.warning("the link to the store broke: %s", reason)
                self._notify_all(StoreUnavailable(reason))
            case Reconnected():
                self.fault = None
                _logger.warning("the link to the store is mended")
                self._on_reconnect()
                self._notify_all(StoreAvailable())
            case _:
                assert_never(news)

    def notify(self, signal: Change | Typing) -> None:
        """Pass a signal to the readers of its room."""
        live = self._rooms.get(signal.room)
        if live is not None:
            live.notify(signal)

    def _notify_all(self, signal: StoreUnavailable | StoreAvailable) -> None:
        for live in list(self._rooms.values()):
            live.notify(signal)

    def on_trimmed(self, room: str | None) -> None:
        """Forget what the store may have dropped, and compare the room with it, or every room."""
        self._pages.clear()
        if room is None:
            self._check_all()
        elif (live := self._rooms.get(room)) is not None:
            live.check()

    def _check_all(self) -> None:
        for live in list(self._rooms.values()):
            live.check()

    # Figures

    def heads(self) -> dict[str, Head]:
        """Return the rooms that are read here, and where their logs stand."""
        return {live.room: live.feed.head for live in self._rooms.values() if live.is_open}

    @property
    def counts(self) -> dict[str, int]:
        """How many rooms are read here, and by how many subscriptions."""
        return {"rooms": len(self._rooms), "subscriptions": sum(len(live.readers) for live in self._rooms.values())}


def _ignore() -> None:
    """Wake a reader that looks by itself for something to read."""

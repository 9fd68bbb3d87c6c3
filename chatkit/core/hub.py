"""One process's view of all rooms: what is published here or elsewhere reaches everyone who reads here.

Publishing never waits for a reader; reading is a cursor's. The hub is entered with `async with`, on an entered backend.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack, suppress
from math import inf
from types import TracebackType
from typing import Self, assert_never

from chatkit.backoff import Backoff
from chatkit.core.backend import (
    Backend,
    Disconnected,
    Filter,
    MessageRedacted,
    Notification,
    Reconnected,
    RoomAdvanced,
    RoomInfo,
    Writing,
)
from chatkit.core.fanout import Fanout
from chatkit.core.group_commit import Committer, Settle
from chatkit.core.history import HistoryPage, read_history
from chatkit.core.model import Cursor, Draft, Gap, Head, Member, Message, Receipt
from chatkit.core.page_cache import PageCache
from chatkit.core.position import is_in_log, resume, start_before_end
from chatkit.core.presence import PresenceTracker
from chatkit.core.room import Redaction, Room, Signal, StoreAvailable, StoreUnavailable, Typing
from chatkit.core.roster import Change
from chatkit.core.subscription import Subscription
from chatkit.errors import ChatkitError, Unavailable

RETRY_S = 2.0
FAULT_S = 10.0  # a failed commit counts against the health this long, or until one succeeds
DRAIN_S = 5.0  # at the end, a store that stands still is waited for this long

_logger = logging.getLogger(__name__)


class Hub:
    """Publishing, subscribing, presence and health, over one backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._live: dict[str, Room] = {}
        self._attendance = PresenceTracker(backend, self._tell)
        self._faults: dict[str, str] = {}
        self._append_failed_at = -inf
        self._committer = Committer(backend.append, self._committed, self._append_failed)
        self._bells = Fanout()
        self._pages = PageCache()
        self._is_closed = False  # nothing new is taken
        self._is_over = False  # every task has ended
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._services = [self.spawn(self._committer.run()), self.spawn(self._listen())]
        if self._backend.shared:
            self._services.append(self.spawn(self._attendance.share()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit what was taken, end every subscription and task. Leaving again does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await self._committer.drain()
        finally:  # whoever is cancelled while it leaves has left all the same
            await self._end()

    async def _end(self) -> None:
        self.close_readers()
        self._committer.abandon()
        self._attendance.stop()
        for task in self._services:
            task.cancel()
        try:
            with suppress(ChatkitError, TimeoutError):
                if self._backend.shared:
                    async with asyncio.timeout(DRAIN_S):
                        await self._attendance.announce()
        finally:
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(DRAIN_S):  # then what still waits for the store is cancelled
                        await self._stack.__aexit__(None, None, None)
            finally:
                self._is_over = True

    def spawn(self, job: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run a job beside all others; what it raises is logged. Raise `Unavailable` when the hub has been left."""
        if self._is_over:
            job.close()
            raise Unavailable("the server is shutting down")
        task = self._tasks.create_task(_logged(job))
        task.add_done_callback(lambda _: job.close())  # one that is cancelled before its first turn never began it
        return task

    # Publishing

    def submit(self, draft: Draft, settle: Settle) -> None:
        """Commit the draft soon; call `settle`, in the event loop, with its receipt or the error that prevented it.

        Drafts are committed in the order in which they are submitted. Raise `Unavailable` when none can be taken.
        """
        self._committer.submit(draft, settle)

    async def publish(self, draft: Draft) -> Receipt:
        """Commit the draft; return when it is as durable as the backend promises. Raise `Unavailable`, `StoreError`.

        When cancelled, the draft may be committed all the same; a `key` makes publishing again safe.
        """
        settled: asyncio.Future[Receipt] = self._loop.create_future()

        def settle(outcome: Receipt | ChatkitError) -> None:
            if settled.done():
                return
            if isinstance(outcome, Receipt):
                settled.set_result(outcome)
            else:
                settled.set_exception(outcome)

        self.submit(draft, settle)
        return await settled

    def _committed(self, receipts: Sequence[Receipt]) -> None:
        self._faults.pop("append", None)
        fresh: defaultdict[str, list[Message]] = defaultdict(list)
        for receipt in receipts:
            if not receipt.repeat:
                message = receipt.message
                fresh[message.room].append(message)
        for room, messages in fresh.items():
            self._grow(room, messages[-1].seq, messages)

    def _append_failed(self, error: ChatkitError) -> None:
        self._faults["append"] = str(error)
        self._append_failed_at = self._loop.time()

    # What happens in rooms

    async def _listen(self) -> None:
        """Follow the backend's news, for ever: nobody is left connected and deaf."""
        backoff = Backoff(RETRY_S, jitter=0.9)
        while True:
            try:
                async for news in self._backend.notifications():
                    self._heard(news)
                self._faults["news"] = "the backend's news ended"
            except ChatkitError as error:
                self._faults["news"] = str(error)
                _logger.warning("the backend's news broke off: %s", error)
            except Exception:
                self._faults["news"] = "the backend's news failed; the server's log says how"
                _logger.exception("the backend's news broke off")
            await asyncio.sleep(backoff.next_s())
            self._faults.pop("news", None)
            for live in list(self._live.values()):
                live.check()

    def _heard(self, news: Notification) -> None:
        match news:
            case RoomAdvanced(room, last, messages, epoch):
                self._grow(room, last, messages, epoch)
            case MessageRedacted(room, seq):
                if (live := self._live.get(room)) is not None:
                    live.redact(seq)
            case Writing(room, sender):
                self._tell(Typing(room, sender))
            case Disconnected(reason):
                self._faults["news"] = reason
                _logger.warning("the link to the store broke: %s", reason)
                self._tell_all(StoreUnavailable(reason))
            case Reconnected():
                self._faults.clear()
                _logger.warning("the link to the store is mended")
                self._attendance.renew()
                self._tell_all(StoreAvailable())
            case _:
                assert_never(news)

    def _grow(self, room: str, last: int, messages: Sequence[Message], epoch: str = "") -> None:
        live = self._live.get(room)
        if live is not None and (n_chars := live.grow(last, messages, epoch)):
            self._bells.ring_soon(live, n_chars)

    # Reading

    async def subscribe(
        self,
        room: str,
        *,
        after: Cursor | None = None,
        history: int = 0,
        member: str | None = None,
        bell: Callable[[], None] | None = None,
        signalled: Callable[[Signal], None] | None = None,
    ) -> Subscription:
        """Read the room from the cursor `after` on, or, without one, from `history` messages before its end.

        With `member`, that name is present in the room until the subscription is closed. `bell` is called, at most once
        a turn of the event loop, when there is something to take; `signalled` with what happens beside the log. Both
        must neither wait nor raise. Raise `Unavailable` when the room cannot be read.
        """
        if self._is_closed:
            raise Unavailable("the server is shutting down")
        live = self._live.get(room)
        if live is None:
            live = self._live[room] = Room(room, self._backend, self._pages, self.spawn)
        live.users += 1
        try:
            start, gap = await self._enter(live, after, history)
        except BaseException:
            self._release_room(live)
            raise
        if member is not None:
            self._attendance.enter(room, member)

        def release(subscription: Subscription) -> None:
            live.readers.pop(subscription, None)
            if member is not None:
                self._attendance.leave(room, member)
            self._release_room(live)

        subscription = Subscription(live, start, had=after, gap=gap, bell=bell, signalled=signalled, release=release)
        live.readers[subscription] = None
        return subscription

    async def _enter(self, live: Room, after: Cursor | None, history: int) -> tuple[Cursor, Gap | None]:
        if not live.is_open:
            async with live.lock:
                if not live.is_open:
                    await live.open()
        place = await self._place(live, after, history)
        if self._is_closed:  # meanwhile: nobody would end this subscription
            raise Unavailable("the server is shutting down")
        return place

    async def _place(self, live: Room, after: Cursor | None, history: int) -> tuple[Cursor, Gap | None]:
        """Return where a subscription starts, and the gap before that, if its cursor is of a log that is gone.

        A cursor of this log starts where it is: reading on finds what was trimmed behind it.
        """
        feed = live.feed
        if after is None:
            return start_before_end(feed.head, history), None
        if not live.keeps_history:
            return await self._place_at_end(live, after)
        if is_in_log(after, feed.head):
            return after, None
        # Another process may have told the client of more than this one knows: the store decides.
        head = (await self._backend.read(live.room, after=after.seq, limit=1)).head
        if is_in_log(after, head):
            live.check()
            return after, None
        return resume(after, head)

    async def _place_at_end(self, live: Room, after: Cursor) -> tuple[Cursor, Gap | None]:
        """Without history, start at the end of the log, or ahead of it where messages are still on their way."""
        feed = live.feed
        if after.epoch == feed.epoch and after.seq > feed.last:
            # Another process told the client of what is still on its way to this one, unless the cursor is made up.
            head = (await self._backend.read(live.room, limit=1)).head
            if is_in_log(after, head):
                return after, None
        return resume(after, feed.head, keeps_history=False)

    def _release_room(self, live: Room) -> None:
        live.users -= 1
        if not live.users and not self._is_over:
            self.spawn(self._close_room(live))

    async def _close_room(self, live: Room) -> None:
        async with live.lock:
            try:
                # Whoever came back meanwhile found this same room, and waits for the lock to open it again.
                if live.is_open and not live.users:
                    await live.close()
            finally:  # what the backend could not end must not be kept here, too
                if not live.users and self._live.get(live.room) is live:
                    del self._live[live.room]

    def close_readers(self) -> None:
        """End every subscription; iterators over them end."""
        for live in list(self._live.values()):
            for reader in list(live.readers):
                if isinstance(reader, Subscription):
                    reader.close()

    async def history(
        self,
        room: str,
        *,
        after: Cursor | int | None = None,
        before: Cursor | int | None = None,
        limit: int = 100,
        where: Filter | None = None,
    ) -> HistoryPage:
        """Return a page of the room's log, with the gap before it where messages are missing.

        Without `after` and `before`, the newest messages. Raise `Unavailable` when the room cannot be read.
        """
        return await read_history(self._backend, room, after=after, before=before, limit=limit, where=where)

    async def rooms(self) -> list[RoomInfo]:
        """Return every room that holds or held a message, by name."""
        return await self._backend.rooms()

    def heads(self) -> dict[str, Head]:
        """Return the rooms that are read here, and where their logs stand."""
        return {live.room: live.feed.head for live in self._live.values() if live.is_open}

    async def redact(self, room: str, seq: int) -> Message:
        """Take away a message's body for good. Raise `NotFound` where there is none."""
        return await self._backend.redact(room, seq)

    async def trim(self, room: str | None = None, *, keep: int | None = None, before_ms: int | None = None) -> int:
        """Drop messages that are too many or too old, in one room or in all; see `Backend.trim`."""
        n_dropped = await self._backend.trim(room, keep=keep, before_ms=before_ms)
        if n_dropped:
            self._pages.clear()
            for live in list(self._live.values()):
                if room in {None, live.room}:
                    live.check()
        return n_dropped

    # Presence and signals

    def members(self, room: str, limit: int) -> list[Member]:
        """Return who is in the room, at most `limit`, by when they came."""
        return self._attendance.roster.members(room, limit)

    @property
    def occupied(self) -> AbstractSet[str]:
        """The rooms in which somebody is."""
        return self._attendance.roster.rooms

    def count(self, room: str) -> int:
        """Return how many are in the room."""
        return self._attendance.roster.count(room)

    def typing(self, room: str, sender: str) -> None:
        """Show the room's readers, here and in other processes, that the sender is writing."""
        self._tell(Typing(room, sender))
        if self._backend.shared and not self._faults:
            self.spawn(self._backend.typing(room, sender))

    def _tell(self, signal: Change | Redaction | Typing) -> None:
        live = self._live.get(signal.room)
        if live is not None:
            live.tell(signal)

    def _tell_all(self, signal: StoreUnavailable | StoreAvailable) -> None:
        for live in list(self._live.values()):
            live.tell(signal)

    # Health

    @property
    def fault(self) -> str | None:
        """What is wrong, as a sentence; None while all is well."""
        if self._loop.time() - self._append_failed_at > FAULT_S:
            self._faults.pop("append", None)
        return next(iter(self._faults.values()), None)

    @property
    def counts(self) -> dict[str, int]:
        """How many rooms are read here, and by how many subscriptions."""
        return {"rooms": len(self._live), "subscriptions": sum(len(live.readers) for live in self._live.values())}


async def _logged(job: Coroutine[None, None, None]) -> None:
    """Run a job to its end; one that fails is logged, and takes no other down with it."""
    try:
        await job
    except ChatkitError as error:
        _logger.warning("%s", error)
    except Exception:
        _logger.exception("a task of the hub failed")

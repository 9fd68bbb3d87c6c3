"""One process's view of all rooms: publish, subscribe, read history, see who is present, and whether all is well.

Publishing never waits for a reader; a reader is a cursor. The hub is entered with `async with`, on an entered backend.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from math import inf
from types import TracebackType
from typing import Self

from chatkit.core.backend import Backend, Filter, RoomInfo
from chatkit.core.group_commit import Committer, Settle
from chatkit.core.history import HistoryPage, read_history
from chatkit.core.model import Cursor, Draft, Head, Member, Message, Receipt
from chatkit.core.presence import PresenceTracker
from chatkit.core.room import Signal, Typing, Wake
from chatkit.core.rooms import Rooms
from chatkit.core.subscription import Subscription
from chatkit.core.tasks import Tasks
from chatkit.errors import ChatkitError

FAULT_S = 10.0  # a failed commit counts against the health this long, or until one succeeds
DRAIN_S = 5.0  # at the end, a store that does not answer is waited for this long


class Hub:
    """Publishing, subscribing, history, presence and health, over one backend: the only way to its rooms."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._tasks = Tasks()
        self._rooms = Rooms(
            backend, self._tasks.spawn, on_reconnect=self._on_reconnect, on_close=self._on_reader_closed
        )
        self._attendance = PresenceTracker(backend, self._rooms.notify)
        self._committer = Committer(backend.append, self._on_committed, self._on_append_failed)
        self._append_fault: str | None = None
        self._append_failed_at = -inf
        self._is_closed = False  # nothing new is accepted

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._tasks.__aenter__()
        self._services = [self.spawn(self._committer.run()), self.spawn(self._rooms.listen())]
        if self._backend.shared:
            self._services.append(self.spawn(self._attendance.share()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit what was accepted, end every subscription and task. Leaving again does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._rooms.refuse()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await self._committer.drain()
        finally:  # a hub whose leaving is cancelled is left all the same
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
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):  # then what still waits for the store is cancelled
                    await self._tasks.__aexit__(None, None, None)

    def spawn(self, job: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run a job beside all others; what it raises is logged. Raise `Unavailable` when the hub has been left."""
        return self._tasks.spawn(job)

    # Publishing

    def submit(self, draft: Draft, settle: Settle) -> None:
        """Commit the draft soon; call `settle`, in the event loop, with its receipt or the error that prevented it.

        Drafts are committed in the order in which they are submitted. Raise `Unavailable` when none can be accepted.
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

    def _on_committed(self, receipts: Sequence[Receipt]) -> None:
        self._append_fault = None
        self._rooms.on_committed(receipts)

    def _on_append_failed(self, error: ChatkitError) -> None:
        self._append_fault = str(error)
        self._append_failed_at = self._loop.time()

    # Reading

    async def subscribe(
        self,
        room: str,
        *,
        after: Cursor | None = None,
        history: int = 0,
        member: str | None = None,
        wake: Wake | None = None,
        on_signal: Callable[[Signal], None] | None = None,
    ) -> Subscription:
        """Read the room from the cursor `after` on, or, without one, from `history` messages before its end.

        With `member`, that name is present in the room until the subscription is closed. `wake` is called, at most once
        a turn of the event loop, when there is something to read; `on_signal` with what happens beside the log. Both
        must neither wait nor raise. Raise `Unavailable` when the room cannot be read.
        """
        subscription = await self._rooms.subscribe(
            room, after=after, history=history, wake=wake, member=member, on_signal=on_signal
        )
        if member is not None:
            self._attendance.enter(room, member)
        return subscription

    def _on_reader_closed(self, subscription: Subscription) -> None:
        if subscription.member is not None:
            self._attendance.leave(subscription.room, subscription.member)

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

    def close_readers(self) -> None:
        """End every subscription; iterators over them end."""
        self._rooms.close_readers()

    # Rooms

    async def rooms(self) -> list[RoomInfo]:
        """Return every room that holds or held a message, by name."""
        return await self._backend.rooms()

    def heads(self) -> dict[str, Head]:
        """Return the rooms that are read here, and where their logs stand."""
        return self._rooms.heads()

    async def redact(self, room: str, seq: int) -> Message:
        """Remove a message's body for good. Raise `NotFound` where there is no such message."""
        return await self._backend.redact(room, seq)

    async def trim(self, room: str | None = None, *, keep: int | None = None, before_ms: int | None = None) -> int:
        """Drop messages that are too many or too old, in one room or in all; see `Backend.trim`."""
        n_dropped = await self._backend.trim(room, keep=keep, before_ms=before_ms)
        if n_dropped:
            self._rooms.on_trimmed(room)
        return n_dropped

    # Presence and signals

    def members(self, room: str, limit: int) -> list[Member]:
        """Return who is in the room, at most `limit`, by when they came."""
        return self._attendance.roster.members(room, limit)

    @property
    def occupied(self) -> AbstractSet[str]:
        """The rooms that have members."""
        return self._attendance.roster.rooms

    def count(self, room: str) -> int:
        """Return how many members the room has."""
        return self._attendance.roster.count(room)

    def typing(self, room: str, sender: str) -> None:
        """Show the room's readers, here and in other processes, that the sender is writing."""
        self._rooms.notify(Typing(room, sender))
        if self._backend.shared and self.fault is None:
            self.spawn(self._backend.typing(room, sender))

    # Health

    def _on_reconnect(self) -> None:
        self._append_fault = None
        self._attendance.renew()

    @property
    def fault(self) -> str | None:
        """What is wrong, as a sentence; None while all is well."""
        if self._loop.time() - self._append_failed_at > FAULT_S:
            self._append_fault = None
        return self._rooms.fault or self._append_fault

    @property
    def counts(self) -> dict[str, int]:
        """How many rooms are read here, and by how many subscriptions."""
        return self._rooms.counts

"""The hub: one process's access to all rooms. Publishes, subscribes, reads history, and reports presence and health.

Publishing never waits for a reader, because a reader is a cursor. A hub is entered with `async with`, on a backend that
has been entered. It keeps `access`, the rights of all identities, as the store has them; those who use the hub for an
identity ask it, because the hub itself serves everybody.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Final, Self, cast

from chatkit.core.access import RoomSettings
from chatkit.core.access_maintenance import maintain_access
from chatkit.core.access_notifier import AccessNotifier
from chatkit.core.access_table import AccessTable
from chatkit.core.administration import Administration
from chatkit.core.audit import Audit
from chatkit.core.backend import Backend, Filter, RoomInfo
from chatkit.core.clock import steady_now_ms
from chatkit.core.commit_fault import CommitFault
from chatkit.core.consumers import Consumers
from chatkit.core.group_commit import Committer, Outcome, Settle, settle_future
from chatkit.core.history import HistoryPage, read_history
from chatkit.core.hub_store import HubStore
from chatkit.core.loop_guard import DEFAULT_BOT_LIMIT, LoopGuard
from chatkit.core.measures import HubMeasures
from chatkit.core.mentions import MentionFinder
from chatkit.core.model import MAX_SEQ, Cursor, Draft, Head, Message, Receipt
from chatkit.core.moderation import REFUSAL_S, Moderation
from chatkit.core.presence import PresenceTracker
from chatkit.core.read_state import ReadState
from chatkit.core.record_watcher import RecordWatcher
from chatkit.core.records import RecordChanges
from chatkit.core.references import References
from chatkit.core.room import Wake
from chatkit.core.rooms import Rooms
from chatkit.core.roster import UNMARKED, Marks
from chatkit.core.search import START, RoomsFrom, SearchHits, SearchPosition, search_rooms
from chatkit.core.signals import MembersChanged, RoomChanged, Signal, Typing
from chatkit.core.subscription import Subscription
from chatkit.core.tasks import Tasks
from chatkit.core.webhooks import Webhooks
from chatkit.errors import ChatkitError, NotFound

MOVE_S: Final = 5.0  # the longest wait for the end of a renaming, which takes milliseconds
MOVE_POLL_S: Final = 0.02
DRAIN_S = 5.0  # when the hub is left, the longest wait for a store that does not answer


class Hub:
    """Publishing, subscribing, history, presence and health, over one backend: the only way to its rooms."""

    def __init__(
        self,
        backend: Backend,
        *,
        access: AccessTable | None = None,
        now_ms: Callable[[], int] | None = None,
        bot_limit: int = DEFAULT_BOT_LIMIT,
        trusts_names: bool = False,
    ) -> None:
        """Make a hub. Without `access`, everybody may moderate every room until the store holds a token.

        `now_ms` is the clock by which tokens and bans end, as Unix milliseconds. `bot_limit` is the number of messages
        of bots that take turns that a room accepts (see `LoopGuard`); 0 is no limit. With `trusts_names`, a sender is
        the one who edits, also where there are tokens, except for messages whose sender a token has proved.
        """
        self.access = AccessTable(is_loopback=True) if access is None else access
        self.now_ms = steady_now_ms() if now_ms is None else now_ms
        self._backend = backend
        self._tasks = Tasks()
        self._rooms = Rooms(
            backend,
            self._tasks.spawn,
            on_reconnect=self._on_reconnect,
            on_close=self._on_reader_closed,
            before_restart=self._wait_until_moved,
        )
        self._presence = PresenceTracker(backend, self._on_members_changed)
        roster = self._presence.roster
        self.members, self.encoded_members, self.count = roster.members, roster.encoded_members, roster.count
        self._mentions = MentionFinder(self.access, roster)
        self._references = References(backend, trusts_names=lambda: trusts_names or self.access.is_open)
        self._committer = Committer(self._append, self._on_committed, self._on_append_failed)
        # Queues drafts for one room, none of a bot, like `submit`. It is bound once: every message calls it.
        self.submit_all = self._committer.submit_all
        self._loop_guard = LoopGuard(
            backend, self.access, bot_limit, submit=self._committer.submit, spawn=self.spawn, now_ms=self.now_ms
        )
        self._notifier = AccessNotifier(self.access, self.now_ms, self.spawn, self._on_room_changed)
        self._records = RecordWatcher(backend, self._on_records_changed)
        self.records = HubStore(backend, self.publish, self._records.refresh, self.delete_room, self.rename_room)
        self.read_state = ReadState(backend, self.records)
        self.consumers = Consumers(backend, self.records, self.subscribe, self.now_ms, self.access)
        store = cast("Backend", self.records)  # they use only the methods that it has
        self.audit = Audit(store, self.now_ms)
        self.administration = Administration(store, self.now_ms, self.audit)
        self.moderation = Moderation(store, self.now_ms, self.audit, refusal_s=REFUSAL_S if backend.shared else 0)
        self.webhooks = Webhooks(backend, store, self.consumers, self.now_ms, self.audit)
        self._commit_fault = CommitFault()
        self._n_repeated = 0
        self._is_closed = False  # if true, nothing new is accepted

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._tasks.__aenter__()
        try:
            await self._records.refresh()  # nobody is served before the rights are known
        except BaseException:
            await self._tasks.__aexit__(None, None, None)
            raise
        services = [self._committer.run(), self._rooms.listen(), self._notifier.end_expired()]
        services += [maintain_access(self.access, self.administration, self.moderation), self.audit.run()]
        if self._backend.shared:
            services += [self._presence.share(), self._records.run()]
        self._services = [self.spawn(service) for service in services]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit the accepted drafts, and end every subscription and task. Leaving again does nothing."""
        if self._is_closed:
            return
        await self.audit.close()
        self._is_closed = True
        self._rooms.refuse()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await self._committer.drain()
        finally:  # also if leaving the hub is cancelled
            await self._close()

    async def _close(self) -> None:
        self.close_readers()
        self._committer.abandon()
        self._presence.stop()
        for task in self._services:
            task.cancel()
        try:
            with suppress(ChatkitError, TimeoutError):
                if self._backend.shared:
                    async with asyncio.timeout(DRAIN_S):
                        await self._presence.announce()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):  # after that, tasks that still wait for the store are cancelled
                    await self._tasks.__aexit__(None, None, None)

    def spawn(self, job: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Start a task of the hub. An error of the job is logged. Raise `Unavailable` if the hub has been left."""
        return self._tasks.spawn(job)

    # Publishing

    def submit(self, draft: Draft, settle: Settle) -> None:
        """Queue the draft for the next commit, and call `settle` with its receipt, or with the error that prevented it.

        Drafts are committed in the order in which they were submitted, and those that refer to a message are checked
        before. A bot's may be refused with `BotLoop`. Raise `Unavailable` if no draft can be accepted.
        """
        if not (draft.bot and self._loop_guard.holds_back(draft, settle)):
            self._committer.submit(draft, settle)

    async def publish(self, draft: Draft) -> Receipt:
        """Commit the draft, and return its receipt when the message is as durable as the backend promises.

        Raise `Unavailable` or `StoreError` if it was not committed, `KeyConflict` if its key has another message,
        `BadReference` or `Forbidden` if it may not refer to a message as it does, and `BotLoop` if a bot has to wait
        for a person. If the call is cancelled, the draft may be committed nevertheless; a `key` makes it safe to
        publish again.
        """
        settled: asyncio.Future[Receipt] = self._loop.create_future()
        self.submit(draft, partial(settle_future, settled))
        return await settled

    async def _append(self, drafts: Sequence[Draft]) -> Sequence[Outcome]:
        return await self._references.append(self._mentions.add_to_all(drafts))

    def _on_committed(self, receipts: Sequence[Receipt]) -> None:
        self._commit_fault.clear()
        n_before = self._rooms.n_published
        self._rooms.on_committed(receipts)
        if self._rooms.n_published - n_before < len(receipts):
            self._n_repeated += sum(receipt.repeat and not receipt.conflict for receipt in receipts)

    def _on_append_failed(self, error: ChatkitError) -> None:
        self._commit_fault.set(str(error), self._loop.time())

    # Reading

    async def subscribe(
        self,
        room: str,
        *,
        after: Cursor | None = None,
        history: int = 0,
        member: str | None = None,
        marks: Marks = UNMARKED,
        wake: Wake | None = None,
        on_signal: Callable[[Signal], None] | None = None,
    ) -> Subscription:
        """Start to read the room after the cursor `after`, or, without one, from `history` messages before its end.

        With `member`, that name is present in the room until the subscription is closed; `marks` say whether it is
        verified and a bot's. `wake` is called when there is something to read, at most once in a turn of the event
        loop. `on_signal` is called with each signal. Both must neither wait nor raise. Raise `Unavailable` if the room
        cannot be read.
        """
        subscription = await self._rooms.subscribe(
            room, after=after, history=history, wake=wake, member=member, on_signal=on_signal
        )
        if member is not None:
            self._presence.enter(room, member, marks)
        return subscription

    def is_in_memory(self, room: str, after: Cursor | None) -> bool:
        """Return whether `subscribe` from this position would return or raise without waiting for the store."""
        return self._rooms.is_in_memory(room, after)

    def _on_reader_closed(self, subscription: Subscription) -> None:
        if subscription.member is not None:
            self._presence.leave(subscription.room, subscription.member)

    async def history(
        self,
        room: str,
        *,
        after: Cursor | int | None = None,
        before: Cursor | int | None = None,
        limit: int = 100,
        where: Filter | None = None,
        folded: bool = False,
    ) -> HistoryPage:
        """Return a page of the room's log, with the gap before it if messages are missing.

        Without `after` and `before`, the page has the newest messages. `limit` is the most that it has, `where` a
        filter. If `folded`, messages are in their current state, without the changes that led to it. Raise
        `Unavailable` if the room cannot be read. See `Backend.read` for the order.
        """
        return await read_history(
            self._backend, room, after=after, before=before, limit=limit, where=where, folded=folded
        )

    def change_mark(self) -> int | None:
        """Return a value that every change of the store replaces, or None if it is not known; see `Backend`."""
        return self._backend.change_mark()

    async def find(self, room: str, seq: int, *, folded: bool = False) -> Message:
        """Return one message as it was written, or, if `folded`, in its current state. Raise `NotFound`."""
        if 0 < seq <= MAX_SEQ:
            page = await self._backend.read(room, after=seq - 1, before=seq + 1, limit=1, folded=folded)
            if page.messages:
                return page.messages[0]
        raise NotFound(f"there is no message {seq} in {room!r}")

    def close_readers(self) -> None:
        """Close every subscription, which ends the iterators over them."""
        self._rooms.close_readers()

    # Rooms

    async def rooms(self, *, start: str = "", end: str | None = None, limit: int | None = None) -> list[RoomInfo]:
        """Return every room that holds or held a message, or a page of them; see `Backend.rooms`."""
        return await self._backend.rooms(start=start, end=end, limit=limit)

    async def search(
        self, rooms_from: RoomsFrom, text: str, *, at: SearchPosition = START, limit: int = 100
    ) -> SearchHits:
        """Return the newest messages of several rooms that contain a text; see `search_rooms`."""
        return await search_rooms(self._backend, rooms_from, text, at=at, limit=limit)

    def heads(self) -> dict[str, Head]:
        """Return the head of the log of each room that is read in this process."""
        return self._rooms.heads()

    async def redact(self, room: str, seq: int) -> Message:
        """Remove a message's body and data permanently. Raise `NotFound` if there is no such message."""
        return await self._backend.redact(room, seq)

    async def trim(self, room: str | None = None, *, keep: int | None = None, before_ms: int | None = None) -> int:
        """Drop old messages, in one room or in all, and return the number of dropped messages; see `Backend.trim`."""
        n_dropped = await self._backend.trim(room, keep=keep, before_ms=before_ms)
        if n_dropped:
            self._rooms.on_trimmed(room)
        return n_dropped

    async def delete_room(self, room: str) -> bool:
        """Remove a room with its log permanently, and return whether there was one; see `Backend.delete_room`.

        Its readers stay: they get a gap with the reason `epoch`, and then the messages of the new log.
        """
        was_there = await self._backend.delete_room(room)
        if was_there:
            self._rooms.on_replaced(room)
        return was_there

    async def rename_room(self, room: str, new: str) -> bool:
        """Move the log of a room to another name, and return whether there was one; see `Backend.rename_room`."""
        is_renamed = await self._backend.rename_room(room, new)
        if is_renamed:
            self._rooms.on_replaced(new)
            self._rooms.on_moved(room)
        return is_renamed

    async def _wait_until_moved(self, room: str) -> None:
        """Wait until this process knows whether a room without a log was renamed: its readers then leave without a gap.

        Not for long: the process that renames it may have been killed.
        """
        with suppress(ChatkitError, TimeoutError):
            async with asyncio.timeout(MOVE_S):
                await self._records.refresh()
                while self.access.room_settings(room).is_moving:
                    await asyncio.sleep(MOVE_POLL_S)
                    await self._records.refresh()

    async def load(self, messages: Sequence[Message]) -> int:
        """Store messages of another store, and return how many were stored; see `Backend.load`."""
        n_loaded = await self._backend.load(messages)
        if n_loaded:
            self._rooms.on_replaced(messages[0].room)
        return n_loaded

    # Presence and signals

    def _on_members_changed(self, change: MembersChanged) -> None:
        self._rooms.notify(change)
        self.webhooks.table.notify_members(change)

    @property
    def occupied(self) -> AbstractSet[str]:
        """The rooms that have members."""
        return self._presence.roster.rooms

    def typing(self, room: str, sender: str) -> None:
        """Notify the room's readers, in this and in other processes, that the sender is typing."""
        self._rooms.notify(Typing(room, sender))
        if self._backend.shared and self.fault is None:
            self.spawn(self._backend.typing(room, sender))

    # Access

    async def refresh_access(self) -> None:
        """Apply the changes of access that were made before this call. Raise `Unavailable`.

        Changes that other processes make apply after about a second also without it.
        """
        await self._records.refresh()

    def _on_records_changed(self, changes: RecordChanges) -> None:
        self._notifier.apply(changes)
        self.read_state.apply(changes)
        self.consumers.apply(changes)
        self.webhooks.table.apply(changes)

    def _on_room_changed(self, room: str, settings: RoomSettings) -> None:
        self._rooms.notify(RoomChanged(room, settings.topic, settings.archived))

    # Health

    def _on_reconnect(self) -> None:
        self._commit_fault.clear()
        self._presence.renew()

    @property
    def fault(self) -> str | None:
        """A sentence that describes the current fault, or None."""
        return self._rooms.fault or self._commit_fault.read(self._loop.time())

    @property
    def counts(self) -> dict[str, int]:
        """The number of rooms that are read in this process, and of the subscriptions to them."""
        return self._rooms.counts

    async def measure(self) -> HubMeasures:
        """Return what this hub has counted. The cost grows with its readers, but each turn of the loop is short."""
        readers = await self._rooms.measure_readers()
        return HubMeasures(
            is_store_available=self.fault is None,
            n_published=self._rooms.n_published,
            n_repeated=self._n_repeated,
            n_failed_commits=self._commit_fault.n_failed,
            n_pending=self._committer.n_pending,
            n_rooms=self._rooms.counts["rooms"],
            n_members=self._presence.roster.n_members,
            readers=readers,
            commit=self._committer.durations.read(),
            fanout=self._rooms.fanout,
            webhooks=self.webhooks.table.measure(),
        )

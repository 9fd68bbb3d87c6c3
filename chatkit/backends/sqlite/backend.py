"""SqliteBackend: rooms in one file, for the processes of one machine.

Each of its threads has its own connection, so that no kind of work waits for another: one thread writes; one reads
pages and presence, which are short reads; one lists rooms and plans trims; two search; one makes checkpoints, which
move the write-ahead log into the file; and one reads for an index, if there is one. The other modules of this package
hold the work of each thread.
"""

import asyncio
import sqlite3
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from chatkit.backends.notifications import NotificationQueue
from chatkit.backends.presence import RemotePresence
from chatkit.backends.sqlite.checkpoint import Checkpointer
from chatkit.backends.sqlite.connection import ConnectionThread, Do
from chatkit.backends.sqlite.file import SqliteFile
from chatkit.backends.sqlite.indexer import Indexer
from chatkit.backends.sqlite.listener import SqliteListener
from chatkit.backends.sqlite.presence import announce, insert_typing, read_presence
from chatkit.backends.sqlite.reader import find_rooms, read_heads, read_page, read_rooms
from chatkit.backends.sqlite.records import get_record, put_record, read_record_changes, scan_records
from chatkit.backends.sqlite.relations import has_reaction
from chatkit.backends.sqlite.schema import Synchronous, open_checkpointer, open_reader
from chatkit.backends.sqlite.trimming import plan_trim, take_step
from chatkit.backends.sqlite.unread import count_unread, read_mentions
from chatkit.backends.sqlite.writer import SqliteWriter
from chatkit.core.backend import (
    Backend,
    Filter,
    MentionPosition,
    Notification,
    Page,
    PresenceChange,
    RoomInfo,
    RoomUnread,
)
from chatkit.core.loading import check_load
from chatkit.core.model import Cursor, Draft, Head, Member, Message, Receipt
from chatkit.core.name_range import EVERY_NAME, NameRange
from chatkit.core.records import Record, RecordChanges

T = TypeVar("T")

SEARCH_THREADS = 2  # a long search leaves the other thread to the short ones


class SqliteBackend(Backend):
    """Rooms in the SQLite file at `path`, which only its owner can read.

    With `synchronous="normal"`, acknowledged messages survive a killed process; with `"full"`, also a power failure.
    `make_folder` is true if the folder belongs to chatkit: then it is created if it is missing, and made private. If
    `make` is false and the path holds no store, opening the backend raises `NotAStore`. With `indexes`, messages are
    indexed for searches in the background.
    """

    shared = True

    def __init__(
        self,
        path: Path,
        *,
        synchronous: Synchronous = "normal",
        make: bool = True,
        make_folder: bool = False,
        indexes: bool = False,
    ) -> None:
        self.path = path
        self._file = SqliteFile(path, make_folder=make_folder)
        on_damage = self._file.report_damage
        self._pages = ConnectionThread("pages", path, partial(open_reader, path), on_damage=on_damage)
        self._searches = [
            ConnectionThread(f"search-{n}", path, partial(open_reader, path), on_damage=on_damage)
            for n in range(SEARCH_THREADS)
        ]
        self._checkpointer = Checkpointer()
        self._checkpoints = ConnectionThread(
            "checkpoints", path, partial(open_checkpointer, path), self._checkpointer.tick, on_damage=on_damage
        )
        self._listener = SqliteListener(self._file, self._notify)
        self._writer = SqliteWriter(
            self._file, self._listener, self._checkpointer, self._checkpoints, synchronous=synchronous, make=make
        )
        self._scans = ConnectionThread("scans", path, partial(open_reader, path), on_damage=on_damage)
        self._index_thread = ConnectionThread("index", path, partial(open_reader, path), on_damage=on_damage)
        self.indexer = Indexer(self._index_thread, self._writer) if indexes else None
        self._notifications = NotificationQueue()
        # Held while the first watch reads the state of the store, so that no second watch returns before that is done.
        self._watch_lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._remote_presence: dict[str, RemotePresence] = defaultdict(RemotePresence)  # by the process that polls
        self._loop: asyncio.AbstractEventLoop

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            stack.callback(self._notifications.close)
            stack.callback(self._file.close)
            stack.callback(self._writer.write_mark)
            # The writer is opened first, because it creates the store, and closed last: the last connection that is
            # closed makes the final checkpoint.
            threads = [self._writer.thread, self._checkpoints, self._pages, self._scans, *self._searches]
            if self.indexer is not None:
                threads.append(self._index_thread)
            for thread in threads:
                stack.push_async_callback(thread.close)
                await thread.open()
            # A killed process may have left redacted bodies in the write-ahead log.
            self._checkpoints.post(self._checkpointer.empty)
            self._writer.thread.post(self._writer.remove_all_deleted)  # a killed process may have left some
            if self.indexer is not None:
                stack.push_async_callback(_cancel, asyncio.create_task(self.indexer.run()))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _notify(self, notifications: list[Notification]) -> None:
        with suppress(RuntimeError):  # the event loop was closed before the backend: nobody reads the queue any more
            self._loop.call_soon_threadsafe(self._notifications.put, notifications)

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        receipts = self._writer.append_in_loop(drafts)
        if receipts is None:
            receipts = await self._writer.run(lambda _: self._writer.append(drafts))
        return receipts

    async def read(
        self,
        room: str,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int = 100,
        where: Filter | None = None,
        folded: bool = False,
    ) -> Page:
        def do(connection: sqlite3.Connection) -> Page:
            return read_page(
                connection,
                self._writer.epoch,
                room,
                after=after,
                before=before,
                limit=limit,
                where=where,
                folded=folded,
            )

        if where is None or where == Filter():
            return await self._pages.run(do)
        return await self._search(do)

    async def find_rooms(self, rooms: Sequence[str], where: Filter) -> Collection[str]:
        return await self._search(lambda connection: find_rooms(connection, rooms, where))

    async def _search(self, do: Do[T]) -> T:
        thread = min(self._searches, key=lambda thread: thread.n_calls)
        return await thread.run_interruptibly(do)

    def change_mark(self) -> int | None:
        return self._scans.data_version()  # `_pages` is busy when many clients read at the same time

    async def rooms(self, *, start: str = "", end: str | None = None, limit: int | None = None) -> list[RoomInfo]:
        thread = self._scans if limit is None else self._pages
        return await thread.run_interruptibly(
            lambda connection: read_rooms(connection, self._writer.epoch, start, end, limit)
        )

    async def heads(self, rooms: Collection[str]) -> dict[str, Head]:
        return await self._scans.run_interruptibly(lambda connection: read_heads(connection, self._writer.epoch, rooms))

    async def redact(self, room: str, seq: int) -> Message:
        return await self._writer.run(lambda _: self._writer.redact(room, seq))

    async def has_reaction(self, room: str, seq: int, emoji: str, sender: str) -> bool:
        return await self._pages.run(lambda connection: has_reaction(connection, room, seq, emoji, sender))

    async def read_mentions(
        self,
        name: str,
        *,
        within: Sequence[NameRange] = (EVERY_NAME,),
        before: MentionPosition | None = None,
        limit: int = 100,
    ) -> Sequence[Message]:
        return await self._scans.run_interruptibly(
            lambda connection: read_mentions(
                connection, self._writer.epoch, name, within=within, before=before, limit=limit
            )
        )

    async def count_unread(self, name: str, markers: Mapping[str, int], *, limit: int = 1_000) -> Sequence[RoomUnread]:
        return await self._scans.run_interruptibly(lambda connection: count_unread(connection, name, markers, limit))

    async def trim(self, room: str | None = None, *, keep: int | None = None, before_ms: int | None = None) -> int:
        plan = await self._scans.run_interruptibly(lambda connection: plan_trim(connection, room, keep, before_ms))
        dropped = 0
        ends: dict[int, int] = {}  # the last number that was dropped in each room
        while plan:  # one call for each step: waiting appends run in between
            step = await self._scans.run(lambda connection: take_step(connection, plan))
            dropped += await self._writer.run(partial(self._writer.drop, step))
            ends.update(step.rooms)
            await self._writer.wait_for_checkpoint()
        rooms = deque(ends.items())
        while rooms:
            await self._writer.run(partial(self._writer.drop_senders, rooms))
        return dropped

    async def watch(self, room: str) -> None:
        async with self._watch_lock:
            if not self._listener.is_polling:
                self._listener.is_polling = True  # before the call: the writer checks it when the call has ended
                try:
                    await self._writer.thread.run(lambda _: self._listener.start())
                except BaseException:
                    self._listener.is_polling = False
                    raise
            self._listener.watched.add(room)

    async def unwatch(self, room: str) -> None:
        watched = self._listener.watched
        if room in watched:  # otherwise another call's first watch may be in progress, which needs the polling
            watched.remove(room)
            self._listener.is_polling = bool(watched)

    async def get_record(self, kind: str, key: str) -> Record | None:
        return await self._pages.run(lambda connection: get_record(connection, kind, key))

    async def put_record(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Record:
        put = partial(put_record, kind=kind, key=key, value=value, expected_version=expected_version)
        return await self._writer.change(put, n_bytes=len(value or b""))

    async def scan_records(self, kind: str, prefix: str = "") -> Sequence[Record]:
        return await self._scans.run_interruptibly(lambda connection: scan_records(connection, kind, prefix))

    async def record_changes(self, after: Cursor | None) -> RecordChanges:
        return await self._pages.run(lambda connection: read_record_changes(connection, self._writer.epoch, after))

    async def delete_room(self, room: str) -> bool:
        is_deleted = await self._writer.run(lambda _: self._writer.delete_room(room))
        try:
            while is_deleted and await self._writer.run(self._writer.remove_deleted):
                await self._writer.wait_for_checkpoint()  # one call for each step: waiting appends run in between
        except BaseException:
            self._writer.thread.post(self._writer.remove_all_deleted)
            raise
        return is_deleted

    async def rename_room(self, room: str, new: str) -> bool:
        return await self._writer.run(lambda _: self._writer.rename_room(room, new))

    async def load(self, messages: Sequence[Message]) -> int:
        check_load(messages)
        return await self._writer.run(lambda _: self._writer.load(messages)) if messages else 0

    def notifications(self) -> AsyncIterator[Notification]:
        return self._notifications.read()

    async def typing(self, room: str, sender: str) -> None:
        await self._writer.change(partial(insert_typing, process=self._listener.process, room=room, sender=sender))

    async def announce(
        self, process: str, *, joined: Sequence[tuple[str, Member]], left: Sequence[tuple[str, Member]], ttl_s: float
    ) -> None:
        await self._writer.change(partial(announce, process=process, joined=joined, left=left, ttl_s=ttl_s))

    async def poll_presence(self, process: str) -> list[PresenceChange]:
        now_ms = time.time_ns() // 1_000_000
        remote = self._remote_presence[process]
        known = remote.known  # read here: only the event loop may touch `remote`
        return remote.update(
            await self._pages.run_interruptibly(lambda connection: read_presence(connection, process, known, now_ms))
        )


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

"""SqliteBackend: rooms in one file, for the processes of one machine.

Four threads, each with its own connection, so that none waits for another: the writer, pages, searches, and the keeper,
who moves the write-ahead log into the file. What they do is in the modules beside this one; here is who does it.

A small batch that needs no sync of the disk takes a few dozen microseconds, less than handing it to a thread and back:
while the writer is idle, it is committed where it came from, in the event loop.
"""

# ruff: noqa: D102 - what each method means is said once, in Backend

import asyncio
import sqlite3
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from chatkit.backends.notifications import NotificationQueue
from chatkit.backends.presence import RemotePresence
from chatkit.backends.sqlite.checkpoint import Checkpointer
from chatkit.backends.sqlite.connection import ConnectionThread, Do
from chatkit.backends.sqlite.listener import SqliteListener
from chatkit.backends.sqlite.presence import announce, read_present, tell_typing
from chatkit.backends.sqlite.reader import plan_trim, read_page, read_rooms
from chatkit.backends.sqlite.schema import (
    Synchronous,
    as_ours,
    is_busy,
    open_keeper,
    open_reader,
    open_writer,
    until_free,
)
from chatkit.backends.sqlite.writer import SqliteWriter
from chatkit.core.backend import Backend, Filter, Notification, Page, PresenceChange, RoomInfo
from chatkit.core.model import Draft, Member, Message, Receipt

T = TypeVar("T")

MAX_DRAFTS_HERE = 256  # some 400 microseconds; what is more, the event loop does not do by itself
SLOW_S = 0.01  # a commit that took longer waited for the disk: the writer's thread does that
SLOW_REST_S = 5.0  # and the next ones, for so long


class SqliteBackend(Backend):
    """Rooms in the SQLite file at `path`.

    With `synchronous="normal"` what was acknowledged survives a killed process; with `"full"` a power cut, too.
    """

    shared = True

    def __init__(self, path: Path, *, synchronous: Synchronous = "normal", make_folder: bool = False) -> None:
        self._path = path
        # Where every commit syncs the disk, none is the event loop's. Later: while the disk has shown to be slow.
        self._slow_until_s = 0.0 if synchronous == "normal" else inf
        self._writer = ConnectionThread(
            "writer", path, partial(self._open_writer, synchronous, make_folder), self._tick
        )
        self._pages = ConnectionThread("pages", path, partial(open_reader, path))
        self._searches = ConnectionThread("searches", path, partial(open_reader, path))
        self._keeping = ConnectionThread("keeper", path, partial(open_keeper, path))
        self._keeper = Checkpointer()
        self._inbox = NotificationQueue()
        # Held while the first watch takes stock, so that no second one returns before that is done.
        self._watch_lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._others: dict[str, RemotePresence] = defaultdict(RemotePresence)  # by the process that asks
        self._loop: asyncio.AbstractEventLoop
        self._log: SqliteWriter  # whoever's who has the writer's connection
        self._watch: SqliteListener  # likewise, but for what it says is the loop's

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            stack.callback(self._inbox.close)
            # The writer first, for it makes the store; closed last, so that the last connection's checkpoint is its.
            for lane in (self._writer, self._keeping, self._pages, self._searches):
                stack.push_async_callback(lane.close)
                await lane.open()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        receipts = self._append_here(drafts)
        return await self._write(partial(self._append, drafts)) if receipts is None else receipts

    def _append_here(self, drafts: Sequence[Draft]) -> list[Receipt] | None:
        """Commit at once, in the loop; None if that could make the loop wait, or another process has the lock."""
        began_s = time.perf_counter()
        if len(drafts) > MAX_DRAFTS_HERE or began_s < self._slow_until_s or self._keeper.is_sync_due:
            return None
        try:
            receipts = self._writer.try_here(partial(self._append, drafts))
        except sqlite3.Error as error:
            if is_busy(error):
                return None
            raise as_ours(error, self._path) from error
        took_s = time.perf_counter() - began_s
        if took_s > SLOW_S:
            self._slow_until_s = began_s + took_s + SLOW_REST_S
        return receipts

    async def _write(self, do: Do[T]) -> T:
        """Have the writer do it, as soon as no other process has the lock."""
        return await self._writer.run(lambda connection: until_free(lambda: do(connection)))

    async def read(
        self,
        room: str,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int = 100,
        where: Filter | None = None,
    ) -> Page:
        def do(connection: sqlite3.Connection) -> Page:
            return read_page(connection, self._log.epoch, room, after=after, before=before, limit=limit, where=where)

        if where is None or where == Filter():
            return await self._pages.run(do)
        return await self._searches.run_interruptibly(do)

    async def rooms(self) -> list[RoomInfo]:
        return await self._searches.run_interruptibly(lambda connection: read_rooms(connection, self._log.epoch))

    async def redact(self, room: str, seq: int) -> Message:
        return await self._write(lambda _: self._redact(room, seq))

    async def trim(self, room: str | None = None, *, keep: int | None = None, before_ms: int | None = None) -> int:
        steps = await self._searches.run_interruptibly(lambda connection: plan_trim(connection, room, keep, before_ms))
        dropped = 0
        for step in steps:  # one call each: the appends that wait go in between
            dropped += await self._write(partial(self._drop, step))
        return dropped

    async def watch(self, room: str) -> None:
        async with self._watch_lock:
            if not self._watch.is_polling:
                self._watch.is_polling = True  # before the call: the writer looks at it when the call is done
                try:
                    await self._writer.run(lambda _: self._watch.start())
                except BaseException:
                    self._watch.is_polling = False
                    raise
            self._watch.watched.add(room)

    async def unwatch(self, room: str) -> None:
        watched = self._watch.watched
        if room in watched:  # else another's first watch may be under way, whose polling must go on
            watched.remove(room)
            self._watch.is_polling = bool(watched)

    def notifications(self) -> AsyncIterator[Notification]:
        return self._inbox.read()

    async def typing(self, room: str, sender: str) -> None:
        await self._write(partial(tell_typing, process=self._watch.process, room=room, sender=sender))

    async def announce(
        self, process: str, *, joined: Sequence[tuple[str, Member]], left: Sequence[tuple[str, Member]], ttl_s: float
    ) -> None:
        await self._write(partial(announce, process=process, joined=joined, left=left, ttl_s=ttl_s))

    async def poll_presence(self, process: str) -> list[PresenceChange]:
        now_ms = time.time_ns() // 1_000_000
        others = self._others[process]
        known = others.known  # of this moment; what is taken is the loop's
        return others.take(
            await self._searches.run_interruptibly(lambda connection: read_present(connection, process, known, now_ms))
        )

    # What follows runs in the writer's thread, or where that is idle, in the event loop's.

    def _open_writer(self, synchronous: Synchronous, make_folder: bool) -> sqlite3.Connection:  # noqa: FBT001
        connection, epoch = open_writer(self._path, synchronous, make_folder=make_folder)
        self._log = SqliteWriter(connection, epoch)
        self._watch = SqliteListener(connection, self._path, epoch, self._tell)
        return connection

    def _tick(self) -> float | None:
        return self._watch.tick()

    def _tell(self, news: list[Notification]) -> None:
        with suppress(RuntimeError):  # the loop was closed without leaving the backend: nobody reads any more
            self._loop.call_soon_threadsafe(self._inbox.put, news)

    def _append(self, drafts: Sequence[Draft], _: sqlite3.Connection) -> list[Receipt]:
        receipts = self._log.append(drafts)
        self._keeper.is_sync_due = False
        if self._watch.is_polling:
            self._watch.appended(self._log.last_id, sum(not receipt.repeat for receipt in receipts))
        if self._keeper.appended(drafts):
            self._keeping.post(self._keeper.checkpoint)
        return receipts

    def _redact(self, room: str, seq: int) -> Message:
        message = self._log.redact(room, seq)
        self._keeping.post(self._keeper.empty)  # the body is in the write-ahead log still
        if self._watch.is_polling:
            self._watch.poll()
        return message

    def _drop(self, step: list[tuple[int, int]], _: sqlite3.Connection) -> int:
        dropped = self._log.drop(step)
        if self._keeper.dropped(dropped):
            self._keeping.post(self._keeper.checkpoint)
        return dropped

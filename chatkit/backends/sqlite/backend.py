"""SqliteBackend: rooms in one file, for the processes of one machine.

Each thread has its own connection, so that none waits for another: one writes; one reads pages and presence, which are
short; one lists rooms and plans trims; two search; and one makes checkpoints, which move the write-ahead log into the
file. The modules beside this one hold what they do.
"""

# ruff: noqa: D102 - what each method means is said once, in Backend

import asyncio
import sqlite3
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from chatkit.backends.notifications import NotificationQueue
from chatkit.backends.presence import RemotePresence
from chatkit.backends.sqlite.checkpoint import Checkpointer
from chatkit.backends.sqlite.connection import ConnectionThread
from chatkit.backends.sqlite.file import StoreFile
from chatkit.backends.sqlite.listener import StoreListener
from chatkit.backends.sqlite.presence import announce, read_present, tell_typing
from chatkit.backends.sqlite.reader import plan_trim, read_page, read_rooms
from chatkit.backends.sqlite.schema import Synchronous, open_checkpointer, open_reader
from chatkit.backends.sqlite.writer import Writer
from chatkit.core.backend import Backend, Filter, Notification, Page, PresenceChange, RoomInfo
from chatkit.core.model import Draft, Member, Message, Receipt

SEARCHING = 2  # threads for searches: a long one leaves the other to the short ones


class SqliteBackend(Backend):
    """Rooms in the SQLite file at `path`, which only its owner can read.

    With `synchronous="normal"` what was acknowledged survives a killed process; with `"full"` a power cut, too. With
    `make_folder`, the folder is chatkit's own: it is made where there is none, and private. Without `make`, a path
    where there is no store is an error.
    """

    shared = True

    def __init__(
        self, path: Path, *, synchronous: Synchronous = "normal", make: bool = True, make_folder: bool = False
    ) -> None:
        self._file = StoreFile(path, make_folder=make_folder)
        damaged = self._file.report_damage
        self._pages = ConnectionThread("pages", path, partial(open_reader, path), on_damage=damaged)
        self._searches = [
            ConnectionThread(f"search-{n}", path, partial(open_reader, path), on_damage=damaged)
            for n in range(SEARCHING)
        ]
        self._checkpointer = Checkpointer()
        self._checkpoints = ConnectionThread(
            "checkpoints", path, partial(open_checkpointer, path), self._checkpointer.tick, on_damage=damaged
        )
        self._listener = StoreListener(self._file, self._notify)
        self._writer = Writer(
            self._file, self._listener, self._checkpointer, self._checkpoints, synchronous=synchronous, make=make
        )
        self._surveys = ConnectionThread("surveys", path, partial(open_reader, path), on_damage=damaged)
        self._inbox = NotificationQueue()
        # Held while the first watch takes stock, so that no second one returns before that is done.
        self._watch_lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._others: dict[str, RemotePresence] = defaultdict(RemotePresence)  # by the process that asks
        self._loop: asyncio.AbstractEventLoop

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            stack.callback(self._inbox.close)
            stack.callback(self._file.close)
            stack.callback(self._writer.mark)
            # The writer first, for it makes the store; closed last, so that the last connection's checkpoint is its.
            threads = (self._writer.thread, self._checkpoints, self._pages, self._surveys, *self._searches)
            for thread in threads:
                stack.push_async_callback(thread.close)
                await thread.open()
            self._checkpoints.post(self._checkpointer.empty)  # a killed process may have left redacted bodies there
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _notify(self, news: list[Notification]) -> None:
        with suppress(RuntimeError):  # the loop was closed without leaving the backend: nobody reads any more
            self._loop.call_soon_threadsafe(self._inbox.put, news)

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        receipts = self._writer.append_here(drafts)
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
    ) -> Page:
        def do(connection: sqlite3.Connection) -> Page:
            return read_page(connection, self._writer.epoch, room, after=after, before=before, limit=limit, where=where)

        if where is None or where == Filter():
            return await self._pages.run(do)
        lane = min(self._searches, key=lambda lane: lane.n_calls)
        return await lane.run_interruptibly(do)

    async def rooms(self) -> list[RoomInfo]:
        return await self._surveys.run_interruptibly(lambda connection: read_rooms(connection, self._writer.epoch))

    async def redact(self, room: str, seq: int) -> Message:
        return await self._writer.run(lambda _: self._writer.redact(room, seq))

    async def trim(self, room: str | None = None, *, keep: int | None = None, before_ms: int | None = None) -> int:
        steps = await self._surveys.run_interruptibly(lambda connection: plan_trim(connection, room, keep, before_ms))
        dropped = 0
        for step in steps:  # one call each: the appends that wait go in between
            dropped += await self._writer.run(partial(self._writer.drop, step))
        return dropped

    async def watch(self, room: str) -> None:
        async with self._watch_lock:
            if not self._listener.is_polling:
                self._listener.is_polling = True  # before the call: the writer looks at it when the call is done
                try:
                    await self._writer.thread.run(lambda _: self._listener.start())
                except BaseException:
                    self._listener.is_polling = False
                    raise
            self._listener.watched.add(room)

    async def unwatch(self, room: str) -> None:
        watched = self._listener.watched
        if room in watched:  # else another's first watch may be under way, whose polling must go on
            watched.remove(room)
            self._listener.is_polling = bool(watched)

    def notifications(self) -> AsyncIterator[Notification]:
        return self._inbox.read()

    async def typing(self, room: str, sender: str) -> None:
        await self._writer.run(partial(tell_typing, process=self._listener.process, room=room, sender=sender))

    async def announce(
        self, process: str, *, joined: Sequence[tuple[str, Member]], left: Sequence[tuple[str, Member]], ttl_s: float
    ) -> None:
        await self._writer.run(partial(announce, process=process, joined=joined, left=left, ttl_s=ttl_s))

    async def poll_presence(self, process: str) -> list[PresenceChange]:
        now_ms = time.time_ns() // 1_000_000
        others = self._others[process]
        known = others.known  # of this moment; what is taken is the loop's
        return others.update(
            await self._pages.run_interruptibly(lambda connection: read_present(connection, process, known, now_ms))
        )

"""PostgresBackend: rooms in a schema of a PostgreSQL database, for processes on many machines.

A batch is one statement, and so one transaction and one round trip: see `append` in migrations/8.sql. Each room is
numbered under the lock of its own row. The other processes are notified after the commit (notifier.py). One connection
listens (listener.py); each of the others executes one statement at a time.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Self

import asyncpg

from chatkit.backends.notifications import NotificationQueue
from chatkit.backends.postgres.connection import (
    Connect,
    ConnectionPool,
    PostgresConnection,
    PostgresEndpoint,
    close_connection,
)
from chatkit.backends.postgres.errors import DRIVER_ERRORS, to_chatkit_error
from chatkit.backends.postgres.listener import PostgresListener, RoomHeads, compare_heads
from chatkit.backends.postgres.notifications import encode_typing
from chatkit.backends.postgres.notifier import PostgresNotifier
from chatkit.backends.postgres.page_statement import BEYOND
from chatkit.backends.postgres.presence import OwnPresence, PresencePoller
from chatkit.backends.postgres.reader import find_rooms, plan_trim, read_heads, read_page, read_rooms
from chatkit.backends.postgres.records import PostgresRecords
from chatkit.backends.postgres.schema import PostgresSchema
from chatkit.backends.postgres.unread import count_unread, has_reaction, read_mentions
from chatkit.backends.postgres.writer import TIMEOUT_S, PostgresWriter
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
from chatkit.core.model import Cursor, Draft, Head, Member, Message, Receipt
from chatkit.core.name_range import EVERY_NAME, NameRange
from chatkit.core.records import Record, RecordChanges
from chatkit.errors import BadBackendURL

DEFAULT_SCHEMA = "chatkit"
DEFAULT_POOL = 4  # connections for pages, presence and the like; opened as they are needed
DEFAULT_CACHED_STATEMENTS = 100  # the driver's default
APPEND_CONNECTIONS = 2  # one appends while the other notifies
SEARCH_CONNECTIONS = 2  # separate, so that searches delay no pages; few, so that they do not overload the database
SCAN_CONNECTIONS = 1  # the list of rooms and the plan of a trim must not wait for searches
LONG_S = 30.0  # the time-out of calls that may read all of a room, or all rooms

# The server's time-outs are a little shorter than the client's, so that a failed statement is known to have done
# nothing. A batch may be large: its time-out on the server is for locks only.
_APPEND_SETTINGS = "SET lock_timeout = '4s';"
_SHORT_SETTINGS = "SET statement_timeout = '4500ms'; SET lock_timeout = '4s';"
# A search is planned for its values, because they decide whether the index is useful.
_LONG_SETTINGS = "SET statement_timeout = '29s'; SET plan_cache_mode = force_custom_plan;"


class PostgresBackend(Backend):
    """Rooms in the schema `schema` of the database that `dsn` names. `display_url` names the database in errors.

    If `connect` is given, it opens the connections instead of the dsn; the backend closes them. Acknowledged messages
    are as durable as the server's `synchronous_commit` promises. If `make` is false and the database has no such
    schema, opening the backend raises `NotAStore`.
    """

    shared = True

    def __init__(
        self,
        dsn: str,
        *,
        display_url: str = "postgresql://",
        schema: str = DEFAULT_SCHEMA,
        pool: int = DEFAULT_POOL,
        cached_statements: int = DEFAULT_CACHED_STATEMENTS,
        connect: Connect | None = None,
        make: bool = True,
    ) -> None:
        self._endpoint = (
            PostgresEndpoint(connect, display_url)
            if connect
            else PostgresEndpoint.of(dsn, display_url, cached_statements=cached_statements)
        )
        self._schema = PostgresSchema(schema, display_url, make)
        self._process = secrets.token_hex(6)
        self._appends = ConnectionPool(self._endpoint, APPEND_CONNECTIONS, settings=_APPEND_SETTINGS)
        self._pages = ConnectionPool(self._endpoint, pool, settings=_SHORT_SETTINGS)
        self._searches = ConnectionPool(self._endpoint, SEARCH_CONNECTIONS, settings=_LONG_SETTINGS)
        self._scans = ConnectionPool(self._endpoint, SCAN_CONNECTIONS, settings=_LONG_SETTINGS)
        self._notifications = NotificationQueue()
        self._listener = PostgresListener(
            self._endpoint, self._schema, self._process, self._notifications, self._read_heads
        )
        self._notifier = PostgresNotifier(self._schema, self._process, self._appends, self._listener.count_writers)
        self._writer = PostgresWriter(self._schema, self._appends, self._pages, self._listener, self._notifier)
        self._records = PostgresRecords(self._schema, self._pages)
        self._own_presence: dict[str, OwnPresence] = defaultdict(OwnPresence)  # by the process that announces
        self._pollers: dict[str, PresencePoller] = defaultdict(PresencePoller)  # by the process that polls
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self._notifications.close)
            for pool in (self._scans, self._searches, self._pages, self._appends):
                stack.push_async_callback(pool.close)
                pool.repair_with(self._schema.open)
            is_purge_due = await self._open_schema()
            stack.push_async_callback(self._listener.close)
            await self._listener.open()
            stack.push_async_callback(self._notifier.close)
            self._notifier.open()
            stack.push_async_callback(self._writer.wait_idle)
            if is_purge_due:
                stack.push_async_callback(_cancel, asyncio.create_task(self._writer.purge()))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _open_schema(self) -> bool:
        """Open the schema on a connection without time-outs: it may have to wait for many other processes.

        Return whether rows of deleted rooms are left, because a process was killed while it deleted them.
        """
        try:
            async with asyncio.timeout(LONG_S):
                connection = await self._endpoint.connect()
                try:
                    await self._schema.open(connection)
                    return await self._writer.has_deleted(connection)
                finally:
                    await close_connection(connection)
        except DRIVER_ERRORS as error:
            display_url = self._schema.display_url
            if isinstance(error, ValueError) and not isinstance(error, asyncpg.PostgresError):
                raise BadBackendURL(f"{display_url}: {error}") from error  # the driver refused the arguments
            raise to_chatkit_error(error, display_url) from error

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        return await self._writer.append(drafts)

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
        async def do(connection: PostgresConnection) -> Page:
            return await read_page(
                connection,
                self._schema,
                room,
                after=after,
                before=before,
                limit=limit,
                where=where,
                folded=folded,
            )

        if where is None or where == Filter():
            page = await self._pages.run(do, timeout_s=TIMEOUT_S)
            self._listener.record_seen(room, page.head.epoch, page.head.last)
            return page
        return await self._searches.run(do, timeout_s=LONG_S)

    async def find_rooms(self, rooms: Sequence[str], where: Filter) -> Collection[str]:
        return await self._searches.run(
            partial(find_rooms, schema=self._schema, rooms=rooms, where=where), timeout_s=LONG_S
        )

    async def rooms(self, *, start: str = "", end: str | None = None, limit: int | None = None) -> list[RoomInfo]:
        return await self._scans.run(
            partial(read_rooms, schema=self._schema, start=start, end=end, limit=limit), timeout_s=LONG_S
        )

    async def heads(self, rooms: Collection[str]) -> dict[str, Head]:
        return await self._scans.run(partial(read_heads, schema=self._schema, rooms=rooms), timeout_s=LONG_S)

    async def redact(self, room: str, seq: int) -> Message:
        return await self._writer.redact(room, seq)

    async def has_reaction(self, room: str, seq: int, emoji: str, sender: str) -> bool:
        do = partial(has_reaction, schema=self._schema, room=room, seq=min(seq, BEYOND), emoji=emoji, sender=sender)
        return await self._pages.run(do, timeout_s=TIMEOUT_S)

    async def read_mentions(
        self,
        name: str,
        *,
        within: Sequence[NameRange] = (EVERY_NAME,),
        before: MentionPosition | None = None,
        limit: int = 100,
    ) -> Sequence[Message]:
        do = partial(read_mentions, schema=self._schema, name=name, within=within, before=before, limit=limit)
        return await self._pages.run(do, timeout_s=TIMEOUT_S)

    async def count_unread(self, name: str, markers: Mapping[str, int], *, limit: int = 1_000) -> Sequence[RoomUnread]:
        do = partial(count_unread, schema=self._schema, name=name, markers=markers, limit=limit)
        return await self._pages.run(do, timeout_s=TIMEOUT_S)

    async def trim(self, room: str | None = None, *, keep: int | None = None, before_ms: int | None = None) -> int:
        plan = partial(plan_trim, schema=self._schema, room=room, keep=keep, before_ms=before_ms)
        dropped = 0
        steps = await self._scans.run(plan, timeout_s=LONG_S)
        for step in steps:  # one call each: waiting appends run in between
            dropped += await self._writer.drop(step)
        await self._writer.drop_senders({name for step in steps for name in step.names})
        if room is None:
            await self._writer.purge()
        return dropped

    async def watch(self, room: str) -> None:
        # Also while disconnected: before Reconnected, every room that is watched then is compared with the database.
        self._listener.watched.add(room)

    async def unwatch(self, room: str) -> None:
        self._listener.unwatch(room)

    def notifications(self) -> AsyncIterator[Notification]:
        return self._notifications.read()

    async def typing(self, room: str, sender: str) -> None:
        self._notifier.send(encode_typing(self._process, room, sender))

    async def announce(
        self, process: str, *, joined: Sequence[tuple[str, Member]], left: Sequence[tuple[str, Member]], ttl_s: float
    ) -> None:
        own = self._own_presence[process]
        await self._pages.run(
            lambda connection: own.announce(connection, self._schema, process, joined=joined, left=left, ttl_s=ttl_s),
            timeout_s=TIMEOUT_S,
        )

    async def poll_presence(self, process: str) -> list[PresenceChange]:
        return await self._pollers[process].poll(self._pages, self._schema, process, TIMEOUT_S)

    async def get_record(self, kind: str, key: str) -> Record | None:
        return await self._records.get_record(kind, key)

    async def put_record(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Record:
        return await self._records.put_record(kind, key, value, expected_version=expected_version)

    async def scan_records(self, kind: str, prefix: str = "") -> Sequence[Record]:
        return await self._records.scan_records(kind, prefix)

    async def record_changes(self, after: Cursor | None) -> RecordChanges:
        return await self._records.record_changes(after)

    async def delete_room(self, room: str) -> bool:
        return await self._writer.delete_room(room)

    async def rename_room(self, room: str, new: str) -> bool:
        return await self._writer.rename_room(room, new)

    async def load(self, messages: Sequence[Message]) -> int:
        return await self._writer.load(messages)

    async def _read_heads(self, names: Sequence[str], redactions: int | None) -> RoomHeads:
        return await self._pages.run(
            lambda connection: compare_heads(connection, self._schema, names, redactions), timeout_s=TIMEOUT_S
        )


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])

"""PostgresBackend: rooms in a schema of a PostgreSQL database, for processes on many machines.

A batch is one statement, and so one transaction and one round trip: see `append` in migrations/1.sql. Each room is
numbered under its own row's lock. One connection listens (listener.py); each of the others serves one statement at a
time.
"""

# ruff: noqa: D102 - what each method means is said once, in Backend

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
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
from chatkit.backends.postgres.errors import DRIVER_ERRORS, as_ours
from chatkit.backends.postgres.listener import PostgresListener, RoomHeads, read_heads
from chatkit.backends.postgres.notifications import encode_typing
from chatkit.backends.postgres.presence import OwnPresence, PresencePoller
from chatkit.backends.postgres.reader import BEYOND, drop, plan_trim, read_page, read_rooms
from chatkit.backends.postgres.schema import PostgresSchema
from chatkit.backends.postgres.writer import Batch, count_chars
from chatkit.core.backend import Backend, Filter, Notification, Page, PresenceChange, RoomInfo
from chatkit.core.in_flight import InFlight
from chatkit.core.model import Draft, Member, Message, Receipt
from chatkit.errors import BadBackendURL, NotFound

DEFAULT_SCHEMA = "chatkit"
DEFAULT_POOL = 4  # connections for pages and the like; made as they are needed
DEFAULT_CACHED_STATEMENTS = 100  # the driver's own
APPENDING = 2  # connections: one is on its way while the next batch is made ready
SEARCHING = 2  # connections: what takes long must not hold up pages, nor many of it the database
SURVEYING = 1  # connection: the list of rooms, and what a trim plans, must not wait for searches
TIMEOUT_S = 5.0  # a database that works answers in milliseconds
LONG_S = 30.0  # for what may look at all of a room, or at all rooms
CHARS_A_SECOND = 5_000_000  # a large batch may take longer than the time-out by so much

# The server gives up a little before we do: so it is known that nothing was done. A batch may be large: it has a limit
# of its own only for its locks.
_APPENDS = "SET lock_timeout = '4s';"
_SHORT = "SET statement_timeout = '4500ms'; SET lock_timeout = '4s';"
# A search is planned for what it asks: what the index is good for depends on it.
_LONG = "SET statement_timeout = '29s'; SET plan_cache_mode = force_custom_plan;"

_APPEND = "SELECT * FROM {schema}.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
_REDACT = "SELECT * FROM {schema}.redact($1, $2)"
# A notice that may be lost need not wait for the disk.
_TYPING = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)"


class PostgresBackend(Backend):
    """Rooms in the schema `schema` of the database that `dsn` names; `place` is what errors call it.

    With `connect`, connections are made by that in place of the dsn; they are then this backend's to close. What was
    acknowledged is as durable as the server's `synchronous_commit` promises. Without `make`, a database that holds no
    such schema is an error.
    """

    shared = True

    def __init__(
        self,
        dsn: str,
        *,
        place: str = "postgresql://",
        schema: str = DEFAULT_SCHEMA,
        pool: int = DEFAULT_POOL,
        cached_statements: int = DEFAULT_CACHED_STATEMENTS,
        connect: Connect | None = None,
        make: bool = True,
    ) -> None:
        self._server = (
            PostgresEndpoint(connect, place)
            if connect
            else PostgresEndpoint.of(dsn, place, cached_statements=cached_statements)
        )
        self._store = PostgresSchema(schema, place, make)
        self._process = secrets.token_hex(6)
        self._appending = ConnectionPool(self._server, APPENDING, settings=_APPENDS)
        self._pages = ConnectionPool(self._server, pool, settings=_SHORT)
        self._searches = ConnectionPool(self._server, SEARCHING, settings=_LONG)
        self._surveys = ConnectionPool(self._server, SURVEYING, settings=_LONG)
        self._inbox = NotificationQueue()
        self._watch = PostgresListener(self._server, self._store, self._process, self._inbox, self._read_heads)
        self._here: dict[str, OwnPresence] = defaultdict(OwnPresence)
        self._asking: dict[str, PresencePoller] = defaultdict(PresencePoller)
        self._appends = InFlight()  # leaving waits for them
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self._inbox.close)
            for pool in (self._surveys, self._searches, self._pages, self._appending):
                stack.push_async_callback(pool.close)
                pool.heal_with(self._store.open)
            await self._make_store()
            stack.push_async_callback(self._watch.close)
            await self._watch.open()
            stack.push_async_callback(self._appends.wait_idle)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _make_store(self) -> None:
        """Open the schema, on a connection of its own: with many processes coming, its turn may be long in coming."""
        try:
            async with asyncio.timeout(LONG_S):
                connection = await self._server.connect()
                try:
                    await self._store.open(connection)
                finally:
                    await close_connection(connection)
        except DRIVER_ERRORS as error:
            if isinstance(error, ValueError) and not isinstance(error, asyncpg.PostgresError):
                raise BadBackendURL(f"{self._store.place}: {error}") from error  # the driver could not even try
            raise as_ours(error, self._store.place) from error

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        if not drafts:
            return []
        with self._appends:
            return await self._append(Batch(drafts))

    async def _append(self, batch: Batch) -> list[Receipt]:
        statement, values = self._store.fill_in(_APPEND), batch.values()
        timeout_s = TIMEOUT_S + count_chars(values) / CHARS_A_SECOND
        tag = self._watch.own.begin()
        try:
            row = await self._appending.run(
                lambda connection: connection.fetchrow(statement, self._process, tag, *values), timeout_s=timeout_s
            )
            receipts = batch.receipts(*row.values()) if row is not None else []
        except BaseException:
            # It may have been committed all the same: then those who read here are to hear of it as others are.
            self._watch.tell(self._watch.own.doubt(tag))
            raise
        self._watch.own.settle(tag)
        for message in {receipt.message.room: receipt.message for receipt in receipts}.values():
            self._watch.saw(message.room, message.epoch, message.seq)
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
        async def do(connection: PostgresConnection) -> Page:
            return await read_page(connection, self._store, room, after=after, before=before, limit=limit, where=where)

        if where is None or where == Filter():
            page = await self._pages.run(do, timeout_s=TIMEOUT_S)
            self._watch.saw(room, page.head.epoch, page.head.last)
            return page
        return await self._searches.run(do, timeout_s=LONG_S)

    async def rooms(self) -> list[RoomInfo]:
        return await self._surveys.run(partial(read_rooms, store=self._store), timeout_s=LONG_S)

    async def redact(self, room: str, seq: int) -> Message:
        statement = self._store.fill_in(_REDACT)
        seq = min(seq, BEYOND)
        row = await self._pages.run(lambda connection: connection.fetchrow(statement, room, seq), timeout_s=TIMEOUT_S)
        if row is None:
            raise NotFound(f"there is no message {seq} in {room!r}")
        return Message(room, row["epoch"], seq, row["time_ms"], row["sender"], "", None, row["key"], redacted=True)

    async def trim(self, room: str | None = None, *, keep: int | None = None, before_ms: int | None = None) -> int:
        plan = partial(plan_trim, store=self._store, room=room, keep=keep, before_ms=before_ms)
        dropped = 0
        for step in await self._surveys.run(plan, timeout_s=LONG_S):  # one each: the appends that wait go in between
            dropped += await self._pages.run(partial(drop, store=self._store, step=step), timeout_s=TIMEOUT_S)
        return dropped

    async def watch(self, room: str) -> None:
        # While the link is broken, too: before it is mended, every room that is watched then will have been looked at.
        self._watch.watched.add(room)

    async def unwatch(self, room: str) -> None:
        self._watch.forget(room)

    def notifications(self) -> AsyncIterator[Notification]:
        return self._inbox.read()

    async def typing(self, room: str, sender: str) -> None:
        payload = encode_typing(self._process, room, sender)
        await self._pages.run(
            lambda connection: connection.execute(_TYPING, self._store.channel, payload), timeout_s=TIMEOUT_S
        )

    async def announce(
        self, process: str, *, joined: Sequence[tuple[str, Member]], left: Sequence[tuple[str, Member]], ttl_s: float
    ) -> None:
        here = self._here[process]
        await self._pages.run(
            lambda connection: here.announce(connection, self._store, process, joined=joined, left=left, ttl_s=ttl_s),
            timeout_s=TIMEOUT_S,
        )

    async def poll_presence(self, process: str) -> list[PresenceChange]:
        return await self._asking[process].ask(self._pages, self._store, process, TIMEOUT_S)

    async def _read_heads(self, names: Sequence[str], redactions: int | None) -> RoomHeads:
        return await self._pages.run(
            lambda connection: read_heads(connection, self._store, names, redactions), timeout_s=TIMEOUT_S
        )

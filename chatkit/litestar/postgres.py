"""Channels in PostgreSQL, under the names and parameters of Litestar's backends. The driver is asyncpg for both."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, overload
from urllib.parse import parse_qsl, quote, urlencode

from litestar.exceptions import ImproperlyConfiguredException

from chatkit.backends.postgres import PostgresBackend
from chatkit.backends.postgres.backend import TIMEOUT_S
from chatkit.backends.postgres.reader import TRIM_STEP, TrimStep, drop
from chatkit.core.model import Cursor
from chatkit.litestar.backends import LogChannelsBackend
from chatkit.litestar.postgres_dsn import url_of
from chatkit.litestar.retention import RetentionBackend, RetentionSweeper

SCHEMA: Final = "litestar_channels"  # not that of a chat server's rooms, of which nothing may be swept
HISTORY: Final = 1_000  # events of each channel: Litestar's backends keep none, and a table must not grow for ever

MakeConnection = Callable[[], Awaitable[Any]]
"""Makes a connection of asyncpg's, which is then chatkit's to close."""


class ChannelsPostgres(RetentionBackend, PostgresBackend):
    """Rooms in PostgreSQL that keep the newest `history` messages, or all. `make_connection` stands before the dsn."""

    def __init__(self, dsn: str, *, history: int | None, make_connection: MakeConnection | None = None) -> None:
        start, _, query = dsn.partition("?")
        given = parse_qsl(query, keep_blank_values=True)
        theirs = urlencode([each for each in given if each[0] != "schema"], quote_via=quote)
        super().__init__(
            f"{start}?{theirs}",
            place=f"postgresql://{start.partition('://')[2].rpartition('@')[2]}",  # without a password
            schema=dict(given).get("schema", SCHEMA),
            connect=make_connection,
        )
        if history is not None:
            self._sweeper = RetentionSweeper(history)

    async def drop(self, room: str, up_to: Cursor) -> None:
        """Drop messages, some in a transaction; see `RetentionBackend`."""
        head = (await self.read(room, limit=1)).head
        if head.epoch != up_to.epoch:
            return
        for first in range(head.first, up_to.seq + 1, TRIM_STEP):
            step = TrimStep(head.epoch, [room], [min(first + TRIM_STEP - 1, up_to.seq)])
            await self._pages.run(partial(drop, store=self._store, step=step), timeout_s=TIMEOUT_S)


class AsyncPgChannelsBackend(LogChannelsBackend):
    """Channels in a PostgreSQL database, in tables of chatkit's: by default in the schema `litestar_channels`.

    A `?schema=` in the dsn names another one. The newest `history` events of a channel are kept; None is all.
    """

    @overload
    def __init__(self, dsn: str, *, history: int | None = HISTORY) -> None: ...
    @overload
    def __init__(self, *, make_connection: MakeConnection, history: int | None = HISTORY) -> None: ...

    def __init__(
        self,
        dsn: str | None = None,
        *,
        make_connection: MakeConnection | None = None,
        history: int | None = HISTORY,
    ) -> None:
        if not (dsn or make_connection):
            raise ImproperlyConfiguredException("Need to specify dsn or make_connection")
        url = url_of(dsn or "postgresql://")
        super().__init__(
            partial(ChannelsPostgres, url, history=history, make_connection=make_connection), history=history
        )


class PsycoPgChannelsBackend(LogChannelsBackend):
    """The same, by the name and parameters of Litestar's backend for psycopg. It needs asyncpg, and no psycopg.

    `pg_dsn` may be a URL, or libpq's `host=localhost dbname=app`.
    """

    def __init__(self, pg_dsn: str, *, history: int | None = HISTORY) -> None:
        super().__init__(partial(ChannelsPostgres, url_of(pg_dsn), history=history), history=history)

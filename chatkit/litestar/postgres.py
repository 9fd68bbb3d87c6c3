"""Channels in PostgreSQL, with the names and parameters of Litestar's backends. Both use asyncpg."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, overload
from urllib.parse import parse_qsl, quote, urlencode

from litestar.exceptions import ImproperlyConfiguredException

from chatkit.backends.postgres import PostgresBackend
from chatkit.litestar.backends import LogChannelsBackend
from chatkit.litestar.postgres_dsn import url_of
from chatkit.litestar.retention import RetentionBackend, RetentionSweeper

SCHEMA: Final = "litestar_channels"  # differs from a chat server's schema, whose rooms must not be trimmed from here
HISTORY: Final = (
    1_000  # events of each channel: Litestar's backends keep none, and a table must not grow without a limit
)

MakeConnection = Callable[[], Awaitable[Any]]
"""Makes a connection of asyncpg, which chatkit then owns and closes."""


class ChannelsPostgres(RetentionBackend, PostgresBackend):
    """Rooms in PostgreSQL that keep their newest `history` messages, or all. `make_connection` overrides the dsn."""

    def __init__(self, dsn: str, *, history: int | None, make_connection: MakeConnection | None = None) -> None:
        start, _, query = dsn.partition("?")
        given = parse_qsl(query, keep_blank_values=True)
        driver_options = urlencode([each for each in given if each[0] != "schema"], quote_via=quote)
        super().__init__(
            f"{start}?{driver_options}",
            display_url=f"postgresql://{start.partition('://')[2].rpartition('@')[2]}",  # without a password
            schema=dict(given).get("schema", SCHEMA),
            connect=make_connection,
        )
        if history is not None:
            self._sweeper = RetentionSweeper(history)


class AsyncPgChannelsBackend(LogChannelsBackend):
    """Channels in a PostgreSQL database, in chatkit's tables. The schema is `litestar_channels` by default.

    A `?schema=` in the dsn selects another schema. Each channel keeps its newest `history` events; None keeps all.
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
    """The same, with the name and parameters of Litestar's backend for psycopg. It uses asyncpg, not psycopg.

    `pg_dsn` is a URL or a connection string of libpq, such as `host=localhost dbname=app`.
    """

    def __init__(self, pg_dsn: str, *, history: int | None = HISTORY) -> None:
        super().__init__(partial(ChannelsPostgres, url_of(pg_dsn), history=history), history=history)

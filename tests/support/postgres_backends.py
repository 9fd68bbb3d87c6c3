"""Shared by the tests of the PostgreSQL backend: SQL on its server, backends on it, and waiting."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import stores

from chatkit.backends import open_backend
from chatkit.bench.local.postgres import PostgresServer
from chatkit.core.backend import Backend, Notification, RoomAdvanced
from chatkit.core.model import Draft
from chatkit.errors import Unavailable

names = itertools.count()


def fresh(server: PostgresServer) -> str:
    return f"{server.url}?schema=own{next(names)}"


def schema_of(url: str) -> str:
    return url.partition("schema=")[2]


def sql(statement: str, url: str = "") -> str:
    """Run a statement on the shared server; `{}` in it is the URL's schema."""
    return stores.postgres_server().run_sql(statement.replace("{}", schema_of(url)))


async def eventually(call: Callable[[], object]) -> None:
    """Wait until it holds; the test's own time limit ends the waiting."""
    while not await asyncio.to_thread(call):  # noqa: ASYNC110 - the condition has no event to wait for
        await asyncio.sleep(0.01)


def terminate_listeners(url: str) -> None:
    """Terminate the connections that listen for notifications of the store, as an administrator may."""
    found = sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND (query LIKE 'LISTEN \"chatkit:{}\"%' OR query LIKE '%last_value%\"{}\".batch%')",
        url,
    )
    assert int(found) > 0


@asynccontextmanager
async def opened(url: str, count: int) -> AsyncIterator[list[Backend]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_backend(url)) for _ in range(count)]


async def until_stored(backend: Backend, draft: Draft) -> None:
    """Append until the store accepts it, as a client with a key does."""
    while True:
        try:
            await backend.append([draft])
        except Unavailable:
            await asyncio.sleep(0.01)
        else:
            return


def has_reached(last: int, item: Notification) -> bool:
    return isinstance(item, RoomAdvanced) and item.last == last

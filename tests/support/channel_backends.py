"""Channel backends with Litestar's names on the tests' stores. Each call gets a separate store."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import stores
from channels import read_events, until
from redis.asyncio import Redis, RedisCluster

from chatkit.bench.local.store import LocalStore
from chatkit.errors import Unavailable
from chatkit.litestar import (
    AsyncPgChannelsBackend,
    ChannelsPlugin,
    PsycoPgChannelsBackend,
    RedisChannelsPubSubBackend,
    RedisChannelsStreamBackend,
)

Make = Callable[[], Any]
"""Makes a backend, as another process of the same application would."""

KEPT = 10  # events of each channel

_numbers = itertools.count()


def fresh() -> str:
    """Return a name that no other test uses."""
    return f"app{next(_numbers)}"


def redis(**options: Any) -> Any:
    """Return a client of the tests' Redis; not yet connected."""
    return Redis.from_url(stores.redis().partition("?")[0], **options)


def redis_cluster() -> Any:
    """Return a client of the tests' cluster; not yet connected."""
    host, _, port = stores.redis_cluster().partition("://")[2].partition("?")[0].partition(",")[0].partition(":")
    return RedisCluster(host=host, port=int(port.strip("/")))


def maker(kind: str, postgres: Callable[[], str] = stores.postgres) -> Make:
    """Return a function that makes backends of a kind on one separate store, which `postgres` makes in PostgreSQL."""
    name = fresh()
    match kind:
        case "stream":
            return lambda: RedisChannelsStreamBackend(KEPT, redis=redis(), key_prefix=name)
        case "cluster":
            return lambda: RedisChannelsStreamBackend(KEPT, redis=redis_cluster(), key_prefix=name)
        case "pubsub":
            return lambda: RedisChannelsPubSubBackend(redis=redis(), key_prefix=name)
        case "cluster-pubsub":
            return lambda: RedisChannelsPubSubBackend(redis=redis_cluster(), key_prefix=name)
        case "asyncpg":
            dsn = postgres()
            return lambda: AsyncPgChannelsBackend(dsn, history=KEPT)
        case _:
            dsn = postgres()
            return lambda: PsycoPgChannelsBackend(dsn, history=KEPT)


@asynccontextmanager
async def started(*backends: Any) -> AsyncIterator[None]:
    """Start backends, and shut them down."""
    for backend in backends:
        await backend.on_startup()
    try:
        yield
    finally:
        for backend in backends:
            await backend.on_shutdown()


async def go_on_after_a_restart(store: LocalStore, one: ChannelsPlugin, two: ChannelsPlugin) -> None:
    """Restart the store of two applications: publishing fails, readers stay, and both continue."""
    async with one, two:
        here, there = await one.subscribe("foo"), await two.subscribe("foo")
        await one.wait_published("before", "foo")
        assert await read_events(here, 1) == await read_events(there, 1) == [b"before"]
        await asyncio.to_thread(store.kill)
        with pytest.raises(Unavailable):
            await one.wait_published("refused", "foo")
        await asyncio.to_thread(store.start)
        for plugin in (one, two):
            await until(lambda plugin=plugin: plugin._log.hub.fault is None)  # type: ignore[misc]
        await one.wait_published("after", "foo")
        await two.wait_published("from the other", "foo")
        for subscriber in (here, there):
            assert await read_events(subscriber, 2) == [b"after", b"from the other"]

"""Backends of Litestar's names on the tests' own stores: each asked for here has a store to itself."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import stores
from redis.asyncio import Redis, RedisCluster

from chatkit.litestar import (
    AsyncPgChannelsBackend,
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


def maker(kind: str) -> Make:
    """Return what makes backends of a kind that share a store of their own."""
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
            dsn = f"{stores.postgres_server().url}?schema={name}"
            return lambda: AsyncPgChannelsBackend(dsn, history=KEPT)
        case _:
            dsn = f"{stores.postgres_server().url}?schema={name}"
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

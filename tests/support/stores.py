"""Real stores for tests, each started when it is first asked for, and ended with the test run.

A test gets a URL of its own on them: what another test left there is not in it.
"""

import atexit
import itertools
import os
from functools import cache
from typing import TypeVar

from chatkit.bench.local.postgres import PostgresServer
from chatkit.bench.local.redis import RedisCluster, RedisServer
from chatkit.bench.local.store import LocalStore

Store = TypeVar("Store", bound=LocalStore)

# What is acknowledged is written, and outlives a kill; only a power cut could lose it, and there is none in a test.
UNSYNCED = ("--appendfsync", "no")

_numbers = itertools.count()


def redis() -> str:
    """Return the URL of a fresh prefix on a redis-server."""
    return f"{_redis_server().url}?prefix={_fresh()}:"


def redis_cluster() -> str:
    """Return the URL of a fresh prefix on a Redis Cluster of three masters."""
    return f"{_redis_cluster().url}?prefix={_fresh()}:"


def postgres() -> str:
    """Return the URL of a fresh schema in a PostgreSQL database."""
    return f"{postgres_server().url}?schema={_fresh()}"


@cache
def postgres_server() -> PostgresServer:
    """Return the PostgreSQL that tests share; none of them stops it."""
    return _started(PostgresServer())


def _fresh() -> str:
    return f"t{next(_numbers)}"


@cache
def _redis_server() -> RedisServer:
    return _started(RedisServer(UNSYNCED))


@cache
def _redis_cluster() -> RedisCluster:
    return _started(RedisCluster(UNSYNCED))


def _started(store: Store) -> Store:
    store.start()
    owner = os.getpid()
    # A child that was forked off the test run must not end its stores.
    atexit.register(lambda: store.close() if os.getpid() == owner else None)
    return store

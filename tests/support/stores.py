"""Real stores for tests, each started at its first use and stopped with the test run.

Each test gets a URL of its own, so that it does not see the data of other tests.
"""

import atexit
import itertools
import os
from functools import cache
from typing import TypeVar

from copied_postgres import CopiedPostgresServer
from postgres_schema import ReusedSchema

from chatkit.bench.local.postgres import PostgresServer
from chatkit.bench.local.redis import RedisCluster, RedisServer
from chatkit.bench.local.store import LocalStore

Store = TypeVar("Store", bound=LocalStore)

# Acknowledged writes survive a kill; only a power failure could lose them.
UNSYNCED = ("--appendfsync", "no")
UNSYNCED_POSTGRES = ("-c", "fsync=off", "-c", "full_page_writes=off")

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


def emptied_postgres() -> str:
    """Return the URL of a store in PostgreSQL that is empty, and that no other test uses at this time.

    It is that of the tests before: a test may change what is in the store, and nothing else.
    """
    return _reused_schema().empty()


@cache
def postgres_server() -> PostgresServer:
    """Return the PostgreSQL that tests share; none of them stops it."""
    return _started(CopiedPostgresServer(UNSYNCED_POSTGRES))


def _fresh() -> str:
    return f"t{next(_numbers)}"


@cache
def _reused_schema() -> ReusedSchema:
    return ReusedSchema(postgres_server().url, "reused")


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

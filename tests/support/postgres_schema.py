"""A store in PostgreSQL that tests use one after another: to empty it costs a third of creating another one."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import asyncpg

from chatkit.backends import open_backend

T = TypeVar("T")

LOCK_TIMEOUT_S = 10  # only a backend that a test left open holds a lock for so long

# Triggers write the rows that a new store has; they would also do the work of the first statement again.
EMPTY = """
    SET LOCAL lock_timeout = '{lock_timeout}s';
    SET LOCAL session_replication_role = replica;
    DO $$ BEGIN EXECUTE (
        SELECT 'TRUNCATE ' || string_agg(format('%I.%I', schemaname, tablename), ', ') || ' RESTART IDENTITY'
        FROM pg_tables WHERE schemaname = '{schema}'
    ); END $$;
    SELECT setval('{schema}.batch', 1);
    SET LOCAL session_replication_role = origin;
    DELETE FROM {schema}.meta;
    DELETE FROM {schema}.record_head;
"""
# What is in the schema: its tables with their sizes in pages, its indexes, sequences, and the number of its functions.
CONTENT = """
    SELECT relname, relkind::text, CASE WHEN relkind = 'r' THEN pg_relation_size(oid) / 8192 ELSE 0 END
    FROM pg_class WHERE relnamespace = '{schema}'::regnamespace
    UNION ALL SELECT sequencename, 'value', last_value FROM pg_sequences WHERE schemaname = '{schema}'
    UNION ALL SELECT 'functions', 'count', count(*) FROM pg_proc WHERE pronamespace = '{schema}'::regnamespace
"""


class ReusedSchema:
    """The schema `name` of a database, which `empty` returns to the state of a new store."""

    def __init__(self, server_url: str, name: str) -> None:
        self.url = f"{server_url}?schema={name}"
        self._name = name
        self._runner = asyncio.Runner()
        self._thread = ThreadPoolExecutor(1)  # tests call from within their own event loops
        self._connection, self._new = self._run(self._create(server_url))

    def empty(self) -> str:
        """Remove what is in the store; return its URL."""
        self._run(self._empty())
        return self.url

    def _run(self, job: Coroutine[Any, Any, T]) -> T:
        return self._thread.submit(self._runner.run, job).result()

    async def _create(self, server_url: str) -> tuple[Any, set[tuple[Any, ...]]]:
        async with open_backend(self.url):
            pass
        connection = await asyncpg.connect(server_url)
        return connection, await self._content(connection)

    async def _empty(self) -> None:
        await self._connection.execute(EMPTY.format(schema=self._name, lock_timeout=LOCK_TIMEOUT_S))
        different = await self._content(self._connection) ^ self._new
        assert not different, f"the store is not like a new one: {different}"

    async def _content(self, connection: Any) -> set[tuple[Any, ...]]:
        return {tuple(row) for row in await connection.fetch(CONTENT.format(schema=self._name))}

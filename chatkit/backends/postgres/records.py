"""PostgresRecords: the records of a store. Keys are stored as UTF-8, in the order of its bytes."""

from collections.abc import Mapping
from typing import Any

from chatkit.backends.postgres.connection import ConnectionPool, PostgresConnection
from chatkit.backends.postgres.schema import PostgresSchema
from chatkit.core.backend import new_epoch
from chatkit.core.model import Cursor
from chatkit.core.records import Record, RecordChanges, check_prefix, check_record
from chatkit.errors import VersionConflict

TIMEOUT_S = 5.0  # a database that works answers in milliseconds
MAX_VERSION = 2**62  # no version is higher

_GET = "SELECT value, version FROM {schema}.record WHERE kind = $1 AND key = $2"
_PUT = "SELECT {schema}.put_record($1, $2, $3, $4, $5, $6, $7)"
_SCAN = """
    SELECT kind, key, value, version FROM {schema}.record
    WHERE kind = $1 AND key >= $2 AND key < $3 AND value IS NOT NULL ORDER BY key
"""
_HEAD = "SELECT epoch, version FROM {schema}.record_head"
# One row without a record if nothing has changed.
_CHANGES = """
    SELECT head.epoch, head.version AS newest, is_whole, kind, key, value, record.version
    FROM (
        SELECT epoch, version, epoch IS DISTINCT FROM $1 OR version < $2 AS is_whole FROM {schema}.record_head
    ) AS head LEFT JOIN {schema}.record ON record.version > CASE WHEN is_whole THEN 0 ELSE $2 END
        AND (value IS NOT NULL OR NOT is_whole)
    ORDER BY record.version
"""


class PostgresRecords:
    """The records of one store. Each method is the one of `Backend` with the same name."""

    def __init__(self, schema: PostgresSchema, pool: ConnectionPool) -> None:
        self._schema = schema
        self._pool = pool
        self._seen = Cursor("", 0)  # the newest that this process has read: the database may lose its newest changes

    async def get_record(self, kind: str, key: str) -> Record | None:
        check_record(kind, key, None)
        statement = self._schema.fill_in(_GET)
        row = await self._pool.run(
            lambda connection: connection.fetchrow(statement, kind, key.encode()), timeout_s=TIMEOUT_S
        )
        return None if row is None else Record(kind, key, row["value"], row["version"])

    async def put_record(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Record:
        check_record(kind, key, value)
        statement, expected = self._schema.fill_in(_PUT), max(min(expected_version, MAX_VERSION), -1)
        values = (kind, key.encode(), value, expected, self._seen.epoch, self._seen.seq, new_epoch())
        version = await self._pool.run(lambda connection: connection.fetchval(statement, *values), timeout_s=TIMEOUT_S)
        if version is None:
            raise VersionConflict(kind, key)
        return Record(kind, key, value, version)

    async def scan_records(self, kind: str, prefix: str = "") -> list[Record]:
        check_prefix(kind, prefix)
        statement, start = self._schema.fill_in(_SCAN), prefix.encode()
        end = start + b"\xff"  # above every key that begins with the prefix: UTF-8 does not contain this byte
        rows = await self._pool.run(
            lambda connection: connection.fetch(statement, kind, start, end), timeout_s=TIMEOUT_S
        )
        return [_to_record(row) for row in rows]

    async def record_changes(self, after: Cursor | None) -> RecordChanges:
        async def do(connection: PostgresConnection) -> RecordChanges:
            return await self._read_changes(connection, after)

        changes = await self._pool.run(do, timeout_s=TIMEOUT_S)
        self._seen = changes.cursor
        return changes

    async def _read_changes(self, connection: PostgresConnection, after: Cursor | None) -> RecordChanges:
        if after is not None:
            head = await connection.fetchrow(self._schema.fill_in(_HEAD))
            if head is not None and (head["epoch"], head["version"]) == (after.epoch, after.seq):
                return RecordChanges(after, [])
        known = (None, 0) if after is None else (after.epoch, after.seq)
        rows = await connection.fetch(self._schema.fill_in(_CHANGES), *known)
        if not rows:
            raise self._schema.missing_epoch_error()
        records = [_to_record(row) for row in rows if row["version"] is not None]
        return RecordChanges(Cursor(rows[0]["epoch"], rows[0]["newest"]), records, whole=rows[0]["is_whole"])


def _to_record(row: Mapping[str, Any]) -> Record:
    return Record(row["kind"], row["key"].decode(), row["value"], row["version"])

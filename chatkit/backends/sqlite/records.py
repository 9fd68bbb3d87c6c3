"""Records: the table of small versioned values beside the rooms.

A changed row gets the next version as its id, so that the changes after a version are at the end of the table. The
rows of deleted records stay. Many rows are read as one JSON value, for the reason given in `reader`.
"""

import sqlite3
from collections.abc import Sequence

import msgspec

from chatkit.backends.sqlite.schema import transaction
from chatkit.core.model import Cursor
from chatkit.core.records import Record, RecordChanges, check_prefix, check_record
from chatkit.errors import VersionConflict

_GET = "SELECT value, version FROM record WHERE kind = ? AND key = ?"
_NEWEST = "SELECT coalesce(max(version), 0) FROM record"
_ADD = "INSERT INTO record (version, value, kind, key) VALUES (?, ?, ?, ?)"
_CHANGE = "UPDATE record SET version = ?, value = ? WHERE kind = ? AND key = ?"
_ROWS = "json_group_array(json_array(kind, key, iif(value IS NULL, NULL, hex(value)), version))"
# Text is compared by its bytes: those of `prefix` and one that no text contains are after all keys with the prefix.
_SCAN = f"""
    SELECT {_ROWS} FROM (
        SELECT * FROM record
        WHERE kind = :kind AND key >= :prefix AND key < CAST(:end AS TEXT) AND value IS NOT NULL ORDER BY key
    )
"""  # noqa: S608 - a constant
_CHANGES = f"""
    SELECT ({_NEWEST}), {_ROWS} FROM (
        SELECT * FROM record WHERE version > :after AND (value IS NOT NULL OR NOT :whole) ORDER BY version
    )
"""  # noqa: S608 - constants
_split_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_row = msgspec.json.Decoder(tuple[str, str, str | None, int]).decode


def get_record(connection: sqlite3.Connection, kind: str, key: str) -> Record | None:
    """Return the newest state of a record; see `Backend.get_record`."""
    check_record(kind, key, None)
    found = connection.execute(_GET, [kind, key]).fetchone()
    return None if found is None else Record(kind, key, *found)


def put_record(
    connection: sqlite3.Connection, *, kind: str, key: str, value: bytes | None, expected_version: int
) -> Record:
    """Set or delete a record; see `Backend.put_record`."""
    check_record(kind, key, value)
    with transaction(connection):
        known = connection.execute(_GET, [kind, key]).fetchone()
        if expected_version != (0 if known is None else known[1]):
            raise VersionConflict(kind, key)
        (newest,) = connection.execute(_NEWEST).fetchone()
        connection.execute(_ADD if known is None else _CHANGE, [newest + 1, value, kind, key])
    return Record(kind, key, value, newest + 1)


def scan_records(connection: sqlite3.Connection, kind: str, prefix: str) -> Sequence[Record]:
    """Return the records whose keys begin with a prefix; see `Backend.scan_records`."""
    check_prefix(kind, prefix)
    values = {"kind": kind, "prefix": prefix, "end": prefix.encode() + b"\xff"}
    (found,) = connection.execute(_SCAN, values).fetchone()
    return _to_records(found)


def read_record_changes(connection: sqlite3.Connection, epoch: str, after: Cursor | None) -> RecordChanges:
    """Return the changes after a cursor; see `Backend.record_changes`."""
    whole = after is None or after.epoch != epoch
    values = {"after": 0 if after is None or whole else after.seq, "whole": whole}
    newest, found = connection.execute(_CHANGES, values).fetchone()
    if after is not None and not whole and after.seq > newest:
        return read_record_changes(connection, epoch, None)
    return RecordChanges(Cursor(epoch, newest), _to_records(found), whole=whole)


def _to_records(found: bytes) -> Sequence[Record]:
    # Row by row: while all are decoded in one call, no other thread runs, and so the event loop stands still.
    rows = map(_decode_row, _split_rows(found))
    return [
        Record(kind, key, None if value is None else bytes.fromhex(value), version)
        for kind, key, value, version in rows
    ]

"""RedisRecords: the records of a store, in three keys of one slot. See lua/records.lua.

Long answers are read in pages, so that no script blocks the server for long.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from chatkit.backends.redis.connection import Command, Reply
from chatkit.backends.redis.router import Router
from chatkit.backends.redis.scripts import Script
from chatkit.core.backend import new_epoch
from chatkit.core.model import Cursor
from chatkit.core.records import Record, RecordChanges, check_prefix, check_record
from chatkit.errors import VersionConflict

PAGE: Final = 1_000  # records in one page: about a millisecond of the server's time
MAX_VERSION: Final = 2**53  # Lua's numbers are exact up to it

_PUT, _SCAN, _CHANGES = (Script("records", name) for name in ("put_record", "scan_records", "record_changes"))


class RedisRecords:
    """The records of one store. Each method is the one of `Backend` with the same name.

    `write` sends a command whose effect must be as durable as a message.
    """

    def __init__(self, router: Router, write: Callable[[int, Command], Awaitable[Reply]], prefix: str) -> None:
        self._router = router
        self._write = write
        # No room's key has such a name: these end otherwise.
        self._keys = [f"{prefix}records:{{records}}:{part}".encode() for part in ("values", "versions", "names")]
        self._seen = Cursor("", 0)  # the newest that this process has read: the store may lose its newest changes

    @property
    def _slot(self) -> int:
        return self._router.topology.slot(self._keys[0])

    async def get_record(self, kind: str, key: str) -> Record | None:
        check_record(kind, key, None)
        name = _name(kind, key)
        stored = await self._router.call("pages", self._slot, ("HGET", self._keys[0], name))
        return None if stored is None else _to_record(name, stored)

    async def put_record(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Record:
        check_record(kind, key, value)
        expected = max(min(expected_version, MAX_VERSION), -1)
        change = (_name(kind, key), expected, "-" if value is None else "+", value or b"")
        command = _PUT(self._keys, [new_epoch(), self._seen.epoch, self._seen.seq, *change])
        version = await self._write(self._slot, command)
        if version is None:
            raise VersionConflict(kind, key)
        return Record(kind, key, value, version)

    async def scan_records(self, kind: str, prefix: str = "") -> list[Record]:
        check_prefix(kind, prefix)
        records: list[Record] = []
        name, more = _name(kind, prefix), 1
        start, end = b"[" + name, b"(" + name + b"\xff"  # UTF-8 does not contain this byte
        while more:
            command = _SCAN(self._keys, [new_epoch(), start, end, PAGE])
            names, stored, more = await self._router.call("pages", self._slot, command)
            records += _to_records(names, stored)
            if records:
                start = b"(" + _name(kind, records[-1].key)
        return records

    async def record_changes(self, after: Cursor | None) -> RecordChanges:
        found: dict[tuple[str, str], Record] = {}
        known = after or Cursor("", 0)
        is_whole, more = False, 1
        while more:
            command = _CHANGES(self._keys, [new_epoch(), known.epoch, known.seq, PAGE])
            epoch, newest, names, stored, more = await self._router.call("presence", self._slot, command)
            if epoch.decode() != known.epoch or newest < known.seq:
                is_whole, found = True, {}
            records = list(_to_records(names, stored))
            for record in records:
                found.pop((record.kind, record.key), None)  # it changed again after an earlier page was read
                found[record.kind, record.key] = record
            known = Cursor(epoch.decode(), records[-1].version if more else newest)
        self._seen = known
        chosen = [record for record in found.values() if record.value is not None or not is_whole]
        return RecordChanges(known, chosen, whole=is_whole)


def _name(kind: str, key: str) -> bytes:
    return b"%s\0%s" % (kind.encode(), key.encode())


def _to_records(names: Sequence[bytes], stored: Sequence[bytes]) -> Iterator[Record]:
    """Decode a page, which may have fewer values than names."""
    return map(_to_record, names[: len(stored)], stored)


def _to_record(name: bytes, stored: bytes) -> Record:
    kind, _, key = name.partition(b"\0")
    version, plus, value = stored.partition(b"+")  # or the version and '-' for a deleted record
    return Record(kind.decode(), key.decode(), value if plus else None, int(version.rstrip(b"-")))

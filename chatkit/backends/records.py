"""MemoryRecords: the records of a store in this process's memory. Synchronous; does no I/O."""

from collections import defaultdict
from collections.abc import Sequence

from chatkit.core.backend import new_epoch
from chatkit.core.model import Cursor
from chatkit.core.records import Record, RecordChanges, check_prefix, check_record
from chatkit.errors import VersionConflict


class MemoryRecords:
    """Records by kind and key, and in the order of their versions. See the methods of `Backend` with these names."""

    def __init__(self) -> None:
        self._cursor = Cursor(new_epoch(), 0)
        self._records: defaultdict[str, dict[str, Record]] = defaultdict(dict)
        self._order: dict[tuple[str, str], Record] = {}  # the newest change is last

    def get(self, kind: str, key: str) -> Record | None:
        check_record(kind, key, None)
        return self._order.get((kind, key))

    def put(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Record:
        check_record(kind, key, value)
        known = self._order.get((kind, key))
        if expected_version != (0 if known is None else known.version):
            raise VersionConflict(kind, key)
        self._cursor = Cursor(self._cursor.epoch, self._cursor.seq + 1)
        record = Record(kind, key, value, self._cursor.seq)
        self._order.pop((kind, key), None)
        self._order[kind, key] = self._records[kind][key] = record
        return record

    def scan(self, kind: str, prefix: str) -> Sequence[Record]:
        check_prefix(kind, prefix)
        records = self._records.get(kind, {})
        keys = sorted(key for key, record in records.items() if record.value is not None and key.startswith(prefix))
        return [records[key] for key in keys]

    def changes(self, after: Cursor | None) -> RecordChanges:
        if after is None or after.epoch != self._cursor.epoch or after.seq > self._cursor.seq:
            return RecordChanges(
                self._cursor, [each for each in self._order.values() if each.value is not None], whole=True
            )
        newest = []
        for record in reversed(self._order.values()):
            if record.version <= after.seq:
                break
            newest.append(record)
        return RecordChanges(self._cursor, newest[::-1])

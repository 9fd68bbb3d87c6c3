"""The log's writing side: append, redact, trim. One thread at a time has the writer's connection.

A small batch that needs no sync of the disk takes a few dozen microseconds, less than handing it to a thread and back:
while the writer's thread is idle, it is committed where it came from, in the event loop.

A batch is one statement, whatever its size. Each statement that SQLite runs lets go of the interpreter's lock, and a
busy event loop gives it back only after milliseconds: what counts is how often it is let go, more than what is written.

That works without reading first, because the writer remembers where each room ends. When another process has written
meanwhile, the statement does no harm: either its numbers are taken (a unique index refuses them), or they were taken
and trimmed since, and `meta.top` is not what it was. Then it is read under the lock, and the batch is written there.
"""

# ruff: noqa: S608 - the statements are put together from constants

import sqlite3
import time
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from math import inf
from typing import Any, TypeAlias, TypeVar

import msgspec

from chatkit.backends.sqlite.checkpoint import CHECKPOINT_BYTES, PAGE_BYTES, Checkpointer
from chatkit.backends.sqlite.connection import ConnectionThread, Do
from chatkit.backends.sqlite.errors import as_ours, is_busy, is_damage, until_free
from chatkit.backends.sqlite.file import StoreFile
from chatkit.backends.sqlite.listener import StoreListener
from chatkit.backends.sqlite.reader import ROW, decode_room_rows, decode_row
from chatkit.backends.sqlite.schema import Synchronous, open_writer, transaction
from chatkit.core.model import Draft, Message, Receipt
from chatkit.core.repeat import repeat_of
from chatkit.core.text import fold as fold_text
from chatkit.errors import NotFound, Unavailable

T = TypeVar("T")

MAX_DRAFTS_HERE = 256  # some 400 microseconds: larger batches are not committed in the event loop
SLOW_S = 0.01  # a commit that took longer waited for the disk: then the thread commits
SLOW_REST_S = 5.0  # for so long
COMMIT_BYTES = 2 * PAGE_BYTES  # a commit writes whole pages: the last of the table and the last of its index
MESSAGE_BYTES = 150  # a message's row beside its body, and its place in the index

# Sizes for which the statement is kept prepared; a batch takes the next one up, and leaves the rest NULL.
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
MAX_ROWS = SIZES[-1]  # 9 values a row: well below the 32,766 that SQLite binds to a statement
MAX_REMEMBERED_ROOMS = 65_536  # some 15 MB; beyond it, rooms are read again

PLAIN = ("id", "room", "seq", "time_ms", "sender", "body")  # all that most messages have
EXTRA = ("data", "key", "folded")

_READ_TOP = "SELECT top, max(top, coalesce((SELECT max(id) FROM message), 0)) FROM meta"
_MAKE_ROOMS = "INSERT OR IGNORE INTO room (name) SELECT value FROM json_each(?)"
_READ_ENDS = """
    SELECT json_group_array(json_array(name, room.id, coalesce(seq, dropped)))
    FROM json_each(?) AS asked CROSS JOIN room ON name = asked.value LEFT JOIN message
    ON message.room = room.id AND seq = (SELECT max(seq) FROM message WHERE room = room.id)
"""
_READ_KEYS = f"""
    SELECT json_group_array(json_array(json_extract(asked.value, '$[1]'), {ROW}))
    FROM json_each(?) AS asked CROSS JOIN message
    ON message.room = json_extract(asked.value, '$[0]') AND message.key = json_extract(asked.value, '$[2]')
    AND message.sender = json_extract(asked.value, '$[3]')
"""
_READ_ONE = f"""
    SELECT room.id, {ROW} FROM room JOIN message ON message.room = room.id WHERE name = ? AND seq = ?
"""
_MARK_TRIM = "UPDATE meta SET top = max(top, coalesce((SELECT max(id) FROM message), 0))"
_MARK_DROPPED = """
    UPDATE room SET dropped = ?2, dropped_time_ms = (SELECT time_ms FROM message WHERE room = ?1 AND seq = ?2)
    WHERE id = ?1 AND EXISTS (SELECT * FROM message WHERE room = ?1 AND seq = ?2)
"""

_Extra: TypeAlias = tuple[str | None, str | None, str | None]
_Key: TypeAlias = tuple[str, str, str]
"""A room, a sender, and a key of that sender's in that room."""

_encode = msgspec.json.Encoder().encode
_decode_ends = msgspec.json.Decoder(list[tuple[str, int, int]]).decode


class _End:
    """Where a room ends, as remembered."""

    __slots__ = ("id", "last")

    def __init__(self, id_: int, last: int) -> None:
        self.id = id_
        self.last = last


class _Rows:
    """The rows of one batch, in the form in which they are bound."""

    __slots__ = ("count", "extras", "values")

    def __init__(self) -> None:
        self.count = 0
        self.values: list[Any] = []  # PLAIN after PLAIN
        self.extras: dict[int, _Extra] = {}  # the EXTRA of rows that have any

    def parts(self) -> Iterable["_Rows"]:
        """Cut into parts that one statement takes."""
        for start in range(0, self.count, MAX_ROWS):
            part = _Rows()
            part.count = min(MAX_ROWS, self.count - start)
            part.values = self.values[start * len(PLAIN) : (start + part.count) * len(PLAIN)]
            part.extras = {i - start: extra for i, extra in self.extras.items() if 0 <= i - start < part.count}
            yield part

    def bound(self, size: int) -> list[Any]:
        """Return the values for a statement of `size` rows."""
        values = self.values
        if self.extras:
            values, width = [], len(PLAIN)
            for i in range(self.count):
                values += self.values[i * width : (i + 1) * width]
                values += self.extras.get(i, (None, None, None))
        width = len(PLAIN) + len(EXTRA) if self.extras else len(PLAIN)
        return values + [None] * ((size - self.count) * width)


class Writer:
    """Every write of this process to one store, and what it remembers of the rooms.

    `checkpoints` is the thread that tends to the write-ahead log. What the listener does shares this connection.
    """

    def __init__(
        self,
        file: StoreFile,
        listener: StoreListener,
        checkpointer: Checkpointer,
        checkpoints: ConnectionThread,
        *,
        synchronous: Synchronous,
        make: bool,
    ) -> None:
        self._file = file
        self._listener = listener
        self._checkpointer = checkpointer
        self._checkpoints = checkpoints
        self._synchronous = synchronous
        self._make = make
        self.thread = ConnectionThread("writer", file.path, self._open, listener.tick, on_damage=file.report_damage)
        # Where every commit syncs the disk, the event loop makes none; nor while the disk has shown to be slow.
        self._slow_until_s = -inf if synchronous == "normal" else inf
        self._grown_bytes = 0  # of the write-ahead log, since the last checkpoint
        self.epoch = ""
        self._last_id = -1  # the newest message's, as far as this process knows
        self._top = -1  # no store has this: nothing is written before it was read
        self._ends: dict[str, _End] = {}
        self._connection: sqlite3.Connection
        self._cursor: sqlite3.Cursor

    def append_here(self, drafts: Sequence[Draft]) -> list[Receipt] | None:
        """Commit at once, in the event loop; None if that could make the loop wait, or another process has the lock."""
        began_s = time.perf_counter()
        if len(drafts) > MAX_DRAFTS_HERE or began_s < self._slow_until_s or self._checkpointer.is_sync_due:
            return None
        if not self.thread.try_acquire():
            return None
        try:
            receipts = self.append(drafts)
        except sqlite3.Error as error:
            if is_busy(error):
                return None
            if is_damage(error):
                self._file.report_damage(str(as_ours(error, self._file.path)))
            raise as_ours(error, self._file.path) from error
        finally:
            self.thread.release()
        took_s = time.perf_counter() - began_s
        if took_s > SLOW_S:
            self._slow_until_s = began_s + took_s + SLOW_REST_S
        return receipts

    async def run(self, do: Do[T]) -> T:
        """Make a call that writes, in the writer's thread, as soon as no other process has the lock."""

        def call(connection: sqlite3.Connection) -> T:
            self._check_file()
            return until_free(lambda: do(connection))

        return await self.thread.run(call)

    def mark(self) -> None:
        """Note on the file, when the thread has ended, what it holds."""
        if self._last_id > 0:
            self._file.write_mark(self._last_id)

    # What follows runs in the writer's thread, or, while that is idle, in the event loop's.

    def _open(self) -> sqlite3.Connection:
        self._file.prepare(make=self._make)
        self._connection, self.epoch = open_writer(self._file, self._synchronous, make=self._make)
        self._cursor = self._connection.cursor()
        self._listener.open(self._connection, self.epoch)
        return self._connection

    def _check_file(self) -> None:
        if self._file.fault is not None:
            raise Unavailable(self._file.fault)

    def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Commit the drafts; see `Backend.append`."""
        if self._file.fault is not None:
            raise Unavailable(self._file.fault)
        receipts = self._append(drafts)
        self._checkpointer.is_sync_due = False
        listener = self._listener
        if listener.is_polling:  # this process's own messages are seen, if nobody else's are between
            n_new = sum(not receipt.repeat for receipt in receipts)
            if listener.last_id == self._last_id - n_new:
                listener.last_id = self._last_id
        self._grown_bytes += COMMIT_BYTES + sum([MESSAGE_BYTES + len(draft.body) for draft in drafts])
        if self._grown_bytes >= CHECKPOINT_BYTES:
            self._begin_checkpoint()
        return receipts

    def _begin_checkpoint(self) -> None:
        self._grown_bytes = 0
        self._file.write_mark(self._last_id)
        self._checkpoints.post(self._checkpointer.checkpoint)

    def _append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        rooms = {draft.room for draft in drafts}
        try:
            if len(drafts) <= MAX_ROWS and rooms <= self._ends.keys():
                receipts = self._append_at_once(drafts)
                if receipts is not None:
                    return receipts
                self._forget()
            return self._append_locked(drafts, rooms)
        except BaseException:
            self._forget()  # the rooms' ends had been moved on for what is not stored now
            raise

    def _append_at_once(self, drafts: Sequence[Draft]) -> list[Receipt] | None:
        """Write what memory says; None where memory is wrong, and then nothing is stored."""
        receipts, rows = self._number(drafts, {})
        try:
            return receipts if self._insert(rows) else None
        except sqlite3.IntegrityError:
            return None

    def _append_locked(self, drafts: Sequence[Draft], rooms: AbstractSet[str]) -> list[Receipt]:
        with transaction(self._connection):
            self._remember(rooms)
            receipts, rows = self._number(drafts, self._stored(drafts))
            for part in rows.parts():
                self._insert(part)
        return receipts

    def _number(self, drafts: Iterable[Draft], stored: dict[_Key, Message]) -> tuple[list[Receipt], _Rows]:
        """Make each draft's receipt, and its row unless its key is among those `stored`."""
        rows, receipts, ends, epoch = _Rows(), [], self._ends, self.epoch
        now_ms = time.time_ns() // 1_000_000
        for draft in drafts:
            room, key, body = draft.room, draft.key, draft.body
            if key is not None and (message := stored.get((room, draft.sender, key))) is not None:
                receipts.append(repeat_of(draft, message))
                continue
            end = ends[room]
            end.last = seq = end.last + 1
            self._last_id += 1
            message = Message(room, epoch, seq, now_ms, draft.sender, body, draft.data, key)
            rows.values += (self._last_id, end.id, seq, now_ms, draft.sender, body)
            if key is not None or draft.data is not None or not body.isascii() or "\0" in body:
                rows.extras[rows.count] = _extra(draft)
            rows.count += 1
            receipts.append(Receipt(message))
            if key is not None:
                stored[room, draft.sender, key] = message
        return receipts, rows

    def _insert(self, rows: _Rows) -> bool:
        """Write at most MAX_ROWS rows in one statement; False where `top` has changed, and then none is written."""
        if not rows.count:
            return True
        size = next(size for size in SIZES if size >= rows.count)
        values = rows.bound(size)
        values.append(self._top)
        return self._cursor.execute(_insert_statement(size, has_extras=bool(rows.extras)), values).rowcount > 0

    def _forget(self) -> None:
        self._ends.clear()
        self._last_id = self._top = -1

    def _remember(self, rooms: AbstractSet[str]) -> None:
        """Read, under the lock, where the store and these rooms end. Rooms that are new are made."""
        top, last_id = self._cursor.execute(_READ_TOP).fetchone()
        if (top, last_id) != (self._top, self._last_id) or len(self._ends) > MAX_REMEMBERED_ROOMS:
            self._ends.clear()
            self._top, self._last_id = top, last_id
        self._read_ends(rooms - self._ends.keys())
        if new := rooms - self._ends.keys():
            self._cursor.execute(_MAKE_ROOMS, [_encode(list(new)).decode()])
            self._read_ends(new)

    def _read_ends(self, rooms: AbstractSet[str]) -> None:
        if not rooms:
            return
        (found,) = self._cursor.execute(_READ_ENDS, [_encode(list(rooms)).decode()]).fetchone()
        self._ends.update((name, _End(*end)) for name, *end in _decode_ends(found))

    def _stored(self, drafts: Iterable[Draft]) -> dict[_Key, Message]:
        """Find, by one statement, the messages whose keys the drafts repeat."""
        keyed = [draft for draft in drafts if draft.key is not None]
        asked = [(self._ends[draft.room].id, draft.room, draft.key, draft.sender) for draft in keyed]
        if not asked:
            return {}
        (found,) = self._cursor.execute(_READ_KEYS, [_encode(asked).decode()]).fetchone()
        rows = decode_room_rows(found)
        return {
            (room, row.sender, row.key): row.to_message(room, self.epoch) for room, row in rows if row.key is not None
        }

    def redact(self, room: str, seq: int) -> Message:
        """Take away a message's body and data; see `Backend.redact`."""
        with transaction(self._connection):
            found = self._cursor.execute(_READ_ONE, [room, seq]).fetchone()
            if found is None:
                raise NotFound(f"there is no message {seq} in {room!r}")
            room_id, row = found
            self._cursor.execute(
                "UPDATE message SET body = NULL, data = NULL, folded = NULL WHERE room = ? AND seq = ?", [room_id, seq]
            )
            self._cursor.execute("INSERT OR IGNORE INTO redaction (room, seq) VALUES (?, ?)", [room_id, seq])
        self._checkpoints.post(self._checkpointer.empty)  # the body is in the write-ahead log still
        if self._listener.is_polling:
            self._listener.poll()
        return msgspec.structs.replace(decode_row(row), body=None, data=None).to_message(room, self.epoch)

    def drop(self, slices: Iterable[tuple[int, int]], _: sqlite3.Connection) -> int:
        """Drop, in the rooms given by id, all messages up to a number; return how many. One step of a trim."""
        dropped = 0
        with transaction(self._connection):
            is_fresh = self._cursor.execute(_READ_TOP).fetchone() == (self._top, self._last_id)
            self._cursor.execute(_MARK_TRIM)
            for room, last in slices:
                # Another process may have dropped them already: then this finds nothing, and marks nothing.
                self._cursor.execute(_MARK_DROPPED, [room, last])
                self._cursor.execute("DELETE FROM redaction WHERE room = ? AND seq <= ?", [room, last])
                dropped += self._cursor.execute(
                    "DELETE FROM message WHERE room = ? AND seq <= ?", [room, last]
                ).rowcount
        if is_fresh:  # nobody else has written: what is remembered still holds, under the new mark
            self._top = self._last_id
        # Rooms lie mixed: each message may be on a page of its own.
        self._grown_bytes += COMMIT_BYTES + dropped * PAGE_BYTES
        if self._grown_bytes >= CHECKPOINT_BYTES:
            self._begin_checkpoint()
        return dropped


def _extra(draft: Draft) -> _Extra:
    data = None if draft.data is None else _encode(draft.data).decode()
    return data, draft.key, fold(draft.body)


def fold(body: str) -> str | None:
    """Return the body's folded form where SQLite's LIKE, which folds ASCII and stops at NUL, cannot do without it."""
    folded = fold_text(body)
    is_plain = "\0" not in body and folded.encode() == body.encode().lower()  # bytes are lowered as ASCII
    return None if is_plain else folded


@cache
def _insert_statement(size: int, *, has_extras: bool) -> str:
    columns = PLAIN + EXTRA if has_extras else PLAIN
    row = f"({', '.join('?' * len(columns))})"
    return (
        f"INSERT INTO message ({', '.join(columns)}) SELECT * FROM (VALUES {', '.join([row] * size)})"
        " WHERE column1 IS NOT NULL AND (SELECT top FROM meta) = ?"
    )

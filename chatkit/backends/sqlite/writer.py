"""Writing the log: append, redact, trim, load and delete. One thread at a time uses the writer's connection.

A small batch that needs no sync of the disk takes a few dozen microseconds, less than passing it to a thread and back:
while the writer's thread is idle, the event loop commits it directly.

A batch is one statement, whatever its size. SQLite's driver releases the interpreter's lock for each statement, and
a busy event loop returns it only after milliseconds: the number of releases matters more than the amount written.

The statement is executed without reading first, because the writer caches the end of each room. It does no harm if
another process has written since: then either its numbers are in use, and a unique index refuses them; or they were
used and trimmed, or the room was deleted, and `meta.top` has changed. In both cases the ends are read again under the
lock, and the batch is written there.
"""

# ruff: noqa: S608 - the statements are composed of constants

import sqlite3
import time
from collections import deque
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from math import inf
from typing import TypeAlias, TypeVar

import msgspec

from chatkit.backends.flags import flags_of
from chatkit.backends.sqlite.checkpoint import CHECKPOINT_BYTES, PAGE_BYTES, Checkpointer
from chatkit.backends.sqlite.connection import ConnectionThread, Do
from chatkit.backends.sqlite.deletion import hide_room, remove_step
from chatkit.backends.sqlite.errors import is_busy, is_damage, retry_while_busy, to_chatkit_error
from chatkit.backends.sqlite.file import SqliteFile
from chatkit.backends.sqlite.listener import SqliteListener
from chatkit.backends.sqlite.message_row import ROW, decode_room_rows, decode_row
from chatkit.backends.sqlite.relations import drop_senders, have_relations, redact_entry, relate
from chatkit.backends.sqlite.renaming import rename_room
from chatkit.backends.sqlite.room_ends import RoomEnds
from chatkit.backends.sqlite.rows import MAX_ROWS, Rows
from chatkit.backends.sqlite.schema import Synchronous, open_writer, transaction
from chatkit.backends.sqlite.trimming import TEXT_WEIGHT, MeasuredStep, drop_messages
from chatkit.core.loading import check_keys, choose_new
from chatkit.core.model import Draft, Head, Message, Receipt
from chatkit.core.page_size import size_of
from chatkit.core.repeat import repeat_of
from chatkit.errors import NotFound, Unavailable

T = TypeVar("T")

MAX_DRAFTS_IN_LOOP = 256  # some 400 microseconds; the thread commits larger batches
MAX_RELATED_IN_LOOP = 32  # of batches in which some refer to a message or mention somebody, which take longer to fold
SLOW_S = 0.01  # a commit that takes longer has waited for the disk: then the thread commits for SLOW_REST_S
SLOW_REST_S = 5.0
COMMIT_BYTES = 2 * PAGE_BYTES  # a commit writes whole pages: the last of the table and the last of its index
MESSAGE_BYTES = 150  # a message's row besides its body, and its index entry

_READ_HEAD = """
    SELECT dropped, coalesce((SELECT max(seq) FROM message WHERE room = room.id), dropped) FROM room WHERE name = ?
"""
_READ_KEYS = f"""
    SELECT json_group_array(json_array(json_extract(asked.value, '$[1]'), '', {ROW}))
    FROM json_each(?) AS asked CROSS JOIN message
    ON message.room = json_extract(asked.value, '$[0]') AND message.key = json_extract(asked.value, '$[2]')
    AND message.sender = json_extract(asked.value, '$[3]')
"""
_READ_ONE = f"""
    SELECT room.id, life, {ROW} FROM room JOIN message ON message.room = room.id WHERE name = ? AND seq = ?
"""

_Key: TypeAlias = tuple[str, str, str]
"""A room, a sender, and a key of the sender in the room."""

_encode = msgspec.json.Encoder().encode


class SqliteWriter:
    """All writes of this process to one store.

    `checkpoints` is the checkpoint thread. The listener shares the writer's connection.
    """

    def __init__(
        self,
        file: SqliteFile,
        listener: SqliteListener,
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
        # If every commit syncs the disk, the event loop commits nothing; nor while the disk is known to be slow.
        self._thread_only_until_s = -inf if synchronous == "normal" else inf
        self._grown_bytes = 0  # growth of the write-ahead log since the last checkpoint
        self.epoch = ""
        self._ends = RoomEnds()
        self._connection: sqlite3.Connection
        self._cursor: sqlite3.Cursor

    def append_in_loop(self, drafts: Sequence[Draft]) -> list[Receipt] | None:
        """Commit in the event loop. Return None if that could block the loop, or another process holds the lock."""
        began_s = time.perf_counter()
        if len(drafts) > MAX_DRAFTS_IN_LOOP or began_s < self._thread_only_until_s or self._checkpointer.is_sync_due:
            return None
        if len(drafts) > MAX_RELATED_IN_LOOP and have_relations(drafts):
            return None
        if not self.thread.try_acquire():
            return None
        try:
            receipts = self.append(drafts)
        except sqlite3.Error as error:
            if is_busy(error):
                return None
            if is_damage(error):
                self._file.report_damage(str(to_chatkit_error(error, self._file.path)))
            raise to_chatkit_error(error, self._file.path) from error
        finally:
            self.thread.release()
        took_s = time.perf_counter() - began_s
        if took_s > SLOW_S:
            self._thread_only_until_s = began_s + took_s + SLOW_REST_S
        return receipts

    async def run(self, do: Do[T]) -> T:
        """Run a call that writes in the writer's thread, once no other process holds the lock."""

        def call(connection: sqlite3.Connection) -> T:
            self._check_file()
            return retry_while_busy(lambda: do(connection))

        return await self.thread.run(call)

    async def change(self, do: Do[T], n_bytes: int = 0) -> T:
        """Run a change of another table than those of rooms, of about `n_bytes` beside the usual pages."""

        def call(connection: sqlite3.Connection) -> T:
            result = do(connection)
            self.count_growth(n_bytes)
            return result

        return await self.run(call)

    def write_mark(self) -> None:
        """Record the newest message on the file; called after the thread has ended."""
        if self._ends.last_id > 0:
            self._file.write_mark(self._ends.last_id)

    # The methods below run in the writer's thread, or, while it is idle, in the event loop's.

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
        n_new = n_chars = 0
        for receipt in receipts:
            if not receipt.repeat:
                n_new += 1
                n_chars += len(receipt.message.body)
        listener = self._listener
        # The listener need not read this process's own messages, if no others are in between.
        if listener.is_polling and listener.last_id == self._ends.last_id - n_new:
            listener.last_id = self._ends.last_id
        self.count_growth(MESSAGE_BYTES * n_new + n_chars)
        return receipts

    def count_growth(self, n_bytes: int) -> None:
        """Begin a checkpoint if a commit of `n_bytes` has made the write-ahead log long."""
        self._grown_bytes += COMMIT_BYTES + n_bytes
        if self._grown_bytes >= CHECKPOINT_BYTES:
            self._begin_checkpoint()

    def _begin_checkpoint(self) -> None:
        self._grown_bytes = 0
        self._file.write_mark(self._ends.last_id)
        self._checkpoints.post(self._checkpointer.checkpoint)

    async def wait_for_checkpoint(self) -> None:
        """Wait for the checkpoints that are due, between two steps of a long removal.

        While nothing but messages is written, a checkpoint reaches the end of the write-ahead log, which then starts
        again. Otherwise the log would grow until it has to be emptied, for which appends wait.
        """
        if self._checkpoints.n_calls:
            await self._checkpoints.run(lambda _: None)

    def _append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        rooms = {draft.room for draft in drafts}
        try:
            if len(drafts) <= MAX_ROWS and rooms <= self._ends.by_room.keys():
                receipts = self._append_unlocked(drafts)
                if receipts is not None:
                    return receipts
                self._ends.clear()
            return self._append_locked(drafts, rooms)
        except BaseException:
            self._ends.clear()  # the cached ends were advanced for messages that are not stored
            raise

    def _append_unlocked(self, drafts: Sequence[Draft]) -> list[Receipt] | None:
        """Append after the cached ends without reading. Return None if the cache is outdated and nothing is stored."""
        receipts, rows = self._assign_numbers(drafts, {})
        try:
            return receipts if (self._insert_and_relate(rows) if rows.related else self._insert(rows)) else None
        except sqlite3.IntegrityError:
            return None

    def _insert_and_relate(self, rows: Rows) -> bool:
        with transaction(self._connection):
            is_inserted = self._insert(rows)
            if is_inserted:
                relate(self._cursor, rows.first_id)
        return is_inserted

    def _append_locked(self, drafts: Sequence[Draft], rooms: AbstractSet[str]) -> list[Receipt]:
        with transaction(self._connection):
            self._ends.load(self._cursor, rooms, self.epoch)
            receipts, rows = self._assign_numbers(drafts, self._find_repeats(drafts))
            self._insert_all(rows)
        return receipts

    def _assign_numbers(self, drafts: Iterable[Draft], stored: dict[_Key, Message]) -> tuple[list[Receipt], Rows]:
        """Make the receipt of each draft, and its row unless its key is among those `stored`."""
        rows, receipts, ends = Rows(), [], self._ends
        by_room = ends.by_room
        now_ms = time.time_ns() // 1_000_000
        for draft in drafts:
            room, key, body = draft.room, draft.key, draft.body
            if key is not None and (message := stored.get((room, draft.sender, key))) is not None:
                receipts.append(repeat_of(draft, message))
                continue
            end = by_room[room]
            end.last = seq = end.last + 1
            ends.last_id += 1
            flags = flags_of(draft) if draft.verified or draft.bot else 0
            rows.values += (ends.last_id, end.id, seq, now_ms, draft.sender, body, flags)
            is_plain = key is None and draft.data is None and draft.of is None and not draft.mentions
            if not (is_plain and body.isascii() and "\0" not in body):
                rows.add_extra(draft)
            rows.count += 1
            message = draft.to_message(end.epoch, seq, now_ms)
            receipts.append(Receipt(message))
            if key is not None:
                stored[room, draft.sender, key] = message
        return receipts, rows

    def _insert_all(self, rows: Rows) -> None:
        """Insert any number of rows, and fold them, in a transaction."""
        for part in rows.parts():
            self._insert(part)
        if rows.related:
            relate(self._cursor, rows.first_id)

    def _insert(self, rows: Rows) -> bool:
        """Insert at most MAX_ROWS rows in one statement. Return false if `top` has changed; then none is inserted."""
        if not rows.count:
            return True
        return self._cursor.execute(*rows.bind(self._ends.top)).rowcount > 0

    def _find_repeats(self, drafts: Iterable[Draft | Message]) -> dict[_Key, Message]:
        """Return the stored messages whose keys the drafts repeat, read by one statement."""
        keyed = [draft for draft in drafts if draft.key is not None]
        keys = [(self._ends.by_room[draft.room].id, draft.room, draft.key, draft.sender) for draft in keyed]
        if not keys:
            return {}
        (found,) = self._cursor.execute(_READ_KEYS, [_encode(keys).decode()]).fetchone()
        rows = decode_room_rows(found)
        return {
            (room, row.sender, row.key): row.to_message(room, self._ends.by_room[room].epoch)
            for room, _, row in rows
            if row.key is not None
        }

    def redact(self, room: str, seq: int) -> Message:
        """Remove the body of a message and of its edits; see `Backend.redact`."""
        with transaction(self._connection):
            found = self._cursor.execute(_READ_ONE, [room, seq]).fetchone()
            if found is None:
                raise NotFound(f"there is no message {seq} in {room!r}")
            room_id, life, row = found
            redact_entry(self._cursor, room_id, seq)
        self._checkpoints.post(self._checkpointer.empty)  # the write-ahead log still contains the body
        self._poll()
        return decode_row(row).to_tombstone().to_message(room, self.epoch + life)

    def drop(self, step: MeasuredStep, _: sqlite3.Connection) -> int:
        """Drop the messages of one step of a trim; return how many."""
        with transaction(self._connection):
            is_cache_valid = self._ends.is_current(self._cursor)
            dropped = drop_messages(self._cursor, step)
        if is_cache_valid:  # no other process has written: the cached ends stay valid under the new `top`
            self._ends.top = self._ends.last_id
        # The messages of different rooms are interleaved: each may be on a different page.
        self.count_growth(max(dropped * PAGE_BYTES, TEXT_WEIGHT * step.n_text_bytes(dropped)))
        return dropped

    def drop_senders(self, rooms: deque[tuple[int, int]], _: sqlite3.Connection) -> None:
        """Drop some senders of reactions to messages that were dropped. One step of a trim.

        Rooms in which no more are left are removed from `rooms`.
        """
        with transaction(self._connection):
            dropped = drop_senders(self._cursor, rooms)
        self.count_growth(dropped * MESSAGE_BYTES)

    def load(self, messages: Sequence[Message]) -> int:
        """Store messages of another store; see `Backend.load`. They have passed `check_load`."""
        try:
            with transaction(self._connection):
                new = self._load(messages)
        except BaseException:
            self._ends.clear()
            raise
        self.count_growth(sum(MESSAGE_BYTES + size_of(message) for message in new))
        self._poll()
        return len(new)

    def _load(self, messages: Sequence[Message]) -> Sequence[Message]:
        room = messages[0].room
        dropped, last = self._cursor.execute(_READ_HEAD, [room]).fetchone() or (0, 0)
        new = choose_new(messages, Head("", dropped + 1, last))
        if new:
            self._ends.load(self._cursor, {room}, self.epoch)
            check_keys(new, {(sender, key) for _, sender, key in self._find_repeats(new)})
            if new[0].seq > last + 1:
                self._cursor.execute("UPDATE room SET dropped = ? WHERE name = ?", [new[0].seq - 1, room])
            end, rows = self._ends.by_room[room], Rows()
            for message in new:
                self._ends.last_id += 1
                rows.add(message, self._ends.last_id, end.id)
            end.last = new[-1].seq
            self._insert_all(rows)
        return new

    def delete_room(self, room: str) -> bool:
        """Delete a room at once, except for the rows of its log, which `remove_deleted` removes."""
        is_deleted = hide_room(self._connection, room)
        if is_deleted:
            self._on_replaced()
        return is_deleted

    def rename_room(self, room: str, new: str) -> bool:
        """Move the log of a room to another name; see `Backend.rename_room`."""
        is_renamed = rename_room(self._connection, room, new)
        if is_renamed:
            self._on_replaced()
        return is_renamed

    def _on_replaced(self) -> None:
        self._ends.clear()
        self.count_growth(0)
        self._poll()

    def remove_deleted(self, connection: sqlite3.Connection) -> bool:
        """Remove some rows of deleted rooms. Return false if none is left."""
        self._check_file()
        removal = remove_step(connection)
        if removal is None:
            return False
        if removal.is_last:
            self._checkpoints.post(self._checkpointer.empty)  # the write-ahead log still contains the bodies
        self.count_growth(removal.n_rows * PAGE_BYTES + TEXT_WEIGHT * removal.n_text_bytes)
        return True

    def remove_all_deleted(self, connection: sqlite3.Connection) -> None:
        """Remove the rows of all deleted rooms, in steps between which other calls run."""
        if retry_while_busy(lambda: self.remove_deleted(connection)):
            self.thread.post(self.remove_all_deleted)

    def _poll(self) -> None:
        """Notify of changes by this process that are not appends."""
        if self._listener.is_polling:
            self._listener.poll()

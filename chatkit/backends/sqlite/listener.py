"""SqliteListener: detects the commits of other processes. Runs on the writer's connection.

SQLite does not announce commits, but `PRAGMA data_version` reports within microseconds whether another connection has
made one. New messages are then at the end of the message table. There is no polling while no room is watched. Once a
second the file itself is checked: a file that was removed or replaced still exists for the processes that have it open,
while all others use another file or find none.
"""

# ruff: noqa: S608 - the statements are composed of constants

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable
from math import inf

import msgspec

from chatkit.backends.sqlite.errors import is_damage, to_chatkit_error
from chatkit.backends.sqlite.file import SqliteFile
from chatkit.backends.sqlite.message_row import ROW, decode_room_rows
from chatkit.backoff import Backoff
from chatkit.core.backend import Disconnected, MessageRedacted, Notification, Reconnected, RoomAdvanced, Typing
from chatkit.core.model import Message  # noqa: TC001 - a cheap import is no reason to hide it

POLL_S = 0.025  # the delay of a notification, at the cost of some 40 short system calls a second
MAX_MESSAGES_A_POLL = 500  # after more new messages, notifications carry only the numbers that rooms have reached
RETRY_MIN_S, RETRY_MAX_S = 0.1, 5.0
FILE_CHECK_S = 1.0  # how long messages may be written to a file that is gone, for four system calls a second

_POSITIONS = """
    SELECT coalesce((SELECT max(id) FROM message), 0), top,
        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'redaction'), 0),
        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'typing'), 0)
    FROM meta
"""
_MESSAGES = f"""
    SELECT json_group_array(json_array(name, life, {ROW})) FROM (
        SELECT name, life, message.* FROM message JOIN room ON room.id = message.room
        WHERE message.id > ? ORDER BY message.id
    ) AS message
"""
_REACHED = """
    SELECT json_group_array(json_array(name, last, life)) FROM (
        SELECT name, life, max(seq) AS last FROM message JOIN room ON room.id = message.room
        WHERE message.id > ? GROUP BY message.room
    )
"""
_HEADS = """
    SELECT json_group_array(json_array(
        name, coalesce((SELECT max(seq) FROM message WHERE room = room.id), dropped), life
    )) FROM json_each(?) AS asked CROSS JOIN room ON name = asked.value
"""
_REDACTED = """
    SELECT json_group_array(json_array(name, seq)) FROM (
        SELECT name, seq FROM redaction JOIN room ON room.id = redaction.room
        WHERE redaction.id > ? ORDER BY redaction.id
    )
"""
_TYPING = "SELECT room, sender FROM typing WHERE id > ? AND process <> ? ORDER BY id"
_decode_ends = msgspec.json.Decoder(list[tuple[str, int, str]]).decode
_decode_numbers = msgspec.json.Decoder(list[tuple[str, int]]).decode


class SqliteListener:
    """What this process has read of the store so far.

    Only the event loop changes `watched` and `is_polling`; everything else belongs to the holder of the writer's
    connection.
    """

    def __init__(self, file: SqliteFile, notify: Callable[[list[Notification]], None]) -> None:
        self._file = file
        self._notify = notify
        self.process = secrets.token_hex(6)  # distinguishes this process's own typing notifications
        self.watched: set[str] = set()
        self.is_polling = False
        self.last_id = -1  # the newest message that was read; the writer advances it for its own messages
        self._version = self._top = self._redaction = self._typing = -1
        self._due_s = -inf
        self._check_due_s = -inf
        self._backoff = Backoff(RETRY_MIN_S, RETRY_MAX_S)
        self._is_failing = False  # the last poll raised an error
        self._reason: str | None = None  # why the store was reported as disconnected; None while it is connected
        self._connection: sqlite3.Connection
        self._epoch: str

    def open(self, connection: sqlite3.Connection, epoch: str) -> None:
        """Set the writer's connection and the epoch of the store."""
        self._connection, self._epoch = connection, epoch
        self._check_due_s = time.monotonic() + FILE_CHECK_S

    def start(self) -> None:
        """Read the current state of the store, from which the first poll starts."""
        self._version = self._read_version()
        self.last_id, self._top, self._redaction, self._typing = self._connection.execute(_POSITIONS).fetchone()
        self._due_s = -inf

    def tick(self) -> float:
        """Check the file and poll the store, if they are due; return the seconds until either is due again."""
        now_s = time.monotonic()
        if now_s >= self._check_due_s:
            self._check_due_s = now_s + FILE_CHECK_S
            self._file.check()
        due_s = self._check_due_s
        if self.is_polling and self._file.fault is None:
            if now_s >= self._due_s:
                self._due_s = now_s + self._poll_if_changed()
            due_s = min(due_s, self._due_s)
        self._report()  # last: messages are notified before Reconnected
        return due_s - now_s

    def _report(self, error: str | None = None) -> None:
        """Notify that the store became unavailable or available; `error` is the error of the last poll."""
        reason = self._file.fault or error
        if reason is not None and self._reason is None:
            self._notify([Disconnected(reason)])
        elif reason is None and self._reason is not None and not self._is_failing:
            self._notify([Reconnected()])
        else:
            return
        self._reason = reason

    def poll(self) -> None:
        """Notify the changes since the last poll."""
        last_id, top, redaction, typing = self._connection.execute(_POSITIONS).fetchone()
        notifications: list[Notification] = []
        if top != self._top:  # new messages may have been trimmed already: then only the heads show them
            notifications += self._read_ends(_HEADS, msgspec.json.encode(list(self.watched)).decode())
        elif last_id - self.last_id > MAX_MESSAGES_A_POLL:
            notifications += self._read_ends(_REACHED, self.last_id)
        elif last_id > self.last_id:
            notifications += self._read_messages()
        if redaction > self._redaction:
            notifications += self._read_redactions()
        if typing > self._typing:
            notifications += self._read_typing()
        self.last_id, self._top, self._redaction, self._typing = last_id, top, redaction, typing
        if notifications:
            self._notify(notifications)

    def _poll_if_changed(self) -> float:
        try:
            version = self._read_version()
            if version != self._version:
                self.poll()
                self._version = version
        except sqlite3.Error as error:
            if is_damage(error):
                self._file.report_damage(str(to_chatkit_error(error, self._file.path)))
            self._is_failing = True
            self._report(str(to_chatkit_error(error, self._file.path)))
            return self._backoff.next_s()
        self._is_failing = False
        self._backoff.reset()
        return POLL_S

    def _read_version(self) -> int:
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    def _read_messages(self) -> Iterable[Notification]:
        (found,) = self._connection.execute(_MESSAGES, [self.last_id]).fetchone()
        advanced: dict[str, list[Message]] = {}
        for room, life, row in decode_room_rows(found):
            if room in self.watched:
                advanced.setdefault(room, []).append(row.to_message(room, self._epoch + life))
        return [RoomAdvanced(room, messages[-1].seq, messages) for room, messages in advanced.items()]

    def _read_ends(self, statement: str, value: int | str) -> Iterable[Notification]:
        (found,) = self._connection.execute(statement, [value]).fetchone()
        return [
            RoomAdvanced(room, last, epoch=self._epoch + life)
            for room, last, life in _decode_ends(found)
            if room in self.watched
        ]

    def _read_redactions(self) -> Iterable[Notification]:
        (found,) = self._connection.execute(_REDACTED, [self._redaction]).fetchone()
        return [MessageRedacted(room, seq) for room, seq in _decode_numbers(found) if room in self.watched]

    def _read_typing(self) -> Iterable[Notification]:
        found = self._connection.execute(_TYPING, [self._typing, self.process])
        return [Typing(room, sender) for room, sender in found if room in self.watched]

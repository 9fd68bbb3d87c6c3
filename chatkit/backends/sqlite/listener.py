"""StoreListener: notices what others do to the store. Runs on the writer's connection.

SQLite does not announce a commit, but `PRAGMA data_version` answers in microseconds whether another connection has made
one. What is new is then the message table's end. Nothing is asked while no room is watched. Once a second the file
itself is checked: one that was removed or replaced is still there for whoever has it open, and nobody else.
"""

# ruff: noqa: S608 - the statements are put together from constants

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable
from math import inf

import msgspec

from chatkit.backends.sqlite.errors import as_ours, is_damage
from chatkit.backends.sqlite.file import StoreFile
from chatkit.backends.sqlite.reader import ROW, decode_room_rows
from chatkit.backoff import Backoff
from chatkit.core.backend import Disconnected, MessageRedacted, Notification, Reconnected, RoomAdvanced, Typing
from chatkit.core.model import Message  # noqa: TC001 - a cheap import is no reason to hide it

POLL_S = 0.025  # how late news may be, against some 40 short system calls a second
MAX_CARRIED = 500  # messages carried by one poll; of more, only the number reached is told
RETRY_MIN_S, RETRY_MAX_S = 0.1, 5.0
FILE_CHECK_S = 1.0  # how long messages may go to a file that is gone, against four system calls a second

_MARKS = """
    SELECT coalesce((SELECT max(id) FROM message), 0), top,
        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'redaction'), 0),
        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'typing'), 0)
    FROM meta
"""
_CARRIED = f"""
    SELECT json_group_array(json_array(name, {ROW})) FROM (
        SELECT name, message.* FROM message JOIN room ON room.id = message.room
        WHERE message.id > ? ORDER BY message.id
    ) AS message
"""
_REACHED = """
    SELECT json_group_array(json_array(name, last)) FROM (
        SELECT name, max(seq) AS last FROM message JOIN room ON room.id = message.room
        WHERE message.id > ? GROUP BY message.room
    )
"""
_HEADS = """
    SELECT json_group_array(json_array(name, coalesce((SELECT max(seq) FROM message WHERE room = room.id), dropped)))
    FROM json_each(?) AS asked CROSS JOIN room ON name = asked.value
"""
_REDACTED = """
    SELECT json_group_array(json_array(name, seq)) FROM (
        SELECT name, seq FROM redaction JOIN room ON room.id = redaction.room
        WHERE redaction.id > ? ORDER BY redaction.id
    )
"""
_WRITING = "SELECT room, sender FROM typing WHERE id > ? AND process <> ? ORDER BY id"
_decode_numbers = msgspec.json.Decoder(list[tuple[str, int]]).decode


class StoreListener:
    """What this process has seen of the store. Only the event loop changes `watched` and `is_polling`."""

    def __init__(self, file: StoreFile, notify: Callable[[list[Notification]], None]) -> None:
        self._file = file
        self._notify = notify
        self.process = secrets.token_hex(6)  # tells this process's own signals from those of others
        self.watched: set[str] = set()
        self.is_polling = False
        self.last_id = -1  # the newest message that was seen; the writer moves it on over its own
        self._version = self._top = self._redaction = self._typing = -1
        self._due_s = -inf
        self._check_due_s = -inf
        self._backoff = Backoff(RETRY_MIN_S, RETRY_MAX_S)
        self._is_failing = False  # polling met an error, and has not worked since
        self._reason: str | None = None  # why the store is reported as away
        self._connection: sqlite3.Connection
        self._epoch: str

    def open(self, connection: sqlite3.Connection, epoch: str) -> None:
        """Use the writer's connection from now on."""
        self._connection, self._epoch = connection, epoch
        self._check_due_s = time.monotonic() + FILE_CHECK_S

    def start(self) -> None:
        """Treat what is there now as seen."""
        self._version = self._read_version()
        self.last_id, self._top, self._redaction, self._typing = self._connection.execute(_MARKS).fetchone()
        self._due_s = -inf

    def tick(self) -> float:
        """Check the file, and look for what is new, where it is time to; return in how many seconds that is next."""
        now_s = time.monotonic()
        if now_s >= self._check_due_s:
            self._check_due_s = now_s + FILE_CHECK_S
            self._file.check()
        due_s = self._check_due_s
        if self.is_polling and self._file.fault is None:
            if now_s >= self._due_s:
                self._due_s = now_s + self._try()
            due_s = min(due_s, self._due_s)
        self._report()  # last: what is new comes before the news that the store is back
        return due_s - now_s

    def _report(self, error: str | None = None) -> None:
        """Notify of a store that goes away or comes back; `error` is what polling it met."""
        reason = self._file.fault or error
        if reason is not None and self._reason is None:
            self._notify([Disconnected(reason)])
        elif reason is None and self._reason is not None and not self._is_failing:
            self._notify([Reconnected()])
        else:
            return
        self._reason = reason

    def poll(self) -> None:
        """Notify of what is new since the last time."""
        last_id, top, redaction, typing = self._connection.execute(_MARKS).fetchone()
        news: list[Notification] = []
        if top != self._top:  # what is new may be trimmed already, and is then in no table
            news += self._heads()
        elif last_id - self.last_id > MAX_CARRIED:
            news += self._numbers(_REACHED, self.last_id, RoomAdvanced)
        elif last_id > self.last_id:
            news += self._carried()
        if redaction > self._redaction:
            news += self._numbers(_REDACTED, self._redaction, MessageRedacted)
        if typing > self._typing:
            news += self._writing()
        self.last_id, self._top, self._redaction, self._typing = last_id, top, redaction, typing
        if news:
            self._notify(news)

    def _try(self) -> float:
        try:
            version = self._read_version()
            if version != self._version:
                self.poll()
                self._version = version
        except sqlite3.Error as error:
            if is_damage(error):
                self._file.report_damage(str(as_ours(error, self._file.path)))
            self._is_failing = True
            self._report(str(as_ours(error, self._file.path)))
            return self._backoff.next_s()
        self._is_failing = False
        self._backoff.reset()
        return POLL_S

    def _read_version(self) -> int:
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    def _carried(self) -> Iterable[Notification]:
        (found,) = self._connection.execute(_CARRIED, [self.last_id]).fetchone()
        grown: dict[str, list[Message]] = {}
        for room, row in decode_room_rows(found):
            if room in self.watched:
                grown.setdefault(room, []).append(row.to_message(room, self._epoch))
        return [RoomAdvanced(room, messages[-1].seq, messages) for room, messages in grown.items()]

    def _heads(self) -> Iterable[Notification]:
        asked = msgspec.json.encode(list(self.watched)).decode()
        (found,) = self._connection.execute(_HEADS, [asked]).fetchone()
        return [RoomAdvanced(room, last) for room, last in _decode_numbers(found)]

    def _writing(self) -> Iterable[Notification]:
        found = self._connection.execute(_WRITING, [self._typing, self.process])
        return [Typing(room, sender) for room, sender in found if room in self.watched]

    def _numbers(
        self, question: str, since: int, kind: type[RoomAdvanced] | type[MessageRedacted]
    ) -> Iterable[Notification]:
        (found,) = self._connection.execute(question, [since]).fetchone()
        return [kind(room, number) for room, number in _decode_numbers(found) if room in self.watched]

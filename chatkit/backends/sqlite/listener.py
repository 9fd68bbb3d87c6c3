"""Watch: how a process hears what others commit to the same file. Runs on the writer's connection, as the log does.

SQLite tells nobody of a commit, but `PRAGMA data_version` answers in microseconds whether another connection has made
one. What is new is then the message table's end. Nothing is asked while no room is watched.
"""

# ruff: noqa: S608 - the statements are put together from constants

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from chatkit.backends.sqlite.row import ROW, decode_room_rows
from chatkit.backends.sqlite.schema import as_ours
from chatkit.backoff import Backoff
from chatkit.core.backend import Disconnected, MessageRedacted, Notification, Reconnected, RoomAdvanced, Writing
from chatkit.core.model import Message  # noqa: TC001 - a cheap import is no reason to hide it

POLL_S = 0.025  # how late news may be, against some 40 short system calls a second
MAX_CARRIED = 500  # messages carried by one poll; of more, only the number reached is told
RETRY_MIN_S, RETRY_MAX_S = 0.1, 5.0

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


class SqliteListener:
    """What this process has seen of the store. `watched` and `is_polling` are the event loop's to change."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, epoch: str, tell: Callable[[list[Notification]], None]
    ) -> None:
        self._connection = connection
        self._path = path
        self._epoch = epoch
        self._tell = tell
        self.process = secrets.token_hex(6)  # how this one's own words are told apart
        self.watched: set[str] = set()
        self.is_polling = False
        self._version = self._last_id = self._top = self._redaction = self._typing = -1
        self._due_s = 0.0
        self._backoff = Backoff(RETRY_MIN_S, RETRY_MAX_S)
        self._is_broken = False

    def start(self) -> None:
        """Take what is there now for seen."""
        self._version = self._read_version()
        self._last_id, self._top, self._redaction, self._typing = self._connection.execute(_MARKS).fetchone()
        self._due_s = 0.0

    def appended(self, last_id: int, count: int) -> None:
        """Take this process's own messages for seen, if nothing of others' is between."""
        if self._last_id == last_id - count:
            self._last_id = last_id

    def tick(self) -> float | None:
        """Ask if it is time to; return in how many seconds it is next, or None while no room is watched."""
        if not self.is_polling:
            return None
        now_s = time.monotonic()
        if now_s >= self._due_s:
            self._due_s = now_s + self._try()
        return self._due_s - now_s

    def poll(self) -> None:
        """Tell what is new since the last time."""
        last_id, top, redaction, typing = self._connection.execute(_MARKS).fetchone()
        news: list[Notification] = []
        if top != self._top:  # what is new may be trimmed already, and is then in no table
            news += self._heads()
        elif last_id - self._last_id > MAX_CARRIED:
            news += self._numbers(_REACHED, self._last_id, RoomAdvanced)
        elif last_id > self._last_id:
            news += self._carried()
        if redaction > self._redaction:
            news += self._numbers(_REDACTED, self._redaction, MessageRedacted)
        if typing > self._typing:
            news += self._writing()
        self._last_id, self._top, self._redaction, self._typing = last_id, top, redaction, typing
        if news:
            self._tell(news)

    def _try(self) -> float:
        try:
            version = self._read_version()
            if version != self._version:
                self.poll()
                self._version = version
        except sqlite3.Error as error:
            if not self._is_broken:
                self._is_broken = True
                self._tell([Disconnected(str(as_ours(error, self._path)))])
            return self._backoff.next_s()
        if self._is_broken:
            self._is_broken = False
            self._backoff.reset()
            self._tell([Reconnected()])
        return POLL_S

    def _read_version(self) -> int:
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    def _carried(self) -> Iterable[Notification]:
        (found,) = self._connection.execute(_CARRIED, [self._last_id]).fetchone()
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
        return [Writing(room, sender) for room, sender in found if room in self.watched]

    def _numbers(
        self, question: str, since: int, kind: type[RoomAdvanced] | type[MessageRedacted]
    ) -> Iterable[Notification]:
        (found,) = self._connection.execute(question, [since]).fetchone()
        return [kind(room, number) for room, number in _decode_numbers(found) if room in self.watched]

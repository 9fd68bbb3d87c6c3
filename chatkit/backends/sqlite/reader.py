"""Reading the log: rows, pages and the list of rooms. Runs in a reader's thread.

Each read is one statement, so that its result is a snapshot of one moment. Many rows are returned as one JSON value,
made within one step of SQLite: if they were read row by row, Python's sqlite3 would release the interpreter's lock for
each, and wait for it behind a busy event loop.
"""

import sqlite3
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec

from chatkit.backends.sqlite.message_row import decode_rows
from chatkit.backends.sqlite.page_statement import page_statement, rooms_statement
from chatkit.backends.sqlite.search_index import find_parts
from chatkit.core.backend import Filter, Page, RoomInfo
from chatkit.core.model import Head, Message
from chatkit.core.name_range import next_name
from chatkit.core.page_size import MAX_PAGE_BYTES, size_of
from chatkit.core.text import fold

BEYOND = 2**62  # a number that no message has
STEP_ROOMS = 1_000  # decoded at once: the event loop waits for about a millisecond
STEP_MESSAGES = 128  # messages whose sizes are added up in one statement; the largest messages have 16 MB together

_ROOMS = """
    SELECT json_group_array(json_array(name, dropped, last, time_ms, life)) FROM (
        SELECT name, life, dropped, coalesce(seq, dropped) AS last, coalesce(time_ms, dropped_time_ms) AS time_ms
        FROM room LEFT JOIN message
        ON message.room = room.id AND seq = (SELECT max(seq) FROM message WHERE room = room.id)
        WHERE coalesce(seq, dropped) > 0 AND name >= :start AND (:end IS NULL OR name < :end)
        ORDER BY name LIMIT :limit
    )
"""
_HEADS = """
    SELECT json_group_array(json_array(name, dropped, last, life)) FROM (
        SELECT name, dropped, life, coalesce((SELECT max(seq) FROM message WHERE room = room.id), dropped) AS last
        FROM json_each(:rooms) AS asked CROSS JOIN room ON name = asked.value
    ) WHERE last > 0
"""


_decode_names = msgspec.json.Decoder(list[str]).decode
_decode_heads = msgspec.json.Decoder(list[tuple[str, int, int, str]]).decode
_decode_rooms = msgspec.json.Decoder(list[tuple[str, int, int, int, str]]).decode


def read_page(
    connection: sqlite3.Connection,
    epoch: str,
    room: str,
    *,
    after: int | None,
    before: int | None,
    limit: int,
    where: Filter | None,
    folded: bool,
) -> Page:
    """Read a page; see `Backend.read`. A long page is read in steps of one snapshot, until it has enough bytes."""
    request = _PageRequest(epoch, room, after, before, where or Filter(), folded)
    if limit <= STEP_MESSAGES and request.where.search is None:
        return _read_step(connection, request, limit, MAX_PAGE_BYTES)
    connection.execute("BEGIN")
    try:
        return _read_steps(connection, request.divide(connection), limit)
    finally:
        if connection.in_transaction:  # some errors have ended the transaction
            connection.execute("COMMIT")


class _PageRequest(msgspec.Struct, frozen=True):
    """A range of a room's log, and a filter."""

    epoch: str
    room: str
    after: int | None
    before: int | None
    where: Filter
    folded: bool

    def after_messages(self, messages: Sequence[Message]) -> "_PageRequest":
        """Return the rest of the range after these messages, in the direction of reading."""
        if self.after is not None:
            return msgspec.structs.replace(self, after=messages[-1].seq)
        return msgspec.structs.replace(self, before=messages[0].seq)

    def divide(self, connection: sqlite3.Connection) -> "deque[_PageRequest]":
        """Return the parts of the range that have to be read, in the direction of reading: an index excludes others."""
        if self.where.search is None:
            return deque([self])
        low = max(self.after or 0, self.where.above or 0)
        high = BEYOND if self.before is None else self.before
        is_forward = self.after is not None
        parts = [
            msgspec.structs.replace(
                self,
                after=after if is_forward else None,
                before=before,
                where=msgspec.structs.replace(self.where, above=after),
            )
            for after, before in find_parts(connection, self.room, fold(self.where.search), low, high)
        ]
        return deque(parts if is_forward else parts[::-1])


def _read_steps(connection: sqlite3.Connection, parts: deque[_PageRequest], limit: int) -> Page:
    messages: list[Message] = []
    n_bytes = 0
    request = parts.popleft()
    while True:
        step = _read_step(connection, request, min(limit - len(messages), STEP_MESSAGES), MAX_PAGE_BYTES - n_bytes)
        new_bytes = sum(map(size_of, step.messages))
        if messages and n_bytes + new_bytes > MAX_PAGE_BYTES:  # a single large message, which gets its own page
            return Page(step.head, messages, complete=False)
        n_bytes += new_bytes
        messages = [*messages, *step.messages] if request.after is not None else [*step.messages, *messages]
        if step.complete and parts:  # with a limit of 0, the next step says whether it has more messages
            request = parts.popleft()
        elif step.complete or len(messages) >= limit or n_bytes >= MAX_PAGE_BYTES:
            return Page(step.head, messages, complete=step.complete)
        else:
            request = request.after_messages(step.messages)


def _read_step(connection: sqlite3.Connection, request: _PageRequest, limit: int, max_bytes: int) -> Page:
    is_forward = request.after is not None
    statement, values = page_statement(request.where, is_forward=is_forward, folded=request.folded)
    after = max(request.after or 0, request.where.above or 0)
    values |= {"room": request.room, "after": after, "limit": limit, "max_bytes": max_bytes}
    values["before"] = BEYOND if request.before is None else request.before
    found = connection.execute(statement, values).fetchone()
    if found is None:
        return Page(Head(request.epoch, 1, 0), [], complete=True)
    dropped, last, life, n_found, rows = found
    epoch = request.epoch + life.decode()
    messages = [row.to_message(request.room, epoch) for row in decode_rows(rows)]
    is_complete = n_found <= limit and len(messages) == n_found
    del messages[limit:]
    if not is_forward:
        messages.reverse()
    return Page(Head(epoch, dropped + 1, last), messages, complete=is_complete)


def find_rooms(connection: sqlite3.Connection, rooms: Sequence[str], where: Filter) -> Sequence[str]:
    """Return the rooms that may have a message that matches; see `Backend.find_rooms`."""
    statement, values = rooms_statement(where)
    (found,) = connection.execute(statement, values | {"rooms": msgspec.json.encode(rooms).decode()}).fetchone()
    return _decode_names(found)


def read_rooms(
    connection: sqlite3.Connection, epoch: str, start: str = "", end: str | None = None, limit: int | None = None
) -> list[RoomInfo]:
    """Return the rooms; see `Backend.rooms`. A long list is read in steps of one snapshot, as a long page is."""
    if limit is not None and limit <= STEP_ROOMS:
        return _read_rooms_step(connection, epoch, start, end, limit)
    connection.execute("BEGIN")
    try:
        found: list[RoomInfo] = []
        while limit is None or len(found) < limit:
            n_wanted = STEP_ROOMS if limit is None else min(limit - len(found), STEP_ROOMS)
            step = _read_rooms_step(connection, epoch, start, end, n_wanted)
            found += step
            if len(step) < n_wanted:
                break
            start = next_name(step[-1].room)
        return found
    finally:
        if connection.in_transaction:  # some errors have ended the transaction
            connection.execute("COMMIT")


def read_heads(connection: sqlite3.Connection, epoch: str, rooms: Iterable[str]) -> dict[str, Head]:
    """Return the heads of rooms; see `Backend.heads`."""
    heads: dict[str, Head] = {}
    names = iter(rooms)
    while step := list(islice(names, STEP_ROOMS)):
        (found,) = connection.execute(_HEADS, {"rooms": msgspec.json.encode(step).decode()}).fetchone()
        heads |= {name: Head(epoch + life, dropped + 1, last) for name, dropped, last, life in _decode_heads(found)}
    return heads


def _read_rooms_step(
    connection: sqlite3.Connection, epoch: str, start: str, end: str | None, limit: int
) -> list[RoomInfo]:
    (found,) = connection.execute(_ROOMS, {"start": start, "end": end, "limit": limit}).fetchone()
    return [
        RoomInfo(name, Head(epoch + life, dropped + 1, last), time_ms)
        for name, dropped, last, time_ms, life in _decode_rooms(found)
    ]

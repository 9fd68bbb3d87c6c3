"""The statement that reads a page: where its messages are found, which of them match a filter, and what is returned."""

import re
from typing import Final, NamedTuple, TypeAlias

from chatkit.backends.sqlite.message_row import BODY, FOLDED, FOLDED_ROW, IS_REFERRED, ROW, STATE
from chatkit.core.reading import Filter
from chatkit.core.text import fold

Values: TypeAlias = dict[str, str | int | None]

PREFILTER_CHARS: Final = 16  # a longer pattern excludes hardly more rows

# The sizes of the messages are added up first: bodies beyond the limit on bytes are never read.
_PAGE = """
    SELECT dropped, coalesce((SELECT max(seq) FROM message WHERE room = room.id), dropped), life, chosen.count,
        chosen.rows
    FROM room LEFT JOIN (
        SELECT count(*) AS count, json_group_array({row}) FILTER (WHERE message.id IS NOT NULL) AS rows FROM (
            SELECT id, n_bytes, sum(n_bytes) OVER (ROWS UNBOUNDED PRECEDING) AS total FROM (
                SELECT message.id, {size} AS n_bytes FROM {tables} {state} WHERE {where}
                ORDER BY {order} LIMIT :limit + 1
            )
        ) AS found LEFT JOIN message ON message.id = found.id AND (total <= :max_bytes OR total = n_bytes) {state}
    ) AS chosen WHERE name = :room
"""
_SIZE = "coalesce(length(CAST({body} AS BLOB)), 0) + coalesce(length(CAST(message.data AS BLOB)), 0)"
# LIKE is a prefilter that halves the time. It folds ASCII only; rows for which that is not enough have `folded`, and
# rows that were edited have another text. With a mere parameter as its pattern, SQLite would prepare the statement for
# each execution again, which takes longer than a search of a short room.
_SEARCH = """(message.body LIKE (:prefilter || '') OR message.folded IS NOT NULL OR {is_referred})
    AND CASE WHEN {folded} IS NULL THEN instr(lower({body}), :search) ELSE instr({folded}, :search) END"""
# The rooms of a list in which some entry matches, be it a message or an edit.
_ROOMS = """
    SELECT json_group_array(name) FROM json_each(:rooms) AS asked CROSS JOIN room ON room.name = asked.value
    WHERE EXISTS (SELECT * FROM message WHERE message.room = room.id AND {where})
"""
_CONDITIONS = {
    "sender": "message.sender = :sender",
    "since_ms": "message.time_ms >= :since_ms",
    "until_ms": "message.time_ms < :until_ms",
    "of": "message.of = :of",
}


class _Source(NamedTuple):
    """Where the messages of a page are found: tables that begin with few others, their range, and their order."""

    tables: str
    range: str
    order: tuple[str, ...]


_ROOM = "(SELECT id FROM room WHERE name = :room)"
_RANGE = "message.seq > :after AND message.seq < :before"
_ALL = _Source("message", f"message.room = {_ROOM} AND {_RANGE}", ("message.seq",))
_REFERRING = _ALL._replace(tables="message INDEXED BY message_of")
_PINNED = _Source(
    "message_state AS pinned INDEXED BY message_state_pinned"
    " CROSS JOIN message ON message.room = pinned.room AND message.seq = pinned.seq",
    f"pinned.room = {_ROOM} AND pinned.is_pinned AND {_RANGE}",
    ("pinned.seq",),
)
# The messages between the runs of changes, run by run. A room without changes has no run.
_BETWEEN_RUNS = _Source(
    """
        room LEFT JOIN change_run AS run ON run.room = room.id AND run.first < :before
        AND run.first >= (SELECT max(first) FROM change_run WHERE room = room.id AND first <= :after + 1)
        CROSS JOIN message ON message.room = room.id AND message.seq > max(:after, coalesce(run.last, 0))
        AND message.seq < min(:before, coalesce(
            (SELECT min(first) FROM change_run WHERE room = run.room AND first > run.first), :before
        ))
    """,
    "room.name = :room",
    ("run.first", "message.seq"),
)


def page_statement(where: Filter, *, is_forward: bool, folded: bool) -> tuple[str, Values]:
    """Return the statement, and the values to bind to it beside `room`, `after`, `before`, `limit` and `max_bytes`."""
    source = _choose_source(where, folded=folded)
    conditions, values = _choose_conditions(where, folded=folded)
    statement = _PAGE.format(
        row=FOLDED_ROW if folded else ROW,
        size=_SIZE.format(body=BODY if folded else "message.body"),
        tables=source.tables,
        state=STATE if folded else "",
        where=" AND ".join([source.range, *conditions]),
        order=", ".join(f"{column} {'ASC' if is_forward else 'DESC'}" for column in source.order),
    )
    return statement, values


def rooms_statement(where: Filter) -> tuple[str, Values]:
    """Return the statement that finds rooms, and the values to bind to it beside `rooms`; see `Backend.find_rooms`."""
    is_match = _SEARCH.format(body="message.body", folded="message.folded", is_referred="FALSE")
    times = [_CONDITIONS[name] for name in ("since_ms", "until_ms") if getattr(where, name) is not None]
    in_time = " AND ".join(times) or "TRUE"  # an edit may be later than its message
    search = fold(where.search or "")
    return _ROOMS.format(where=f"{is_match} AND (message.act IS NOT NULL OR {in_time})"), {
        "search": search,
        "prefilter": prefilter(search),
        "since_ms": where.since_ms,
        "until_ms": where.until_ms,
    }


def _choose_source(where: Filter, *, folded: bool) -> _Source:
    if where.of is not None:
        return _REFERRING
    if not folded:
        return _ALL
    return _PINNED if where.pinned else _BETWEEN_RUNS


def _choose_conditions(where: Filter, *, folded: bool) -> tuple[list[str], Values]:
    conditions = [condition for name, condition in _CONDITIONS.items() if getattr(where, name) is not None]
    values: Values = {name: getattr(where, name) for name in _CONDITIONS if getattr(where, name) is not None}
    if folded:
        conditions.append("message.act IS NULL")
    if where.pinned:
        conditions.append("state.is_pinned" if folded else "FALSE")
    if where.search is not None:
        body, folded_body, is_referred = (
            (BODY, FOLDED, IS_REFERRED) if folded else ("message.body", "message.folded", "FALSE")
        )
        conditions.append(_SEARCH.format(body=body, folded=folded_body, is_referred=is_referred))
        search = fold(where.search)
        values |= {"search": search, "prefilter": prefilter(search)}
    return conditions, values


def prefilter(search: str) -> str:
    """Return a LIKE pattern that every matching body matches: the longest part of the search without wildcards.

    The time for a pattern with many wildcards has no bound; and a long pattern, in a repetitive body, takes its length
    for each character of the body.
    """
    return f"%{max(re.split('[%_]', search), key=len)[:PREFILTER_CHARS]}%"

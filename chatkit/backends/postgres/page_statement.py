"""The statement that reads a page: where its messages are found, which of them match a filter, and what is returned."""

# ruff: noqa: S608 - the statements are composed of constants

from typing import Final

from chatkit.backends.postgres.escaping import escape, prefilter
from chatkit.backends.postgres.message_row import BODY, COLUMNS, FOLDED_COLUMNS, REACTIONS, STATE
from chatkit.backends.postgres.schema import folded_text
from chatkit.core.reading import Filter
from chatkit.core.text import fold

BEYOND: Final = 2**62  # a number that no message has
N_VALUES: Final = 5  # that are bound beside those of the filter: room, after, before, limit + 1, bytes

# The sizes are added up first, without reading long bodies; bodies beyond the limit on bytes are not sent.
_PAGE = """
    SELECT epoch || coalesce(epoch_suffix, '') AS epoch, coalesce(dropped, 0) AS dropped, coalesce(last, 0) AS last,
        found.* {reactions}
    FROM {schema}.meta LEFT JOIN {schema}.room ON name = $1 LEFT JOIN LATERAL (
        SELECT sized.*, count(*) OVER () AS n_found FROM (
            SELECT *, sum(n_bytes) OVER (ORDER BY seq {order} ROWS UNBOUNDED PRECEDING) AS total FROM (
                SELECT {columns}, octet_length({body}) + coalesce(octet_length(message.data), 0) AS n_bytes
                FROM (SELECT * FROM ({chosen}) AS message ORDER BY seq {order} LIMIT $4) AS message {state}
            ) AS asked
        ) AS sized
    ) AS found ON total <= $5 OR total = n_bytes ORDER BY seq {order}
"""
_IN_RANGE = "message.room = room.id AND message.seq > $2 AND message.seq < $3"
_ALL = f"SELECT * FROM {{schema}}.message WHERE {_IN_RANGE} {{where}}"
# The messages between runs of changes. A gap between two runs has at least one message, unless it is at an end of the
# range: so some more gaps than messages are enough, and of these the first that have enough messages together. A room
# without changes is one gap.
_BETWEEN_RUNS = """
    SELECT message.* FROM (
        SELECT *, sum(high - low) OVER (ORDER BY low {order}) - (high - low) AS n_before FROM (
            SELECT greatest(run.last, $2, room.dropped) AS low, least($3, room.last + 1, (
                SELECT min(first) FROM {schema}.change_run WHERE room = room.id AND first > run.first
            )) - 1 AS high
            FROM (
                (
                    SELECT first, last FROM {schema}.change_run WHERE room = room.id AND first < $3 AND first >= (
                        SELECT max(first) FROM {schema}.change_run WHERE room = room.id AND first <= $2 + 1
                    ) ORDER BY first {order} LIMIT $4 + 2
                )
                UNION ALL SELECT 0, 0 WHERE NOT EXISTS (SELECT FROM {schema}.change_run WHERE room = room.id)
            ) AS run
        ) AS gap WHERE low < high
    ) AS gap CROSS JOIN LATERAL (
        SELECT * FROM {schema}.message WHERE message.room = room.id AND seq > low AND seq <= high AND act IS NULL
        ORDER BY seq {order} LIMIT $4
    ) AS message WHERE n_before < $4
"""
# A search for the current text: of messages without an edit, and of the newest edits of the others.
_SEARCH = f"""
    (
        SELECT message.* FROM {{schema}}.message WHERE {_IN_RANGE} {{where}} {{search}} AND NOT EXISTS (
            SELECT FROM {{schema}}.message_state AS state
            WHERE state.room = message.room AND state.seq = message.seq AND state.edit IS NOT NULL
        ) ORDER BY seq {{order}} LIMIT $4
    ) UNION ALL (
        SELECT message.* FROM {{schema}}.message_state AS state
        JOIN {{schema}}.message AS entry ON entry.room = state.room AND entry.seq = state.edit
        JOIN {{schema}}.message ON message.room = state.room AND message.seq = state.seq
        WHERE {_IN_RANGE} AND state.room = room.id AND state.seq > $2 AND state.seq < $3 AND state.edit IS NOT NULL
        {{where}} {{search_edit}} ORDER BY message.seq {{order}} LIMIT $4
    )
"""
# The rooms of a list in which some entry matches, be it a message or an edit.
_ROOMS = """
    SELECT name FROM {schema}.room
    WHERE name = ANY ($1) AND EXISTS (SELECT FROM {schema}.message WHERE message.room = room.id
"""
# Compared as a whole, the columns are an index's, which the planner then uses, whatever its statistics say.
_REFERRING = f"""
    SELECT * FROM {{schema}}.message
    WHERE (message.room, message.of, message.seq) > (room.id, ${N_VALUES + 1}, $2)
    AND (message.room, message.of, message.seq) < (room.id, ${N_VALUES + 1}, $3) AND message.of IS NOT NULL {{where}}
    ORDER BY message.room {{order}}, message.of {{order}}, message.seq {{order}} LIMIT $4
"""
_PINNED = """
    SELECT message.* FROM (
        SELECT seq FROM {schema}.message_state WHERE room = room.id AND is_pinned AND seq > $2 AND seq < $3
    ) AS pinned CROSS JOIN LATERAL (
        SELECT * FROM {schema}.message WHERE message.room = room.id AND message.seq = pinned.seq LIMIT 1
    ) AS message WHERE true {where}
"""
_IS_PINNED = "message.seq IN (SELECT seq FROM {schema}.message_state WHERE room = room.id AND is_pinned)"


def page_statement(where: Filter, *, is_forward: bool, folded: bool) -> tuple[str, list[str | int]]:
    """Return the statement, and the values of the filter, which are bound after the N_VALUES others."""
    conditions, values = _conditions(where, folded=folded)
    search = escape(fold(where.search)) if where.search else ""
    parts = {
        "reactions": f", {REACTIONS}" if folded else "",
        "columns": FOLDED_COLUMNS if folded else COLUMNS,
        "body": BODY if folded else "message.body",
        "state": STATE if folded else "",
        "chosen": _chosen(where, is_searched=bool(search), folded=folded),
        "search": _matches("message", n_values := N_VALUES + len(values)) if search else "",
        "search_edit": _matches("entry", n_values) if search else "",
        "where": "".join(f" AND {condition}" for condition in conditions),
        "order": "ASC" if is_forward else "DESC",
    }
    statement = _PAGE
    for name, part in parts.items():
        statement = statement.replace(f"{{{name}}}", part)
    return statement, [*values, prefilter(search), search] if search else values


def rooms_statement(where: Filter) -> tuple[str, list[str]]:
    """Return the statement that finds rooms, and the values after their names; see `Backend.find_rooms`."""
    search = escape(fold(where.search or ""))
    return _ROOMS + _matches("message", 1) + ")", [prefilter(search), search]


def _chosen(where: Filter, *, is_searched: bool, folded: bool) -> str:
    if folded and where == Filter():
        return _BETWEEN_RUNS
    if is_searched:
        return _SEARCH if folded else _ALL + "{search}"
    if where.of is not None:
        return _REFERRING
    return _PINNED if where.pinned and folded else _ALL


def _matches(table: str, n_values: int) -> str:
    text = folded_text(table)
    # The first uses the index; the second decides.
    return f" AND {text} LIKE ${n_values + 1} AND strpos({text}, ${n_values + 2}) > 0"


def _conditions(where: Filter, *, folded: bool) -> tuple[list[str], list[str | int]]:
    conditions = ["message.act IS NULL"] if folded else []
    values: list[str | int] = []

    def add(condition: str, value: str | int) -> None:
        values.append(value)
        conditions.append(f"message.{condition} ${N_VALUES + len(values)}")

    if where.of is not None:  # the first value: _REFERRING names it
        add("of =", min(where.of, BEYOND))
    if where.search is not None:
        conditions.append("message.redaction IS NULL")
    if where.sender is not None:
        add("sender =", escape(where.sender))
    if where.since_ms is not None:
        add("time_ms >=", max(min(where.since_ms, BEYOND), -BEYOND))
    if where.until_ms is not None:
        add("time_ms <", max(min(where.until_ms, BEYOND), -BEYOND))
    if where.pinned:
        conditions.append(_IS_PINNED if folded else "false")
    return conditions, values

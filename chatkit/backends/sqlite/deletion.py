"""The deletion of rooms: visible at once, while a large log is removed in steps.

A deleted room gets another id, so that no statement finds its messages any more, and another life, which is a part of
its epoch. Its former id is kept in a table until all rows are removed. So a killed process leaves nothing behind: the
next one that opens the store continues.
"""

# ruff: noqa: S608 - the statements are composed of constants

import sqlite3
from typing import Final, NamedTuple

from chatkit.backends.sqlite.schema import transaction
from chatkit.backends.sqlite.trimming import MESSAGE_BYTES, STEP_BYTES
from chatkit.core.backend import new_epoch

STEP_ROWS: Final = STEP_BYTES // MESSAGE_BYTES  # of each table, deleted in one transaction

FIND = """
    SELECT id FROM room WHERE name = ? AND (dropped > 0 OR EXISTS (SELECT * FROM message WHERE room = room.id))
"""
_REPLACE = """
    UPDATE room SET id = (SELECT max(id) + 1 FROM room), dropped = 0, dropped_time_ms = 0, life = ? WHERE id = ?
"""
# Each process compares `top` with the value that it has cached, and reads the ids of the rooms again.
RAISE_TOP = "UPDATE meta SET top = max(top, coalesce((SELECT max(id) FROM message), 0)) + 1"
_NEXT = "SELECT room FROM deleted_log LIMIT 1"
_REMOVE = (
    f"""
        DELETE FROM message WHERE id IN (
            SELECT id FROM (
                SELECT id, sum(n_bytes) OVER (ROWS UNBOUNDED PRECEDING) - n_bytes AS n_before FROM (
                    SELECT id, coalesce(length(CAST(body AS BLOB)), 0) + coalesce(length(CAST(data AS BLOB)), 0)
                        + {MESSAGE_BYTES} AS n_bytes
                    FROM message WHERE room = ? LIMIT ?
                )
            ) WHERE n_before < {STEP_BYTES}
        )
    """,
    "DELETE FROM redaction WHERE id IN (SELECT id FROM redaction WHERE room = ? LIMIT ?)",
    *(
        f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE room = ? LIMIT ?)"
        for table, key in (
            ("message_state", "room, seq"),
            ("reaction", "room, seq, emoji"),
            ("reaction_sender", "room, seq, emoji, sender"),
            ("change_run", "room, first"),
            ("mention", "name, room, seq"),
            ("search_block", "id"),
        )
    ),
)


def hide_room(connection: sqlite3.Connection, room: str) -> bool:
    """Detach a room from its log in one transaction; return false if it has none."""
    with transaction(connection):
        found = connection.execute(FIND, [room]).fetchone()
        if found is None:
            return False
        connection.execute(_REPLACE, [new_epoch(), *found])
        connection.execute("INSERT INTO deleted_log (room) VALUES (?)", found)
        connection.execute(RAISE_TOP)
    return True


class Removal(NamedTuple):
    """A step of the removal of a deleted log; `is_last` if no row of the log is left."""

    n_rows: int
    is_last: bool

    @property
    def n_text_bytes(self) -> int:
        """About how many bytes of text were overwritten, at most."""
        return max(STEP_BYTES - MESSAGE_BYTES * self.n_rows, 0)


def remove_step(connection: sqlite3.Connection) -> Removal | None:
    """Remove some rows of a deleted log. Return None if there is no deleted log."""
    if connection.execute(_NEXT).fetchone() is None:  # without the lock: every opening of a store calls this
        return None
    with transaction(connection):
        found = connection.execute(_NEXT).fetchone()
        if found is None:
            return None
        removed = [connection.execute(statement, [*found, STEP_ROWS]).rowcount for statement in _REMOVE]
        is_last = not any(removed)
        if is_last:
            connection.execute("DELETE FROM deleted_log WHERE room = ?", found)
    return Removal(sum(removed), is_last)

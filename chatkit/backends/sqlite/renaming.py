"""Renaming of rooms. Messages refer to a room by its id, so that only the names of two rows change."""

import sqlite3

from chatkit.backends.renaming import check_rename, choose_suffix
from chatkit.backends.sqlite.deletion import FIND, RAISE_TOP
from chatkit.backends.sqlite.schema import transaction
from chatkit.core.backend import new_epoch

_FREE_NAME = "UPDATE room SET name = '' WHERE name = ? RETURNING life"  # for a moment, because names are unique
_MOVE = "UPDATE room SET name = ?, life = ?, home = ? WHERE name = ?"
_READ_LOG = "SELECT life, home FROM room WHERE name = ?"
# The old name gets another life, as after a deletion. An existing row of the new name is used for it: if that row were
# deleted, its id could be assigned again, or a lower id that a deleted log still has.
_GIVE_OLD_NAME = "UPDATE room SET name = ?, life = ?, dropped = 0, dropped_time_ms = 0 WHERE name = ''"
_MAKE_OLD_NAME = "INSERT INTO room (name, life) VALUES (?, ?)"


def rename_room(connection: sqlite3.Connection, room: str, new: str) -> bool:
    """Move the log of a room to another name in one transaction; return false if the room has no log."""
    with transaction(connection):
        if connection.execute(FIND, [room]).fetchone() is None:
            return False
        check_rename(room, new, is_taken=connection.execute(FIND, [new]).fetchone() is not None)
        life, home = connection.execute(_READ_LOG, [room]).fetchone()
        home = home or room
        former = connection.execute(_FREE_NAME, [new]).fetchone()
        connection.execute(_MOVE, [new, choose_suffix(life, home, new, former[0] if former else ""), home, room])
        life = new_epoch()
        if not connection.execute(_GIVE_OLD_NAME, [room, life]).rowcount:
            connection.execute(_MAKE_OLD_NAME, [room, life])
        connection.execute(RAISE_TOP)
    return True

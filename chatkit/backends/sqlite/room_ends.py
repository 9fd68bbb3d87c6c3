"""RoomEnds: the cached ends of rooms, after which the writer appends without reading first.

The cache is valid while `meta.top` has the value that was read with it. It is used with the writer's connection, by one
thread at a time.
"""

import sqlite3
from collections.abc import Set as AbstractSet

import msgspec

MAX_CACHED_ROOMS = 65_536  # some 15 MB

_READ_TOP = "SELECT top, max(top, coalesce((SELECT max(id) FROM message), 0)) FROM meta"
_MAKE_ROOMS = "INSERT OR IGNORE INTO room (name) SELECT value FROM json_each(?)"
_READ_ENDS = """
    SELECT json_group_array(json_array(name, room.id, coalesce(seq, dropped), life))
    FROM json_each(?) AS asked CROSS JOIN room ON name = asked.value LEFT JOIN message
    ON message.room = room.id AND seq = (SELECT max(seq) FROM message WHERE room = room.id)
"""

_encode = msgspec.json.Encoder().encode
_decode_ends = msgspec.json.Decoder(list[tuple[str, int, int, str]]).decode


class RoomEnd:
    """The end of a room: the number of its last message."""

    __slots__ = ("epoch", "id", "last")

    def __init__(self, id_: int, last: int, epoch: str) -> None:
        self.id = id_
        self.last = last
        self.epoch = epoch


class RoomEnds:
    """The end of the store, and the ends of rooms by name. The writer advances them."""

    __slots__ = ("by_room", "last_id", "top")

    def __init__(self) -> None:
        self.by_room: dict[str, RoomEnd] = {}
        self.last_id = -1  # the id of the newest message that this process knows
        self.top = -1  # no store has this value, so that nothing is written before it was read

    def clear(self) -> None:
        """Forget all: it was advanced for messages that are not stored, or another process has changed the store."""
        self.by_room.clear()
        self.last_id = self.top = -1

    def is_current(self, cursor: sqlite3.Cursor) -> bool:
        """Return whether no other process has written. The caller holds the lock."""
        found: tuple[int, int] = cursor.execute(_READ_TOP).fetchone()
        return found == (self.top, self.last_id)

    def load(self, cursor: sqlite3.Cursor, rooms: AbstractSet[str], epoch: str) -> None:
        """Read the ends of the store and of these rooms. Create the rooms that do not exist. The caller holds the lock.

        `epoch` is the store's.
        """
        top, last_id = cursor.execute(_READ_TOP).fetchone()
        if (top, last_id) != (self.top, self.last_id) or len(self.by_room) > MAX_CACHED_ROOMS:
            self.by_room.clear()
            self.top, self.last_id = top, last_id
        self._read(cursor, rooms - self.by_room.keys(), epoch)
        if new := rooms - self.by_room.keys():
            cursor.execute(_MAKE_ROOMS, [_encode(list(new)).decode()])
            self._read(cursor, new, epoch)

    def _read(self, cursor: sqlite3.Cursor, rooms: AbstractSet[str], epoch: str) -> None:
        if not rooms:
            return
        (found,) = cursor.execute(_READ_ENDS, [_encode(list(rooms)).decode()]).fetchone()
        self.by_room.update((name, RoomEnd(id_, last, epoch + life)) for name, id_, last, life in _decode_ends(found))

"""The plan of a trim, and its steps, each of which an append can wait for.

A reader's thread makes the plan and chooses the steps, and the writer drops their messages.
A step is limited by what the writer has to overwrite, because erased text does not stay in the file: the bodies of 500
messages may have 100 KB together, or 30 MB.
"""

import sqlite3
import time
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

import msgspec

from chatkit.backends.sqlite.message_row import IS_REFERRED
from chatkit.backends.sqlite.relations import drop_state

STEP_BYTES: Final = 1 << 18  # written in one transaction: about half a millisecond
MESSAGE_BYTES: Final = 500  # how the row of a message counts besides its texts: 500 rows take as long as 256 KiB
ROOM_BYTES: Final = 5_000  # how a room counts: some statements
REACTION_BYTES: Final = 50  # how an emoji on a message counts
# How text that is overwritten counts towards the next checkpoint, which so begins after half a MiB of it: appends wait
# while the disk syncs, and the longer the more text was overwritten.
TEXT_WEIGHT: Final = 16

# The last number to drop in each room. By age, that is the last old message before the first young one; a time in the
# future gives no age. In most rooms, the first message is young, or the first young one comes soon.
_TO_DROP = """
    SELECT json_group_array(json_array(id, dropped, up_to)) FROM (
        SELECT id, dropped, max(
            CASE WHEN :keep IS NULL THEN 0 ELSE last - :keep END,
            CASE WHEN :before_ms IS NULL THEN 0 ELSE coalesce((
                SELECT seq FROM message WHERE room = heads.id AND time_ms < :before_ms AND seq < coalesce((
                    SELECT seq FROM message WHERE room = heads.id AND time_ms BETWEEN :before_ms AND :now_ms
                    ORDER BY seq LIMIT 1
                ), last + 1) ORDER BY seq DESC LIMIT 1
            ), 0) END
        ) AS up_to
        FROM (
            SELECT id, dropped, (SELECT max(seq) FROM message WHERE room = room.id) AS last FROM room {which}
        ) AS heads
        WHERE last IS NOT NULL
    ) WHERE up_to > dropped
"""
_SIZES = f"""
    SELECT json_group_array(
        coalesce(length(CAST(body AS BLOB)), 0) + coalesce(length(CAST(data AS BLOB)), 0)
        + coalesce(length(CAST(mentions AS BLOB)), 0) + CASE WHEN {IS_REFERRED} THEN {REACTION_BYTES} * (
            SELECT count(*) FROM reaction WHERE reaction.room = message.room AND reaction.seq = message.seq
        ) ELSE 0 END
    ) FROM (SELECT * FROM message WHERE room = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?) AS message
"""  # noqa: S608 - composed of constants

_MARK_TRIM = "UPDATE meta SET top = max(top, coalesce((SELECT max(id) FROM message), 0))"
_MARK_DROPPED = """
    UPDATE room SET dropped = ?2, dropped_time_ms = (SELECT time_ms FROM message WHERE room = ?1 AND seq = ?2)
    WHERE id = ?1 AND EXISTS (SELECT * FROM message WHERE room = ?1 AND seq = ?2)
"""

_decode_to_drop = msgspec.json.Decoder(list[tuple[int, int, int]]).decode
_decode_sizes = msgspec.json.Decoder(list[int]).decode


class MeasuredStep(NamedTuple):
    """Rooms, by id, with the last number to drop in each, and about how many bytes are to be overwritten."""

    rooms: Sequence[tuple[int, int]]
    n_bytes: int

    def n_text_bytes(self, n_messages: int) -> int:
        """Return about how many bytes of text are to be overwritten, given the number of messages."""
        return max(self.n_bytes - MESSAGE_BYTES * n_messages - ROOM_BYTES * len(self.rooms), 0)


class RoomTrim:
    """What is still to be dropped in a room: the messages after `dropped`, up to `up_to`.

    `n_measured` is the number of messages whose sizes are read for the next step: twice those of the last step, so that
    hardly more text is read than is dropped.
    """

    __slots__ = ("dropped", "n_measured", "room", "up_to")

    def __init__(self, room: int, dropped: int, up_to: int) -> None:
        self.room = room
        self.dropped = dropped
        self.up_to = up_to
        self.n_measured = 32


def plan_trim(
    connection: sqlite3.Connection, room: str | None, keep: int | None, before_ms: int | None
) -> deque[RoomTrim]:
    """Return what is to be dropped, in one room or in all."""
    statement = _TO_DROP.format(which="" if room is None else "WHERE name = :room")
    values = {"room": room, "keep": keep, "before_ms": before_ms, "now_ms": time.time_ns() // 1_000_000}
    (found,) = connection.execute(statement, values).fetchone()
    return deque(RoomTrim(*each) for each in _decode_to_drop(found))


def take_step(connection: sqlite3.Connection, plan: deque[RoomTrim]) -> MeasuredStep:
    """Remove the next step from a plan and return it."""
    rooms: list[tuple[int, int]] = []
    n_left = STEP_BYTES
    while plan and n_left > 0:
        trim, dropped = plan[0], plan[0].dropped
        n_bytes = _advance(connection, trim, n_left, is_first=not rooms)
        if trim.dropped == dropped:
            break  # the next message is too large for the rest of the step
        rooms.append((trim.room, trim.dropped))
        n_left -= n_bytes + ROOM_BYTES
        if trim.dropped >= trim.up_to:
            plan.popleft()
    return MeasuredStep(rooms, STEP_BYTES - n_left)


def drop_messages(cursor: sqlite3.Cursor, step: MeasuredStep) -> int:
    """Drop the messages of a step, and return how many. In a transaction of the writer."""
    dropped = 0
    cursor.execute(_MARK_TRIM)
    for room, last in step.rooms:
        # If another process has dropped them already, this finds nothing and changes nothing.
        cursor.execute(_MARK_DROPPED, [room, last])
        cursor.execute("DELETE FROM redaction WHERE room = ? AND seq <= ?", [room, last])
        drop_state(cursor, room, last)
        dropped += cursor.execute("DELETE FROM message WHERE room = ? AND seq <= ?", [room, last]).rowcount
    return dropped


def _advance(connection: sqlite3.Connection, trim: RoomTrim, max_bytes: int, *, is_first: bool) -> int:
    """Drop some messages from the plan of a room, of the first room of a step at least one; return their size."""
    n_measured = max(min(max_bytes // MESSAGE_BYTES, trim.n_measured), 1)
    (found,) = connection.execute(_SIZES, [trim.room, trim.dropped, trim.up_to, n_measured]).fetchone()
    sizes = [MESSAGE_BYTES + n_bytes for n_bytes in _decode_sizes(found)]
    if not sizes:  # another process has dropped them
        trim.dropped = trim.up_to
        return 0
    n_chosen = max(sum(total <= max_bytes for total in accumulate(sizes)), int(is_first))
    trim.dropped = min(trim.dropped + n_chosen, trim.up_to)
    trim.n_measured = 2 * n_chosen
    return sum(sizes[:n_chosen])

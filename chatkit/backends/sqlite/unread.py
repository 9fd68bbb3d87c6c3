"""The mentions of a name over all rooms, and what it has not read. Runs in a reader's thread."""

# ruff: noqa: S608 - the statements are composed of constants

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from chatkit.backends.sqlite.message_row import FOLDED_ROW, STATE, decode_room_rows
from chatkit.core.model import Message
from chatkit.core.name_range import NameRange
from chatkit.core.reading import MentionPosition, RoomUnread

MENTIONS = f"""
    SELECT json_group_array(json_array(name, life, json(entry))) FROM (
        SELECT room.name, room.life, {FOLDED_ROW} AS entry
        FROM mention CROSS JOIN room ON room.id = mention.room
        CROSS JOIN message ON message.room = mention.room AND message.seq = mention.seq {STATE}
        WHERE mention.name = :name
        AND EXISTS (
            SELECT 1 FROM json_each(:within) AS part
            WHERE room.name >= json_extract(part.value, '$[0]')
                AND (json_extract(part.value, '$[1]') IS NULL OR room.name < json_extract(part.value, '$[1]'))
        )
        AND (:time_ms IS NULL OR mention.time_ms <= :time_ms
             AND (mention.time_ms, room.name, mention.seq) < (:time_ms, :room, :seq))
        ORDER BY mention.time_ms DESC, room.name DESC, mention.seq DESC LIMIT :limit
    )
"""
# The rooms that mention the name are found by one look-up each, however many mentions they hold.
UNREAD = """
    WITH RECURSIVE marked(room, marker) AS (
        SELECT room.id, asked.value FROM json_each(:markers) AS asked CROSS JOIN room ON room.name = asked.key
    ), mentioning(room) AS (
        SELECT min(room) FROM mention WHERE name = :name
        UNION ALL
        SELECT (SELECT min(room) FROM mention WHERE name = :name AND room > mentioning.room) FROM mentioning
        WHERE mentioning.room IS NOT NULL
    ), asked(room, marker) AS (
        SELECT room, marker FROM marked
        UNION ALL
        SELECT room, 0 FROM mentioning WHERE room IS NOT NULL AND room NOT IN (SELECT room FROM marked)
    )
    SELECT json_group_array(json_array(name, marker, last, n_unread, n_mentions)) FROM (
        SELECT name, marker, coalesce((SELECT max(seq) FROM message WHERE room = room.id), dropped) AS last, (
            SELECT count(*) FROM (
                SELECT 1 FROM message WHERE room = room.id AND seq > marker
                AND sender <> :name AND body IS NOT NULL AND act IS NULL LIMIT :limit
            )
        ) AS n_unread, (
            SELECT count(*) FROM (
                SELECT 1 FROM mention WHERE mention.name = :name AND room = room.id AND seq > marker LIMIT :limit
            )
        ) AS n_mentions
        FROM asked CROSS JOIN room ON room.id = asked.room ORDER BY name
    ) WHERE last > 0
"""
_encode = msgspec.json.Encoder().encode
_decode_unread = msgspec.json.Decoder(list[tuple[str, int, int, int, int]]).decode


def read_mentions(
    connection: sqlite3.Connection,
    epoch: str,
    name: str,
    *,
    within: Sequence[NameRange],
    before: MentionPosition | None,
    limit: int,
) -> Sequence[Message]:
    """Return the newest messages that mention a name; see `Backend.read_mentions`."""
    values: dict[str, str | int | None] = {"name": name, "limit": limit, "time_ms": None, "room": None, "seq": None}
    values["within"] = _encode(within).decode()
    if before is not None:
        values |= {"time_ms": before.time_ms, "room": before.room, "seq": before.seq}
    (found,) = connection.execute(MENTIONS, values).fetchone()
    return [row.to_message(room, epoch + life) for room, life, row in decode_room_rows(found)]


def count_unread(
    connection: sqlite3.Connection, name: str, markers: Mapping[str, int], limit: int
) -> Sequence[RoomUnread]:
    """Return what a name has not read; see `Backend.count_unread`."""
    values = {"name": name, "markers": _encode(dict(markers)).decode(), "limit": limit}
    (found,) = connection.execute(UNREAD, values).fetchone()
    return [RoomUnread(*row) for row in _decode_unread(found)]

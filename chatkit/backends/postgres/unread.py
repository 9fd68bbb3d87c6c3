"""The mentions of a name over all rooms, and what it has not read."""

# ruff: noqa: S608 - the statements are composed of constants

from collections.abc import Mapping, Sequence

from chatkit.backends.postgres.connection import PostgresConnection
from chatkit.backends.postgres.escaping import escape
from chatkit.backends.postgres.message_row import FOLDED_COLUMNS, REACTIONS, STATE, to_message
from chatkit.backends.postgres.schema import PostgresSchema
from chatkit.core.model import Message
from chatkit.core.name_range import NameRange
from chatkit.core.reading import MentionPosition, RoomUnread

# One look-up for each row or room, so that the planner never scans a table, whatever its statistics say.
MENTIONS = f"""
    SELECT found.*, {REACTIONS} FROM (
        SELECT meta.epoch || epoch_suffix AS epoch, room.name, {FOLDED_COLUMNS}
        FROM {{schema}}.meta, {{schema}}.mention JOIN {{schema}}.room ON room.id = mention.room CROSS JOIN LATERAL (
            SELECT * FROM {{schema}}.message WHERE message.room = mention.room AND message.seq = mention.seq LIMIT 1
        ) AS message {STATE}
        WHERE mention.name = $1 AND EXISTS (
            SELECT FROM unnest($2::text[], $7::text[]) AS part (low, high)
            WHERE room.name >= low AND (high IS NULL OR room.name < high)
        )
        AND ($3::bigint IS NULL
             OR mention.time_ms <= $3 AND (mention.time_ms, room.name, mention.seq) < ($3, $4::text, $5::bigint))
        ORDER BY mention.time_ms DESC, room.name DESC, mention.seq DESC LIMIT $6
    ) AS found ORDER BY time_ms DESC, name DESC, seq DESC
"""
# The rooms that mention the name are found by one look-up each, however many mentions they hold. Messages are
# counted in the order of an index, so that the planner uses it and counting ends at the limit.
UNREAD = """
    WITH RECURSIVE mentioning (room) AS (
        (SELECT room FROM {schema}.mention WHERE name = $1 ORDER BY room LIMIT 1)
        UNION ALL
        SELECT (
            SELECT room FROM {schema}.mention WHERE name = $1 AND room > mentioning.room ORDER BY room LIMIT 1
        ) FROM mentioning WHERE mentioning.room IS NOT NULL
    ), marked AS (
        SELECT id, marker FROM unnest($2::text[], $3::bigint[]) AS marked (name, marker) JOIN {schema}.room USING (name)
    )
    SELECT name, marker, last, n_unread, n_mentions FROM (
        SELECT id, marker FROM marked UNION ALL
        SELECT room, 0 FROM mentioning WHERE room IS NOT NULL AND room NOT IN (SELECT id FROM marked)
    ) AS asked JOIN {schema}.room USING (id) CROSS JOIN LATERAL (
        SELECT count(*) AS n_unread FROM (
            SELECT FROM {schema}.message AS entry
            WHERE (entry.room, entry.seq) > (room.id, marker) AND (entry.room, entry.seq) <= (room.id, last)
            AND act IS NULL AND sender <> $4 AND redaction IS NULL ORDER BY entry.room, entry.seq LIMIT $5
        ) AS unread
    ) AS unread CROSS JOIN LATERAL (
        SELECT count(*) AS n_mentions FROM (
            SELECT FROM {schema}.mention WHERE mention.name = $1 AND room = room.id AND seq > marker LIMIT $5
        ) AS mentions
    ) AS mentions WHERE last > 0 ORDER BY name
"""
_HAS_REACTION = """
    SELECT EXISTS (
        SELECT FROM {schema}.room JOIN {schema}.reaction ON reaction.room = room.id
        JOIN {schema}.reaction_sender USING (room, seq, emoji)
        WHERE name = $1 AND seq = $2 AND emoji = $3 AND sender = $4
    )
"""


async def has_reaction(
    connection: PostgresConnection, schema: PostgresSchema, room: str, seq: int, *, emoji: str, sender: str
) -> bool:
    """Return whether a sender has put an emoji to a message; see `Backend.has_reaction`."""
    return bool(await connection.fetchval(schema.fill_in(_HAS_REACTION), room, seq, escape(emoji), sender))


async def read_mentions(
    connection: PostgresConnection,
    schema: PostgresSchema,
    name: str,
    *,
    within: Sequence[NameRange],
    before: MentionPosition | None,
    limit: int,
) -> Sequence[Message]:
    """Return the newest messages that mention a name; see `Backend.read_mentions`."""
    position = (None, None, None) if before is None else (before.time_ms, before.room, before.seq)
    starts, ends = [part.start for part in within], [part.end for part in within]
    rows = await connection.fetch(schema.fill_in(MENTIONS), name, starts, *position, limit, ends)
    return [to_message(row["name"], row, folded=True) for row in rows]


async def count_unread(
    connection: PostgresConnection, schema: PostgresSchema, name: str, markers: Mapping[str, int], limit: int
) -> Sequence[RoomUnread]:
    """Return what a name has not read; see `Backend.count_unread`."""
    rows = await connection.fetch(schema.fill_in(UNREAD), name, list(markers), list(markers.values()), name, limit)
    return [RoomUnread(*row.values()) for row in rows]

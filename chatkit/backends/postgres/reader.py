"""Reading the log: pages, the list of rooms, and the plan of a trim.

Each read is one statement, so that its result is a snapshot of one moment.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from chatkit.backends.postgres.connection import PostgresConnection
from chatkit.backends.postgres.message_row import to_message
from chatkit.backends.postgres.page_statement import BEYOND, page_statement, rooms_statement
from chatkit.backends.postgres.schema import PostgresSchema
from chatkit.core.backend import Filter, Page, RoomInfo
from chatkit.core.model import Head
from chatkit.core.page_size import MAX_PAGE_BYTES

TRIM_STEP = 500  # rows deleted in one transaction: a few milliseconds, which an append can wait
ROOM_ROWS = 10  # how a room counts: some statements

_ROOMS = """
    SELECT epoch || epoch_suffix AS epoch, name, dropped, last, time_ms
    FROM {schema}.meta, {schema}.room WHERE last > 0 AND name >= $1 AND ($2::text IS NULL OR name < $2)
    ORDER BY name LIMIT $3
"""
_HEADS = """
    SELECT epoch || epoch_suffix AS epoch, name, dropped, last
    FROM {schema}.meta, {schema}.room WHERE last > 0 AND name = ANY ($1)
"""
# The last number to drop in each room. By age, that is the last old message before the first young one; a time in the
# future gives no age. In most rooms, the first message is young, or the first young one comes soon.
_TO_DROP = """
    SELECT epoch || epoch_suffix AS epoch, name, dropped, up_to FROM {schema}.meta, (
        SELECT name, epoch_suffix, dropped, greatest(
            CASE WHEN $1::bigint IS NULL THEN 0 ELSE last - $1 END,
            CASE WHEN $2::bigint IS NULL THEN 0 ELSE coalesce((
                SELECT seq FROM {schema}.message WHERE room = room.id AND message.time_ms < $2 AND seq < coalesce((
                    SELECT seq FROM {schema}.message WHERE room = room.id
                    AND message.time_ms BETWEEN $2 AND extract(epoch FROM now()) * 1000 ORDER BY seq LIMIT 1
                ), last + 1) ORDER BY seq DESC LIMIT 1
            ), 0) END
        ) AS up_to FROM {schema}.room WHERE last > dropped {which}
    ) AS planned WHERE up_to > dropped ORDER BY name
"""


class TrimStep(msgspec.Struct, frozen=True):
    """One step of a trim: the rooms, the epoch for which the step is valid in each, and the last number to drop."""

    names: Sequence[str]
    epochs: Sequence[str]
    up_tos: Sequence[int]


async def read_page(
    connection: PostgresConnection,
    schema: PostgresSchema,
    room: str,
    *,
    after: int | None,
    before: int | None,
    limit: int,
    where: Filter | None,
    folded: bool,
) -> Page:
    """Read a page; see `Backend.read`."""
    is_forward = after is not None
    statement, values = page_statement(where or Filter(), is_forward=is_forward, folded=folded)
    above = (where.above if where else None) or 0
    low, high = min(max(after or 0, above), BEYOND), BEYOND if before is None else min(before, BEYOND)
    rows = await connection.fetch(schema.fill_in(statement), room, low, high, limit + 1, MAX_PAGE_BYTES, *values)
    if not rows:
        raise schema.missing_epoch_error()
    head = Head(rows[0]["epoch"], rows[0]["dropped"] + 1, rows[0]["last"])
    messages = [to_message(room, row, folded=folded) for row in rows[:limit] if row["seq"] is not None]
    is_complete = len(messages) == (rows[0]["n_found"] or 0)
    if not is_forward:
        messages.reverse()
    return Page(head, messages, complete=is_complete)


async def find_rooms(
    connection: PostgresConnection, schema: PostgresSchema, rooms: Sequence[str], where: Filter
) -> Sequence[str]:
    """Return the rooms that may have a message that matches; see `Backend.find_rooms`."""
    statement, values = rooms_statement(where)
    return [row["name"] for row in await connection.fetch(schema.fill_in(statement), rooms, *values)]


async def read_rooms(
    connection: PostgresConnection, schema: PostgresSchema, start: str, end: str | None, limit: int | None
) -> list[RoomInfo]:
    """Return the rooms; see `Backend.rooms`."""
    rows = await connection.fetch(schema.fill_in(_ROOMS), start, end, limit)
    return [RoomInfo(row["name"], Head(row["epoch"], row["dropped"] + 1, row["last"]), row["time_ms"]) for row in rows]


async def read_heads(connection: PostgresConnection, schema: PostgresSchema, rooms: Collection[str]) -> dict[str, Head]:
    """Return the heads of rooms; see `Backend.heads`."""
    rows = await connection.fetch(schema.fill_in(_HEADS), list(rooms))
    return {row["name"]: Head(row["epoch"], row["dropped"] + 1, row["last"]) for row in rows}


async def plan_trim(
    connection: PostgresConnection, schema: PostgresSchema, room: str | None, keep: int | None, before_ms: int | None
) -> list[TrimStep]:
    """Return the steps of a trim, of one room or all."""
    statement = schema.fill_in(_TO_DROP).replace("{which}", "" if room is None else "AND name = $3")
    return list(_steps(await connection.fetch(statement, keep, before_ms, *([] if room is None else [room]))))


def _steps(rows: Sequence[Mapping[str, Any]]) -> Iterator[TrimStep]:
    """Split a plan into steps of at most TRIM_STEP messages."""
    step: dict[str, tuple[str, int]] = {}
    room_left = TRIM_STEP
    for row in rows:
        last, up_to = row["dropped"], row["up_to"]
        while last < up_to:
            size = min(room_left, up_to - last)
            last += size
            room_left -= size
            step[row["name"]] = row["epoch"], last
            room_left -= ROOM_ROWS
            if room_left <= 0:
                yield _to_step(step)
                step, room_left = {}, TRIM_STEP
    if step:
        yield _to_step(step)


def _to_step(step: Mapping[str, tuple[str, int]]) -> TrimStep:
    return TrimStep(list(step), [epoch for epoch, _ in step.values()], [up_to for _, up_to in step.values()])

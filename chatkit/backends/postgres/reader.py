"""Reading the log: pages, the list of rooms, and the plan of a trim.

Each read is one statement, so that its result is a snapshot of one moment.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from chatkit.backends.flags import BOT, VERIFIED
from chatkit.backends.postgres.connection import PostgresConnection
from chatkit.backends.postgres.escaping import escape, prefilter, unescape
from chatkit.backends.postgres.schema import FOLDED, PostgresSchema
from chatkit.core.backend import Filter, Page, RoomInfo
from chatkit.core.model import Head, Message
from chatkit.core.page_size import MAX_PAGE_BYTES
from chatkit.core.text import fold

BEYOND = 2**62  # a number that no message has
TRIM_STEP = 500  # rows deleted in one transaction: a few milliseconds, which an append can wait

# The sizes are added up first, without reading long bodies; bodies beyond the limit on bytes are not sent.
_PAGE = """
    SELECT epoch || coalesce(epoch_suffix, '') AS epoch, coalesce(dropped, 0) AS dropped, coalesce(last, 0) AS last,
        found.*
    FROM {schema}.meta LEFT JOIN {schema}.room ON name = $1 LEFT JOIN LATERAL (
        SELECT sized.*, count(*) OVER () AS n_found FROM (
            SELECT *, sum(n_bytes) OVER (ORDER BY seq {order} ROWS UNBOUNDED PRECEDING) AS total FROM (
                SELECT seq, message.time_ms, sender, body, data, key, redaction IS NOT NULL AS redacted, flags,
                    octet_length(body) + coalesce(octet_length(data), 0) AS n_bytes
                FROM {schema}.message WHERE room = room.id AND seq > $2 AND seq < $3 {where}
                ORDER BY seq {order} LIMIT $4
            ) AS asked
        ) AS sized
    ) AS found ON total <= $5 OR total = n_bytes ORDER BY seq {order}
"""
_ROOMS = """
    SELECT epoch || epoch_suffix AS epoch, name, dropped, last, time_ms
    FROM {schema}.meta, {schema}.room WHERE last > 0 ORDER BY name
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
) -> Page:
    """Read a page; see `Backend.read`."""
    is_forward = after is not None
    conditions, values = _conditions(where or Filter())
    statement = schema.fill_in(_PAGE).replace("{where}", conditions).replace("{order}", "ASC" if is_forward else "DESC")
    low, high = min(after or 0, BEYOND), BEYOND if before is None else min(before, BEYOND)
    rows = await connection.fetch(statement, room, low, high, limit + 1, MAX_PAGE_BYTES, *values)
    if not rows:
        raise schema.missing_epoch_error()
    head = Head(rows[0]["epoch"], rows[0]["dropped"] + 1, rows[0]["last"])
    messages = [_to_message(room, row) for row in rows[:limit] if row["seq"] is not None]
    is_complete = len(messages) == (rows[0]["n_found"] or 0)
    if not is_forward:
        messages.reverse()
    return Page(head, messages, complete=is_complete)


async def read_rooms(connection: PostgresConnection, schema: PostgresSchema) -> list[RoomInfo]:
    """Return the rooms; see `Backend.rooms`."""
    rows = await connection.fetch(schema.fill_in(_ROOMS))
    return [RoomInfo(row["name"], Head(row["epoch"], row["dropped"] + 1, row["last"]), row["time_ms"]) for row in rows]


async def plan_trim(
    connection: PostgresConnection, schema: PostgresSchema, room: str | None, keep: int | None, before_ms: int | None
) -> list[TrimStep]:
    """Return the steps of a trim, of one room or all."""
    statement = schema.fill_in(_TO_DROP).replace("{which}", "" if room is None else "AND name = $3")
    return list(_steps(await connection.fetch(statement, keep, before_ms, *([] if room is None else [room]))))


def _to_message(room: str, row: Mapping[str, Any]) -> Message:
    data = None if row["data"] is None else msgspec.json.decode(row["data"])
    body, flags = unescape(row["body"]), row["flags"]
    return Message(
        room,
        row["epoch"],
        row["seq"],
        row["time_ms"],
        row["sender"],
        body,
        data,
        row["key"],
        row["redacted"],
        verified=flags & VERIFIED > 0,
        bot=flags & BOT > 0,
    )


def _conditions(where: Filter) -> tuple[str, list[str | int]]:
    conditions: list[str] = []
    values: list[str | int] = []

    def add(condition: str, value: str | int) -> None:
        values.append(value)
        conditions.append(condition.replace("$?", f"${5 + len(values)}"))

    if where.search is not None:
        conditions.append("redaction IS NULL")
        search = escape(fold(where.search))
        if search:
            add(f"{FOLDED} LIKE $?", prefilter(search))  # uses the index; the next condition decides
            add(f"strpos({FOLDED}, $?) > 0", search)
    if where.sender is not None:
        add("sender = $?", escape(where.sender))
    if where.since_ms is not None:
        add("message.time_ms >= $?", max(min(where.since_ms, BEYOND), -BEYOND))
    if where.until_ms is not None:
        add("message.time_ms < $?", max(min(where.until_ms, BEYOND), -BEYOND))
    return "".join(f" AND {condition}" for condition in conditions), values


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
            if not room_left:
                yield _to_step(step)
                step, room_left = {}, TRIM_STEP
    if step:
        yield _to_step(step)


def _to_step(step: Mapping[str, tuple[str, int]]) -> TrimStep:
    return TrimStep(list(step), [epoch for epoch, _ in step.values()], [up_to for _, up_to in step.values()])

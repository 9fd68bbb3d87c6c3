"""Indexer: makes the blocks of the index for searches in the background, so that commits cost no more than without it.

A block is made in three steps. First, its row is inserted without a filter. Then the texts are read, and the filter is
made. Then the filter is set if the row still exists: a change of a text in between has removed it. So no lock is held
while a filter is made. Several processes can index a store at the same time.
"""

# ruff: noqa: S608 - the statements are composed of constants

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec

from chatkit.backends.sqlite.connection import ConnectionThread
from chatkit.backends.sqlite.gram_filter import make_filter
from chatkit.backends.sqlite.message_row import STATE
from chatkit.backends.sqlite.writer import SqliteWriter
from chatkit.errors import ChatkitError

BLOCK_MESSAGES: Final = 128  # few, so that the parts of a search are rarely in a block without the search
BLOCK_BYTES: Final = 1 << 14  # of texts: more would set most bits of a filter
STEP_BLOCKS: Final = 8  # made together, in some milliseconds
SURVEYED_ROOMS: Final = 500  # looked at in one step: about a millisecond
FOLLOWED_MESSAGES: Final = 2_000  # the rooms of so many new messages are looked at in one step
REST_S: Final = 0.02  # after each step, which uses the processor for some milliseconds
POLL_S: Final = 1.0  # between two looks for new messages
RETRY_S: Final = 30.0  # after an error of the store, such as a full disk
PIECE_REST_S: Final = 0.001  # within a step, so that the event loop can run

_TAIL = """
    (SELECT max(seq) FROM message WHERE room = room.id)
    - max(dropped, coalesce((
        SELECT last FROM search_block WHERE room = room.id ORDER BY first DESC LIMIT 1
    ), 0))
"""
_SURVEY = f"""
    SELECT json_group_array(json_array(id, coalesce({_TAIL}, 0) >= :block OR EXISTS (
        SELECT * FROM search_block WHERE room = room.id
    ))) FROM (SELECT * FROM room WHERE id > :last ORDER BY id LIMIT {SURVEYED_ROOMS}) AS room
"""
_GROWN = f"""
    SELECT json_group_array(id) FROM room
    WHERE id IN (SELECT room FROM message WHERE id > :seen AND id <= :end) AND {_TAIL} >= :block
"""
# The ranges of a log that are in no block. The last one ends with the log.
_HOLES = """
    SELECT json_group_array(json_array(low, high)) FROM (SELECT * FROM (
        SELECT max(dropped, coalesce(lag(last) OVER (ORDER BY first), 0)) AS low, first AS high
        FROM room JOIN search_block ON room = room.id WHERE room.id = :room
        UNION ALL
        SELECT max(dropped, coalesce((
        SELECT last FROM search_block WHERE room = room.id ORDER BY first DESC LIMIT 1
    ), 0)),
            (SELECT max(seq) FROM message WHERE room = room.id) + 1
        FROM room WHERE id = :room
    ) WHERE high - low > 1 ORDER BY low)
"""
_TEXT_BYTES = "coalesce(length(CAST({table}.body AS BLOB)), 0)"
_BLOCK_END = f"""
    SELECT max(seq) FROM (
        SELECT seq, sum(n_bytes) OVER (ROWS UNBOUNDED PRECEDING) - n_bytes AS n_before FROM (
            SELECT message.seq, {_TEXT_BYTES.format(table="message")} + {_TEXT_BYTES.format(table="edit")} AS n_bytes
            FROM message {STATE} WHERE message.room = :room AND message.seq > :after AND message.seq < :before
            ORDER BY message.seq LIMIT :block
        )
    ) WHERE n_before < {BLOCK_BYTES}
"""
_TEXTS = f"""
    SELECT json_group_array(text) FROM (
        SELECT coalesce(message.folded, lower(message.body)) AS text
        FROM message WHERE room = :room AND seq BETWEEN :first AND :last
        UNION ALL
        SELECT coalesce(edit.folded, lower(edit.body))
        FROM message {STATE} WHERE message.room = :room AND message.seq BETWEEN :first AND :last AND edit.id IS NOT NULL
    )
"""
# One statement each, because every statement gives up the interpreter's lock, and appends wait for both.
_CLAIM = """
    INSERT INTO search_block (room, first, last)
    SELECT :room, json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(:blocks)
    WHERE EXISTS (SELECT * FROM room WHERE id = :room AND dropped < :first) AND coalesce((
        SELECT last FROM search_block WHERE room = :room AND first <= :last ORDER BY first DESC LIMIT 1
    ), 0) < :first
"""
_SET_FILTERS = """
    UPDATE search_block SET filter = made.column3 FROM (VALUES {rows}) AS made
    WHERE room = ? AND first = made.column1 AND last = made.column2
"""
# A killed process may have left blocks without a filter, and one of an older version those of a deleted room.
_FORGET_UNUSED = (
    "DELETE FROM search_block WHERE filter IS NULL",
    "DELETE FROM search_block WHERE room NOT IN (SELECT id FROM room) AND room NOT IN (SELECT room FROM deleted_log)",
)
_NEWEST = "SELECT coalesce(max(id), 0) FROM message"

_decode_survey = msgspec.json.Decoder(list[tuple[int, int]]).decode
_decode_ids = msgspec.json.Decoder(list[int]).decode
_decode_holes = msgspec.json.Decoder(list[tuple[int, int]]).decode
_decode_texts = msgspec.json.Decoder(list[str | None]).decode

_logger = logging.getLogger(__name__)


class Block(NamedTuple):
    """The messages of a room, given by its id, from one number to another."""

    room: int
    first: int
    last: int


class Indexer:
    """Makes blocks of all rooms, and then of the rooms that have grown. `thread` is a reader's, for this alone."""

    def __init__(self, thread: ConnectionThread, writer: SqliteWriter) -> None:
        self._thread = thread
        self._writer = writer
        self.block_messages = BLOCK_MESSAGES
        self.is_complete = asyncio.Event()  # all messages that were stored at the start are in blocks, if enough are

    async def run(self) -> None:
        """Make blocks until the task is cancelled. An error of the store is logged, and the work begins again later."""
        while True:
            try:
                await self._writer.change(_forget_unused)
                async for room in self._rooms():
                    await self._index_room(room)
            except ChatkitError as error:
                _logger.warning("the index for searches is not updated for %.0f s: %s", RETRY_S, error)
            await asyncio.sleep(RETRY_S)

    async def _rooms(self) -> AsyncIterator[int]:
        """Iterate over the rooms that have messages for new blocks, by id; wait for new messages."""
        (seen,) = await self._thread.run(lambda connection: connection.execute(_NEWEST).fetchone())
        last = 0
        while page := _decode_survey(await self._read(_SURVEY, last=last)):
            for room, is_due in page:
                if is_due:
                    yield room
            last = page[-1][0]
        self.is_complete.set()
        _logger.info("the index for searches has the messages of all rooms")
        while True:
            (newest,) = await self._thread.run(lambda connection: connection.execute(_NEWEST).fetchone())
            while seen < newest:
                end = min(seen + FOLLOWED_MESSAGES, newest)
                for room in _decode_ids(await self._read(_GROWN, seen=seen, end=end)):
                    yield room
                seen = end
            seen = newest
            await asyncio.sleep(POLL_S)

    async def _read(self, statement: str, **values: int) -> bytes:
        """Return the value of a statement, and rest."""
        values["block"] = self.block_messages
        (found,) = await self._thread.run(lambda connection: connection.execute(statement, values).fetchone())
        await asyncio.sleep(REST_S)
        return bytes(found)

    async def _index_room(self, room: int) -> None:
        """Make the blocks of a room that are missing, except for the newest messages, if they are few."""
        (found,) = await self._thread.run(lambda connection: connection.execute(_HOLES, {"room": room}).fetchone())
        holes = _decode_holes(found)
        for n, (low, high) in enumerate(holes):
            after, n_least = low, self.block_messages if n == len(holes) - 1 else 1
            while high - after > n_least:
                blocks = await self._thread.run(partial(self._choose_blocks, room, after, high, n_least))
                if not blocks or not await self._make(blocks):
                    return  # the messages have been dropped, or another process makes these blocks
                after = blocks[-1].last
                await asyncio.sleep(REST_S)

    def _choose_blocks(
        self, room: int, after: int, before: int, n_least: int, connection: sqlite3.Connection
    ) -> list[Block]:
        """Return the first blocks of a range of a log, while it has at least so many messages."""
        blocks: list[Block] = []
        while before - after > n_least and len(blocks) < STEP_BLOCKS:
            values = {"room": room, "after": after, "before": before, "block": self.block_messages}
            (last,) = connection.execute(_BLOCK_END, values).fetchone()
            if last is None:
                break
            blocks.append(Block(room, after + 1, last))
            after = last
        return blocks

    async def _make(self, blocks: Sequence[Block]) -> bool:
        """Make blocks that follow each other. Return false if they may not be made."""
        if not await self._writer.change(partial(_claim, blocks=blocks)):
            return False
        filters = await self._thread.run(lambda connection: [_filter_of(connection, block) for block in blocks])
        await self._writer.change(partial(_set_filters, blocks=blocks, filters=filters), sum(map(len, filters)))
        return True


def _forget_unused(connection: sqlite3.Connection) -> None:
    for statement in _FORGET_UNUSED:
        connection.execute(statement)


def _claim(connection: sqlite3.Connection, *, blocks: Sequence[Block]) -> bool:
    """Insert the rows of blocks. Return false if they may not be made; then none is inserted."""
    values = {
        "room": blocks[0].room,
        "first": blocks[0].first,
        "last": blocks[-1].last,
        "blocks": msgspec.json.encode(blocks).decode(),
    }
    return connection.execute(_CLAIM, values).rowcount > 0


def _set_filters(connection: sqlite3.Connection, *, blocks: Sequence[Block], filters: Sequence[bytes]) -> None:
    statement = _SET_FILTERS.format(rows=", ".join(["(?, ?, ?)"] * len(blocks)))
    values: list[object] = []
    for block, made in zip(blocks, filters, strict=True):
        values += (block.first, block.last, made)
    connection.execute(statement, [*values, blocks[0].room])


def _filter_of(connection: sqlite3.Connection, block: Block) -> bytes:
    (found,) = connection.execute(_TEXTS, block._asdict()).fetchone()
    text = "\0".join(text for text in _decode_texts(found) if text is not None)
    return make_filter(text.encode(), partial(time.sleep, PIECE_REST_S))

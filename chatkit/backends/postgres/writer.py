"""PostgresWriter: writing the log: append, redact, the steps of a trim, and the deletion and loading of rooms.

A batch is sent as arrays, and its receipts are made from the answer. The database does only what requires the rooms'
locks: it assigns numbers and times, and finds known keys. The other processes are notified after the commit.
"""

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import msgspec

from chatkit.backends.flags import BOT, VERIFIED, flags_of
from chatkit.backends.postgres.connection import ConnectionPool, PostgresConnection
from chatkit.backends.postgres.escaping import escape, fold, unescape
from chatkit.backends.postgres.listener import PostgresListener
from chatkit.backends.postgres.notifier import PostgresNotifier
from chatkit.backends.postgres.page_statement import BEYOND
from chatkit.backends.postgres.payload_writer import AppendedBatch, appended_rooms
from chatkit.backends.postgres.reader import TrimStep
from chatkit.backends.postgres.schema import PostgresSchema
from chatkit.backends.renaming import check_rename
from chatkit.core.in_flight import InFlight
from chatkit.core.json_decoder import decode_json
from chatkit.core.loading import check_load, choose_new
from chatkit.core.message_state import Act
from chatkit.core.model import Draft, Head, Message, Receipt
from chatkit.core.repeat import repeat_of
from chatkit.errors import ChatkitError, KeyConflict, NotFound

TIMEOUT_S = 5.0  # a database that works answers in milliseconds
CHARS_A_SECOND = 5_000_000  # the time-out of a large batch is longer by its characters at this rate
PURGE_STEP = 1_000  # rows deleted in one transaction: some milliseconds
N_PLAIN_VALUES = 8  # of those of `Batch.values`: without those of references

_encode = msgspec.json.Encoder().encode

_APPEND = "SELECT * FROM {schema}.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
_APPEND_TO_ROOM = "SELECT * FROM {schema}.append_to_room($1, $2, $3, $4, $5, $6, $7)"
_REDACT = "SELECT * FROM {schema}.redact($1, $2)"
_DROP = "SELECT {schema}.drop_messages($1, $2, $3)"
_DROP_SENDERS = "SELECT {schema}.drop_senders($1, $2)"
_DELETE_ROOM = "SELECT {schema}.delete_room($1)"
_RENAME_ROOM = "SELECT {schema}.rename_room($1, $2)"
_HAS_DELETED = "SELECT EXISTS (SELECT FROM {schema}.deleted_log)"
_PURGE = "SELECT {schema}.purge($1)"
_LOAD = "SELECT * FROM {schema}.load($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"


class PostgresWriter:
    """All writes of this process to one store. Appends use the pool `appends`, all others `pages`."""

    def __init__(
        self,
        schema: PostgresSchema,
        appends: ConnectionPool,
        pages: ConnectionPool,
        listener: PostgresListener,
        notifier: PostgresNotifier,
    ) -> None:
        self._schema = schema
        self._appends = appends
        self._pages = pages
        self._listener = listener
        self._notifier = notifier
        self._in_flight = InFlight()  # appends, which closing waits for
        self.wait_idle = self._in_flight.wait_idle

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Commit the drafts; see `Backend.append`."""
        if not drafts:
            return []
        with self._in_flight:
            return await self._append(Batch(drafts))

    async def _append(self, batch: "Batch") -> list[Receipt]:
        appended = await self._execute(batch)
        receipts = batch.receipts(appended)
        if appended.number is not None:
            self._listener.numbers.add(appended.number)
            rooms = appended_rooms(receipts)
            self._notifier.send_batch(AppendedBatch(appended.number, appended.redactions, rooms))
            for room in rooms:
                self._listener.record_seen(room.head.room, room.head.epoch_suffix, room.head.last)
        return receipts

    async def _execute(self, batch: "Batch") -> "Appended":
        values = batch.values()
        timeout_s = TIMEOUT_S + count_chars(values) / CHARS_A_SECOND
        if batch.is_in_one_room and (done := await self._append_to_room(values, timeout_s)) is not None:
            return done
        statement = self._schema.fill_in(_APPEND)
        row = await self._appends.run(lambda connection: connection.fetchrow(statement, *values), timeout_s=timeout_s)
        return Appended(*row.values()) if row is not None else Appended()

    async def _append_to_room(self, values: Sequence[Any], timeout_s: float) -> "Appended | None":
        """Append a batch of one room; return None, and do nothing, if that requires the general statement."""
        statement = self._schema.fill_in(_APPEND_TO_ROOM)
        (room,), _, *columns = values[:N_PLAIN_VALUES]

        async def append(connection: PostgresConnection) -> Any:
            try:
                return await connection.fetchrow(statement, room, *columns)
            except asyncpg.UniqueViolationError:
                # Another process created the room, with a key of this batch, after the function looked for both.
                return None

        row = await self._appends.run(append, timeout_s=timeout_s)
        if row is None or row["number"] is None:
            return None
        number, redactions, epoch, last, time_ms = row.values()
        return Appended(number, redactions, [epoch], [last], [time_ms])

    async def redact(self, room: str, seq: int) -> Message:
        """Remove the body of a message and of its edits; see `Backend.redact`."""
        statement = self._schema.fill_in(_REDACT)
        seq = min(seq, BEYOND)
        row = await self._pages.run(lambda connection: connection.fetchrow(statement, room, seq), timeout_s=TIMEOUT_S)
        if row is None:
            raise NotFound(f"there is no message {seq} in {room!r}")
        flags = row["flags"]
        return Message(
            room,
            row["epoch"],
            seq,
            row["time_ms"],
            row["sender"],
            "",
            None,
            row["key"],
            redacted=True,
            verified=flags & VERIFIED > 0,
            bot=flags & BOT > 0,
            of=row["of"],
            act=None if row["act"] is None else Act(row["act"]),
        )

    async def drop(self, step: TrimStep) -> int:
        """Execute one step of a trim; return how many messages it dropped."""
        statement = self._schema.fill_in(_DROP)
        n_dropped = await self._pages.run(
            lambda connection: connection.fetchval(statement, step.names, step.epochs, step.up_tos),
            timeout_s=TIMEOUT_S,
        )
        return int(n_dropped)

    async def drop_senders(self, rooms: Collection[str]) -> None:
        """Drop the senders of reactions to messages that a trim of these rooms dropped."""
        statement, names = self._schema.fill_in(_DROP_SENDERS), list(rooms)
        while names:
            if not await self._pages.run(
                lambda connection: connection.fetchval(statement, names[:PURGE_STEP], PURGE_STEP), timeout_s=TIMEOUT_S
            ):
                del names[:PURGE_STEP]

    async def delete_room(self, room: str) -> bool:
        """Replace the room's log by an empty one, and then delete the old one's rows; see `Backend.delete_room`."""
        statement = self._schema.fill_in(_DELETE_ROOM)
        is_deleted = await self._pages.run(lambda connection: connection.fetchval(statement, room), timeout_s=TIMEOUT_S)
        await self.purge()
        return bool(is_deleted)

    async def rename_room(self, room: str, new: str) -> bool:
        """Move the log of a room to another name; see `Backend.rename_room`."""
        check_rename(room, new, is_taken=False)
        statement = self._schema.fill_in(_RENAME_ROOM)
        is_renamed = await self._pages.run(
            lambda connection: connection.fetchval(statement, room, new), timeout_s=TIMEOUT_S
        )
        check_rename(room, new, is_taken=is_renamed is None)
        return bool(is_renamed)

    async def has_deleted(self, connection: PostgresConnection) -> bool:
        """Return whether rows of deleted rooms are left."""
        return bool(await connection.fetchval(self._schema.fill_in(_HAS_DELETED)))

    async def purge(self) -> None:
        """Delete the rows of deleted rooms, also of those whose deletion was interrupted before.

        The rooms are deleted already, so a failure is not raised: the next deletion, trim or opening continues.
        """
        statement = self._schema.fill_in(_PURGE)
        with suppress(ChatkitError):
            while await self._pages.run(
                lambda connection: connection.fetchval(statement, PURGE_STEP), timeout_s=TIMEOUT_S
            ):
                pass

    async def load(self, messages: Sequence[Message]) -> int:
        """Store messages of another store; see `Backend.load`."""
        check_load(messages)
        if not messages:
            return 0
        statement, values = self._schema.fill_in(_LOAD), _loaded_values(messages)
        with self._in_flight:
            row = await self._appends.run(
                lambda connection: connection.fetchrow(statement, messages[0].room, *values),
                timeout_s=TIMEOUT_S + count_chars(values) / CHARS_A_SECOND,
            )
        if row is None:
            return 0
        if row["used_key"] is not None:
            raise KeyConflict(row["used_key"])
        choose_new(messages, Head("", row["first"], row["last"]))  # raises for messages that do not follow
        return int(row["n_loaded"])


def _loaded_values(messages: Sequence[Message]) -> tuple[list[Any] | None, ...]:
    """Return the arguments for the database's `load` after the room."""
    return (
        [message.seq for message in messages],
        [message.time_ms for message in messages],
        [message.sender for message in messages],
        [escape(message.body) for message in messages],
        [None if message.data is None else _encode(message.data).decode() for message in messages],
        [message.key for message in messages],
        [fold(message.body) for message in messages],
        [flags_of(message) for message in messages],
        [message.redacted for message in messages],
        *_relation_values(messages),
    )


def _relation_values(items: Sequence[Draft | Message]) -> tuple[list[Any] | None, list[Any] | None, list[Any] | None]:
    """Return to what each refers, how, and whom it mentions, as JSON; None for an array without values."""
    if not any(item.of is not None or item.mentions for item in items):
        return None, None, None
    mentions = [_encode(item.mentions).decode() if item.mentions else None for item in items]
    return [item.of for item in items], [item.act for item in items], mentions


class StoredRow(msgspec.Struct, array_like=True, frozen=True):
    """A stored message whose key the draft at `ordinal` (from 1) repeats."""

    ordinal: int
    seq: int
    time_ms: int
    sender: str
    body: str
    data: str | None
    key: str
    redacted: bool
    flags: int
    of: int | None
    act: Act | None
    mentions: tuple[str, ...] | None

    def to_message(self, room: str, epoch: str) -> Message:
        """Return the row as a `Message`."""
        data = None if self.data is None else decode_json(self.data)
        return Message(
            room,
            epoch,
            self.seq,
            self.time_ms,
            self.sender,
            unescape(self.body),
            data,
            self.key,
            self.redacted,
            verified=self.flags & VERIFIED > 0,
            bot=self.flags & BOT > 0,
            of=self.of,
            act=self.act,
            mentions=self.mentions or (),
        )


def count_chars(values: Iterable[Any]) -> int:
    """Count the characters of all arrays as they are sent, which may be several times those of the bodies."""
    arrays = [value for value in values if isinstance(value, list)]
    return sum([len(each) for array in arrays for each in array if isinstance(each, str)])


_decode_repeats = msgspec.json.Decoder(list[StoredRow]).decode


class Appended(msgspec.Struct, frozen=True):
    """The answer of the database to a batch; see `append` in migrations/8.sql. `repeats` are `StoredRow`s, as JSON."""

    number: int | None = None
    redactions: int = 0
    epochs: Sequence[str] = ()
    lasts: Sequence[int] = ()
    times_ms: Sequence[int] = ()
    repeats: str | None = None


class Batch:
    """The drafts of an append as arrays. Drafts that repeat a key within the batch are sent once.

    `positions` has, for each draft, the index of the draft that is sent for it.
    """

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.names: dict[str, int] = {}  # the rooms, and their positions from 1, as SQL counts
        self.positions: list[int] = []
        self._drafts: list[Draft] = []
        self._all = drafts
        keyed: dict[tuple[str, str, str], int] = {}
        for draft in drafts:
            index = len(self._drafts)
            if draft.key is not None:
                index = keyed.setdefault((draft.room, draft.sender, draft.key), index)
            self.positions.append(index)
            if index == len(self._drafts):
                self._drafts.append(draft)
                self.names.setdefault(draft.room, len(self.names) + 1)

    @property
    def is_in_one_room(self) -> bool:
        """Whether it has one room, and no draft refers to a message or mentions a name."""
        return len(self.names) == 1 and not any(draft.of is not None or draft.mentions for draft in self._drafts)

    def values(self) -> tuple[Any, ...]:
        """Return the arguments for the database's `append`; None for an array without values."""
        drafts = self._drafts
        datas = [None if draft.data is None else _encode(draft.data).decode() for draft in drafts]
        keys = [draft.key for draft in drafts]
        foldeds = [fold(draft.body) for draft in drafts]
        flags = [flags_of(draft) for draft in drafts]
        return (
            list(self.names),
            [self.names[draft.room] for draft in drafts],
            [draft.sender for draft in drafts],
            [escape(draft.body) for draft in drafts],
            datas if any(datas) else None,
            keys if any(keys) else None,
            foldeds if any(folded is not None for folded in foldeds) else None,
            flags if any(flags) else None,
            *_relation_values(drafts),
        )

    def receipts(self, appended: Appended) -> list[Receipt]:
        """Return the receipts, given the database's answer."""
        repeats, epochs, times_ms = appended.repeats, appended.epochs, appended.times_ms
        stored = {} if repeats is None else {each.ordinal - 1: each for each in _decode_repeats(repeats)}
        lasts = list(appended.lasts)
        receipts: list[Receipt] = []
        for index, draft in enumerate(self._drafts):
            room = self.names[draft.room] - 1
            if index in stored:
                receipts.append(repeat_of(draft, stored[index].to_message(draft.room, epochs[room])))
                continue
            lasts[room] += 1
            receipts.append(Receipt(draft.to_message(epochs[room], lasts[room], times_ms[room])))
        if len(receipts) == len(self.positions):
            return receipts
        return self._with_repeats(receipts)

    def _with_repeats(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Return a receipt for each draft: the second of two drafts with one key is a repeat."""
        seen: set[int] = set()
        every: list[Receipt] = []
        for draft, index in zip(self._all, self.positions, strict=True):
            receipt = receipts[index]
            every.append(repeat_of(draft, receipt.message) if index in seen else receipt)
            seen.add(index)
        return every

"""PostgresWriter: writing the log: append, redact, and the steps of a trim.

A batch is sent as arrays, and its receipts are made from the answer. The database does only what requires the rooms'
locks: it assigns numbers and times, and finds known keys.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from chatkit.backends.postgres.connection import ConnectionPool
from chatkit.backends.postgres.escaping import escape, fold, unescape
from chatkit.backends.postgres.listener import PostgresListener
from chatkit.backends.postgres.reader import BEYOND, TrimStep
from chatkit.backends.postgres.schema import PostgresSchema
from chatkit.core.in_flight import InFlight
from chatkit.core.model import Draft, Message, Receipt
from chatkit.core.repeat import repeat_of
from chatkit.errors import NotFound

TIMEOUT_S = 5.0  # a database that works answers in milliseconds
CHARS_A_SECOND = 5_000_000  # the time-out of a large batch is longer by its characters at this rate
MAX_CARRIED_CHARS = 7_500  # about the size of a payload; the drafts of a larger batch need not be encoded for it

_encode = msgspec.json.Encoder().encode

_APPEND = "SELECT * FROM {schema}.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
_REDACT = "SELECT * FROM {schema}.redact($1, $2)"
_DROP = "SELECT {schema}.drop_messages($1, $2, $3)"


class PostgresWriter:
    """All writes of this process to one store. Appends use the pool `appends`, all others `pages`."""

    def __init__(
        self,
        schema: PostgresSchema,
        process: str,
        appends: ConnectionPool,
        pages: ConnectionPool,
        listener: PostgresListener,
    ) -> None:
        self._schema = schema
        self._process = process
        self._appends = appends
        self._pages = pages
        self._listener = listener
        self._in_flight = InFlight()  # appends, which closing waits for
        self.wait_idle = self._in_flight.wait_idle

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Commit the drafts; see `Backend.append`."""
        if not drafts:
            return []
        with self._in_flight:
            return await self._append(Batch(drafts))

    async def _append(self, batch: "Batch") -> list[Receipt]:
        statement, values = self._schema.fill_in(_APPEND), batch.values()
        timeout_s = TIMEOUT_S + count_chars(values) / CHARS_A_SECOND
        tag = self._listener.own.begin()
        try:
            row = await self._appends.run(
                lambda connection: connection.fetchrow(statement, self._process, tag, *values), timeout_s=timeout_s
            )
            receipts = batch.receipts(*row.values()) if row is not None else []
        except BaseException:
            # The batch may have been committed: then the readers of this process get it as a notification.
            self._listener.notify(self._listener.own.abandon(tag))
            raise
        self._listener.own.confirm(tag)
        for message in {receipt.message.room: receipt.message for receipt in receipts}.values():
            self._listener.record_seen(message.room, message.epoch, message.seq)
        return receipts

    async def redact(self, room: str, seq: int) -> Message:
        """Remove a message's body and data; see `Backend.redact`."""
        statement = self._schema.fill_in(_REDACT)
        seq = min(seq, BEYOND)
        row = await self._pages.run(lambda connection: connection.fetchrow(statement, room, seq), timeout_s=TIMEOUT_S)
        if row is None:
            raise NotFound(f"there is no message {seq} in {room!r}")
        return Message(room, row["epoch"], seq, row["time_ms"], row["sender"], "", None, row["key"], redacted=True)

    async def drop(self, step: TrimStep) -> int:
        """Execute one step of a trim; return how many messages it dropped."""
        statement = self._schema.fill_in(_DROP)
        n_dropped = await self._pages.run(
            lambda connection: connection.fetchval(statement, step.epoch, step.names, step.up_tos), timeout_s=TIMEOUT_S
        )
        return int(n_dropped)


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

    def to_message(self, room: str, epoch: str) -> Message:
        """Return the row as a `Message`."""
        data = None if self.data is None else msgspec.json.decode(self.data)
        return Message(
            room, epoch, self.seq, self.time_ms, self.sender, unescape(self.body), data, self.key, self.redacted
        )


def count_chars(values: Iterable[Any]) -> int:
    """Count the characters of all arrays as they are sent, which may be several times those of the bodies."""
    arrays = [value for value in values if isinstance(value, list)]
    return sum([len(each) for array in arrays for each in array if isinstance(each, str)])


_decode_repeats = msgspec.json.Decoder(list[StoredRow]).decode


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
        self._n_body_chars = sum([len(draft.body) for draft in self._drafts])

    def values(self) -> tuple[Any, ...]:
        """Return the arguments for the database's `append`; None for an array without values."""
        drafts = self._drafts
        rooms = [self.names[draft.room] for draft in drafts]
        datas = [None if draft.data is None else _encode(draft.data).decode() for draft in drafts]
        keys = [draft.key for draft in drafts]
        foldeds = [fold(draft.body) for draft in drafts]
        return (
            list(self.names),
            rooms,
            [draft.sender for draft in drafts],
            [escape(draft.body) for draft in drafts],
            datas if any(datas) else None,
            keys if any(keys) else None,
            foldeds if any(folded is not None for folded in foldeds) else None,
            self._carried(rooms, datas),
        )

    def _carried(self, rooms: Sequence[int], datas: Sequence[str | None]) -> str | None:
        """Encode the drafts for the payload. U+0000 needs no escaping here: JSON escapes it."""
        if self._n_body_chars + sum(map(len, filter(None, datas))) > MAX_CARRIED_CHARS:
            return None
        rows = zip(rooms, self._drafts, strict=True)
        return _encode([(room, draft.sender, draft.body, draft.data, draft.key) for room, draft in rows]).decode()

    def receipts(self, epoch: str, lasts: Sequence[int], times_ms: Sequence[int], repeats: str | None) -> list[Receipt]:
        """Return the receipts; `lasts` and `times_ms` are, for each room, the last number before, and the time now."""
        stored = {} if repeats is None else {each.ordinal - 1: each for each in _decode_repeats(repeats)}
        lasts = list(lasts)
        receipts: list[Receipt] = []
        for index, draft in enumerate(self._drafts):
            if index in stored:
                receipts.append(repeat_of(draft, stored[index].to_message(draft.room, epoch)))
                continue
            room = self.names[draft.room] - 1
            lasts[room] += 1
            receipts.append(
                Receipt(
                    Message(
                        draft.room, epoch, lasts[room], times_ms[room], draft.sender, draft.body, draft.data, draft.key
                    )
                )
            )
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

"""Batch: some drafts on their way into the database, as arrays, and the receipts that come of the answer.

No I/O. What is left to the database is what only the holder of the rooms' locks knows: numbers, times, known keys.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from chatkit.backends.postgres.escaping import escape, fold, unescape
from chatkit.core.model import Draft, Message, Receipt
from chatkit.core.repeat import repeat_of

MAX_CARRIED_CHARS = 7_500  # about what a notice carries: of more, JSON need not be made

_encode = msgspec.json.Encoder().encode


class StoredRow(msgspec.Struct, array_like=True, frozen=True):
    """A message that was there before, for the draft at `place` (from 1 on) that has its key."""

    place: int
    seq: int
    time_ms: int
    sender: str
    body: str
    data: str | None
    key: str
    redacted: bool

    def to_message(self, room: str, epoch: str) -> Message:
        """Return it as a value of the core."""
        data = None if self.data is None else msgspec.json.decode(self.data)
        return Message(
            room, epoch, self.seq, self.time_ms, self.sender, unescape(self.body), data, self.key, self.redacted
        )


def count_chars(values: Iterable[Any]) -> int:
    """Count all text in the arrays: as it goes over the wire, which may be several times as long as the bodies."""
    arrays = [value for value in values if isinstance(value, list)]
    return sum([len(each) for array in arrays for each in array if isinstance(each, str)])


_decode_repeats = msgspec.json.Decoder(list[StoredRow]).decode


class Batch:
    """The drafts, each key of a sender in a room once; `places` says where each of all drafts is among them."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.names: dict[str, int] = {}  # every room, and its place, from 1 on, as SQL counts
        self.places: list[int] = []
        self._drafts: list[Draft] = []
        self._all = drafts
        keyed: dict[tuple[str, str, str], int] = {}
        for draft in drafts:
            place = len(self._drafts)
            if draft.key is not None:
                place = keyed.setdefault((draft.room, draft.sender, draft.key), place)
            self.places.append(place)
            if place == len(self._drafts):
                self._drafts.append(draft)
                self.names.setdefault(draft.room, len(self.names) + 1)
        self._n_body_chars = sum([len(draft.body) for draft in self._drafts])

    def values(self) -> tuple[Any, ...]:
        """Return what the database's `append` takes of it; None for an array that would hold nothing."""
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
        """Write the drafts for those who listen. U+0000 is harmless here: JSON escapes it."""
        if self._n_body_chars + sum(map(len, filter(None, datas))) > MAX_CARRIED_CHARS:
            return None
        rows = zip(rooms, self._drafts, strict=True)
        return _encode([(room, draft.sender, draft.body, draft.data, draft.key) for room, draft in rows]).decode()

    def receipts(self, epoch: str, lasts: Sequence[int], times_ms: Sequence[int], repeats: str | None) -> list[Receipt]:
        """Make the receipts: `lasts` and `times_ms` are, for each room, its last number before, and the time now."""
        stored = {} if repeats is None else {each.place - 1: each for each in _decode_repeats(repeats)}
        lasts = list(lasts)
        receipts: list[Receipt] = []
        for place, draft in enumerate(self._drafts):
            if place in stored:
                receipts.append(repeat_of(draft, stored[place].to_message(draft.room, epoch)))
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
        if len(receipts) == len(self.places):
            return receipts
        return self._with_repeats(receipts)

    def _with_repeats(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Give every draft its receipt: of two with one key, the second's says that it is a repeat."""
        seen: set[int] = set()
        every: list[Receipt] = []
        for draft, place in zip(self._all, self.places, strict=True):
            receipt = receipts[place]
            every.append(repeat_of(draft, receipt.message) if place in seen else receipt)
            seen.add(place)
        return every

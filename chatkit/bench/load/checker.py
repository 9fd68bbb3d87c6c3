"""Keeping account: what one reader was delivered, and whether the store holds what was acknowledged.

Pure: numbers in, faults out.
"""

from collections.abc import Iterable, Mapping
from typing import Self

import msgspec


class Faults(msgspec.Struct, frozen=True):
    """How many messages did not come as they should have."""

    lost: int = 0
    repeated: int = 0
    out_of_order: int = 0

    def __add__(self, other: Self) -> "Faults":
        return Faults(self.lost + other.lost, self.repeated + other.repeated, self.out_of_order + other.out_of_order)

    def __bool__(self) -> bool:
        return bool(self.lost or self.repeated or self.out_of_order)


class ReaderChecker:
    """What one reader was delivered of a room, from message 1 on: each number once, in order, and no hole untold."""

    __slots__ = ("_missing", "_out_of_order", "_repeated", "gaps", "last", "told")

    def __init__(self) -> None:
        self.last = 0  # the highest number that was delivered, or told to be missing
        self.gaps = 0
        self.told = 0  # messages that a gap said are not to be had
        self._missing: set[int] = set()  # below `last`
        self._repeated = 0
        self._out_of_order = 0

    @property
    def delivered(self) -> int:
        """How many different messages came."""
        return self.last - len(self._missing) - self.told

    def take(self, run: range) -> None:
        """Note messages that came in this order."""
        if run.start == self.last + 1:
            self.last = run.stop - 1
        else:
            self._examine(run)

    def gap(self, after: int, before: int) -> None:
        """Note that the server told of messages, between these two, which are not to be had."""
        self.gaps += 1
        told = range(max(after, self.last) + 1, before)
        self.told += len(told)
        if told:
            self._missing.update(range(self.last + 1, told.start))
            self.last = told.stop - 1

    def faults(self, last: int = 0) -> Faults:
        """Judge, given the number of the room's last message; without it, only what lies before what came."""
        return Faults(len(self._missing) + max(0, last - self.last), self._repeated, self._out_of_order)

    def _examine(self, run: range) -> None:
        for seq in run:
            if seq > self.last:
                self._missing.update(range(self.last + 1, seq))
                self.last = seq
            elif seq in self._missing:
                self._missing.remove(seq)
                self._out_of_order += 1
            else:
                self._repeated += 1


def compare(
    acked: Mapping[int, int], stored: Iterable[tuple[int, int | None]], *, senders: int, first: int = 1
) -> Faults:
    """Compare a room's acknowledgements with its log.

    `acked` has the `seq` of each message's number; `stored` is the log: each `seq` with the message's number, or None
    for one that is not of the load. Below `first` the log is no longer kept. Message N is of sender N modulo `senders`.
    """
    seqs: dict[int, int] = {}
    newest: dict[int, int] = {}
    holes: set[int] = set()
    repeated = out_of_order = 0
    due = first
    for seq, number in stored:
        holes.update(range(due, seq))
        due = seq + 1
        if number is None:
            continue
        if number in seqs:
            repeated += 1
            continue
        seqs[number] = seq
        sender = number % senders
        out_of_order += number < newest.get(sender, -1)
        newest[sender] = max(number, newest.get(sender, -1))
    lost = {seq for number, seq in acked.items() if seq >= first and seqs.get(number) != seq}
    return Faults(len(lost | holes), repeated, out_of_order)

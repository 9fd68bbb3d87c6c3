"""Checks of what one reader received, and of whether the store has what was acknowledged.

Does no I/O.
"""

from collections.abc import Iterable, Mapping
from typing import Self

import msgspec


class Faults(msgspec.Struct, frozen=True):
    """Counts of incorrectly delivered messages."""

    lost: int = 0
    repeated: int = 0
    out_of_order: int = 0

    def __add__(self, other: Self) -> "Faults":
        return Faults(self.lost + other.lost, self.repeated + other.repeated, self.out_of_order + other.out_of_order)

    def __bool__(self) -> bool:
        return bool(self.lost or self.repeated or self.out_of_order)


class ReaderChecker:
    """Checks what one reader received of a room, from message 1 on.

    Each number must come once and in order, and every hole must be reported as a gap.
    """

    __slots__ = ("_missing", "_out_of_order", "_repeated", "gaps", "last", "n_in_gaps")

    def __init__(self) -> None:
        self.last = 0  # the highest number delivered or covered by a gap
        self.gaps = 0
        self.n_in_gaps = 0  # messages covered by reported gaps
        self._missing: set[int] = set()  # below `last`
        self._repeated = 0
        self._out_of_order = 0

    @property
    def delivered(self) -> int:
        """The number of different messages received."""
        return self.last - len(self._missing) - self.n_in_gaps

    def add(self, run: range) -> None:
        """Record messages received in this order."""
        if run.start == self.last + 1:
            self.last = run.stop - 1
        else:
            self._examine(run)

    def gap(self, after: int, before: int) -> None:
        """Record a gap between these two numbers that the server reported."""
        self.gaps += 1
        missing = range(max(after, self.last) + 1, before)
        self.n_in_gaps += len(missing)
        if missing:
            self._missing.update(range(self.last + 1, missing.start))
            self.last = missing.stop - 1

    def faults(self, last: int = 0) -> Faults:
        """Return the faults, given the number of the room's last message. Without it, only earlier messages count."""
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

    `acked` maps each message's number to its `seq`. `stored` is the log: pairs of `seq` and the message's number, or
    None for messages that are not part of the load. Below `first` the log was trimmed. Message N belongs to sender N
    modulo `senders`.
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

"""ConsumerChecker: compares what the workers of one consumer did with the log of its room. Does no I/O."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from chatkit.bench.chaos.work_event import WorkEvent, WorkEventKind


class ConsumerFindings(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the messages of a consumer's room.

    `messages` is the number in the log, and `handled` that of those that a worker handled. `redelivered` counts how
    often a message was received again, `given_up` the dead letters, and `gaps` the gaps that workers received.

    The errors: `lost` messages are in the log, but no worker acknowledged them, and they were not given up.
    `acknowledged_twice`: two leases acknowledged the message with success, or it was given up twice. `misordered`: the
    message came after a later one of the same lease; if the consumer is ordered, also after a later one that was
    received before this one was acknowledged or given up.
    """

    name: str
    ordered: bool
    workers: int
    messages: int
    handled: int
    redelivered: int
    given_up: int
    gaps: int
    lost: int
    acknowledged_twice: int
    misordered: int

    def __bool__(self) -> bool:
        """Whether there are errors."""
        return bool(self.lost or self.acknowledged_twice or self.misordered)


class ConsumerChecker:
    """Checks one consumer. Call `record` during the run, `given_up` for each dead letter, and then `findings`.

    Each message must be handled at least once. With `ordered`, it must also come after the ones before it were
    acknowledged or given up.
    """

    def __init__(self, name: str, *, ordered: bool, n_workers: int) -> None:
        self.name = name
        self.ordered = ordered
        self.n_workers = n_workers
        self.n_handled = 0
        self._n_received = self._n_gaps = 0
        self._received: set[int] = set()
        self._handled: set[int] = set()
        self._acknowledging: Counter[int] = Counter()  # acknowledgements of each message that were not refused
        self._acknowledged: dict[int, str] = {}  # the lease of each message
        self._twice: set[int] = set()
        self._given_up: set[int] = set()
        self._frontier = 1  # all before it were acknowledged or overtaken
        self._overtaken: set[int] = set()  # not acknowledged when a later one was received: only right if given up
        self._misordered: set[int] = set()

    def record(self, event: WorkEvent) -> None:
        """Record an event. Those of one worker come in their order."""
        match event.kind:
            case WorkEventKind.RECEIVED:
                self._on_received(event.seqs)
            case WorkEventKind.HANDLED:
                self._handled.update(event.seqs)
                self.n_handled = len(self._handled)
            case WorkEventKind.ACKNOWLEDGING:
                self._acknowledging.update(event.seqs)
            case WorkEventKind.ACKNOWLEDGED:
                self._on_acknowledged(event.lease, event.seqs)
            case WorkEventKind.REFUSED:
                self._on_refused(event.seqs)
            case WorkEventKind.GAP:
                self._n_gaps += 1

    def given_up(self, seq: int) -> None:
        """Record a dead letter."""
        if seq in self._given_up:
            self._twice.add(seq)
        self._given_up.add(seq)

    def findings(self, stored: Iterable[int]) -> ConsumerFindings:
        """Return the findings, given the numbers of the messages of the log."""
        seqs = set(stored)
        overtaken = (self._overtaken - self._given_up) & seqs
        return ConsumerFindings(
            name=self.name,
            ordered=self.ordered,
            workers=self.n_workers,
            messages=len(seqs),
            handled=len(self._handled),
            redelivered=self._n_received - len(self._received),
            given_up=len(self._given_up),
            gaps=self._n_gaps,
            lost=len(seqs - (self._handled & self._acknowledging.keys()) - self._given_up),
            acknowledged_twice=len(self._twice),
            misordered=len(overtaken | self._misordered),
        )

    def _on_received(self, seqs: Sequence[int]) -> None:
        self._n_received += len(seqs)
        self._received.update(seqs)
        self._misordered.update(seq for before, seq in pairwise(seqs) if seq <= before)
        if self.ordered:
            self._misordered.update(self._overtaken.intersection(seqs))
            self._overtake(set(seqs), max(seqs, default=0))

    def _overtake(self, held: set[int], last: int) -> None:
        """Note which messages before `last` neither were acknowledged nor are in the same lease."""
        self._overtaken.update(
            seq for seq in range(self._frontier, last) if seq not in held and seq not in self._acknowledging
        )
        while self._frontier in self._acknowledging or self._frontier in self._overtaken:
            self._frontier += 1

    def _on_refused(self, seqs: Sequence[int]) -> None:
        self._acknowledging.subtract(seqs)
        for seq in seqs:
            if self._acknowledging[seq] <= 0:
                del self._acknowledging[seq]

    def _on_acknowledged(self, lease: str, seqs: Sequence[int]) -> None:
        for seq in seqs:
            if self._acknowledged.setdefault(seq, lease) != lease:
                self._twice.add(seq)

"""ReceiverChecker: compares what one receiver of webhooks was sent with the log of its room. Does no I/O."""

from collections.abc import Iterable

import msgspec

from chatkit.bench.chaos.receiver_event import ReceiverEvent, ReceiverEventKind


class ReceiverFindings(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the messages that a receiver must be sent.

    `messages` is their number in the log, and `delivered` that of those whose request the receiver accepted.
    `redelivered` counts requests about messages that had been sent before, `refused` those that the receiver refused on
    purpose, and `gaps` those about gaps.

    The errors: `lost` messages are in the log, but were not accepted. `misordered` messages were sent before
    all earlier ones had been accepted. `forged` requests had no valid signature.
    """

    name: str
    messages: int
    delivered: int
    redelivered: int
    refused: int
    gaps: int
    lost: int
    misordered: int
    forged: int

    def __bool__(self) -> bool:
        """Whether there are errors."""
        return bool(self.lost or self.misordered or self.forged)


class ReceiverChecker:
    """Checks one receiver, which must be sent the messages from `first` on. Call `record`, and then `findings`."""

    def __init__(self, name: str, first: int) -> None:
        self.name = name
        self.frontier = first  # the first message that was not accepted
        self._first = first
        self._n_redelivered = self._n_refused = self._n_gaps = self._n_forged = 0
        self._arrived: set[int] = set()
        self._accepted: set[int] = set()  # with those that a gap reported
        self._reported: set[int] = set()  # by a gap
        self._misordered: set[int] = set()

    def record(self, event: ReceiverEvent) -> None:
        """Record an event, in their order."""
        match event.kind:
            case ReceiverEventKind.ARRIVED:
                self._n_redelivered += event.seq in self._arrived
                self._arrived.add(event.seq)
                self._check_order(event.seq)
            case ReceiverEventKind.GAP_ARRIVED:
                self._n_gaps += 1
                self._check_order(event.seq)
            case ReceiverEventKind.ACCEPTED:
                self._accept(range(event.seq, event.seq + 1))
            case ReceiverEventKind.GAP_ACCEPTED:
                self._reported.update(range(event.seq, event.last + 1))
                self._accept(range(event.seq, event.last + 1))
            case ReceiverEventKind.FORGED:
                self._n_forged += 1
            case ReceiverEventKind.REFUSED:
                self._n_refused += 1

    def findings(self, stored: Iterable[int]) -> ReceiverFindings:
        """Return the findings, given the numbers of the messages of the log."""
        seqs = {seq for seq in stored if seq >= self._first}
        delivered = self._accepted - self._reported
        return ReceiverFindings(
            name=self.name,
            messages=len(seqs),
            delivered=len(delivered),
            redelivered=self._n_redelivered,
            refused=self._n_refused,
            gaps=self._n_gaps,
            lost=len(seqs - delivered),
            misordered=len(self._misordered),
            forged=self._n_forged,
        )

    def _check_order(self, seq: int) -> None:
        if seq > self.frontier:
            self._misordered.add(seq)

    def _accept(self, seqs: range) -> None:
        self._accepted.update(seqs)
        while self.frontier in self._accepted:
            self.frontier += 1

"""RoomChecker: compares what publishers and followers of one room received with the room's log at the end.

Does no I/O. It keeps about ten bytes for each message, independent of the length of the bodies.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

import msgspec

from chatkit.bench.chaos.digest import digest_of
from chatkit.bench.chaos.plan import ChaosPlan
from chatkit.bench.load.checker import ReaderChecker
from chatkit.core.model import Gap, Message


class Findings(msgspec.Struct, frozen=True):
    """Counts of incorrect messages.

    `lost`: acknowledged, but the store does not have this content under this number. `untrue`: acknowledged or
    delivered, but the store has no such message, or another one. `missing`, `repeated` and `out_of_order` are counted
    over all followers; a message that a gap covers although the store has it is missing. `misordered`: stored after a
    later message of the same publisher. `stored_twice`: stored under two numbers. `holes`: numbers that the log leaves
    out.
    """

    lost: int = 0
    untrue: int = 0
    missing: int = 0
    repeated: int = 0
    out_of_order: int = 0
    misordered: int = 0
    stored_twice: int = 0
    holes: int = 0

    def __add__(self, other: Self) -> "Findings":
        return Findings(*(mine + its for mine, its in zip(_counts(self), _counts(other), strict=True)))

    def __bool__(self) -> bool:
        return any(_counts(self))


class FollowerChecker:
    """Records what one follower of the room received, from message 1 on."""

    def __init__(self, room: "RoomChecker") -> None:
        self.reader_checker = ReaderChecker()
        self.gaps: list[Gap] = []
        self._room = room

    def on_message(self, message: Message) -> None:
        """Record a delivery."""
        self.reader_checker.add(range(message.seq, message.seq + 1))
        self._room.delivered(message)

    def on_gap(self, gap: Gap) -> None:
        """Record a gap that the server reported."""
        self.gaps.append(gap)
        self.reader_checker.gap(gap.after, gap.before)


class RoomChecker:
    """Checks one room.

    Call `acknowledged` and `delivered` during the run, then `trimmed` and `stored` with the log, and then `findings`.
    """

    def __init__(self, plan: ChaosPlan) -> None:
        self.last = 0  # number of the log's last message
        self.n_stored = 0
        self.n_acknowledged = 0
        self._plan = plan
        self._first = 1  # messages below this number were trimmed
        self._digests = array("q")  # by number: the digest of the first content received, or 0
        self._is_acked = bytearray()
        self._is_stored = bytearray()
        self._contradictions: dict[tuple[int, int], bool] = {}  # other contents received, and whether by a publisher
        self._lost = self._untrue = self._misordered = self._stored_twice = self._holes = 0
        self._numbers: set[int] = set()  # numbers of the publishes found in the log
        self._newest: dict[int, int] = {}  # newest number by publisher

    def acknowledged(self, message: Message) -> None:
        """Record a message that was acknowledged to a publisher."""
        self.n_acknowledged += 1
        self._record(message.seq, digest_of(message), is_ack=True)

    def delivered(self, message: Message) -> None:
        """Record a message that was delivered to a follower."""
        self._record(message.seq, digest_of(message), is_ack=False)

    def delivered_digest(self, seq: int, digest: int) -> None:
        """Record a message that another process received, which computed its digest."""
        self._record(seq, digest, is_ack=False)

    def trimmed(self, before: int) -> None:
        """Record where the log begins, according to the store."""
        self._first = max(self._first, before)
        self.last = max(self.last, before - 1)

    def stored(self, message: Message) -> None:
        """Compare with a message of the log. Messages come in the order of the log."""
        seq = message.seq
        self._grow(seq)
        self._holes += max(0, seq - self.last - 1)
        self.last = seq
        self.n_stored += 1
        self._is_stored[seq] = True
        digest = digest_of(message)
        if self._digests[seq] not in {0, digest}:
            self._count_contradiction(is_ack=bool(self._is_acked[seq]))
        for contradiction in [each for each in self._contradictions if each == (seq, digest)]:
            del self._contradictions[contradiction]
        self._count_key(message)

    def stored_seqs(self) -> Iterator[int]:
        """Return the numbers of the messages of the log."""
        return (seq for seq, is_stored in enumerate(self._is_stored) if is_stored)

    def findings(self, followers: Iterable[FollowerChecker]) -> Findings:
        """Return the findings, after the whole log was read."""
        lost, untrue = self._lost, self._untrue
        for seq in range(self._first, len(self._digests)):
            if self._digests[seq] and not self._is_stored[seq]:
                untrue += 1
                lost += self._is_acked[seq]
        for (seq, _), is_ack in self._contradictions.items():
            if seq >= self._first:
                untrue += 1
                lost += is_ack
        findings = Findings(
            lost, untrue, misordered=self._misordered, stored_twice=self._stored_twice, holes=self._holes
        )
        return sum((self._findings_of(follower) for follower in followers), findings)

    def _record(self, seq: int, digest: int, *, is_ack: bool) -> None:
        self._grow(seq)
        if self._digests[seq] == 0:
            self._digests[seq] = digest
        if self._digests[seq] == digest:
            self._is_acked[seq] |= is_ack
        else:
            self._contradictions[seq, digest] = self._contradictions.get((seq, digest), False) or is_ack

    def _grow(self, seq: int) -> None:
        if seq >= len(self._digests):
            more = max(seq + 1, 2 * len(self._digests)) - len(self._digests)
            self._digests.extend([0] * more)
            self._is_acked.extend(bytes(more))
            self._is_stored.extend(bytes(more))

    def _count_contradiction(self, *, is_ack: bool) -> None:
        self._untrue += 1
        self._lost += is_ack

    def _count_key(self, message: Message) -> None:
        number = self._plan.number(message.key)
        if number is None:
            return
        if number in self._numbers:
            self._stored_twice += 1
            return
        self._numbers.add(number)
        publisher = self._plan.publisher_of(number)
        self._misordered += number < self._newest.get(publisher, -1)
        self._newest[publisher] = max(number, self._newest.get(publisher, -1))

    def _findings_of(self, follower: FollowerChecker) -> Findings:
        faults = follower.reader_checker.faults(self.last)
        denied = sum(self._n_stored_between(gap) for gap in follower.gaps)
        return Findings(missing=faults.lost + denied, repeated=faults.repeated, out_of_order=faults.out_of_order)

    def _n_stored_between(self, gap: Gap) -> int:
        return sum(self._is_stored[gap.after + 1 : gap.before])


def _counts(findings: Findings) -> Sequence[int]:
    return msgspec.structs.astuple(findings)

"""RoomRecord: what was said of one room to publishers and followers, held against what its log has at the end.

Pure: messages in, findings out. It keeps some ten bytes a message, whatever the bodies' lengths.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Self

import msgspec

from chatkit.bench.chaos.plan import ChaosPlan
from chatkit.bench.load.checker import ReaderChecker
from chatkit.core.model import Gap, Message


class Findings(msgspec.Struct, frozen=True):
    """How many messages are not as they should be.

    `lost` were acknowledged, and the store has not these words under this number. `untrue` were acknowledged or
    delivered, and the store has none such, or another. `missing`, `repeated` and `out_of_order` count over all
    followers: a message that a gap denied, although the store has it, is missing. `misordered` are stored after a later
    one of their publisher's, `stored_twice` under two numbers; `holes` are numbers that the log leaves out.
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
    """What one follower of the room was delivered, from message 1 on."""

    def __init__(self, room: "RoomChecker") -> None:
        self.account = ReaderChecker()
        self.gaps: list[Gap] = []
        self._room = room

    def took(self, message: Message) -> None:
        """Note a delivery."""
        self.account.take(range(message.seq, message.seq + 1))
        self._room.delivered(message)

    def told(self, gap: Gap) -> None:
        """Note that the server says that messages are not to be had."""
        self.gaps.append(gap)
        self.account.gap(gap.after, gap.before)


class RoomChecker:
    """First `acknowledged` and `delivered`; then the log, message by message, by `kept`; then the `findings`."""

    def __init__(self, plan: ChaosPlan) -> None:
        self.last = 0  # of the log
        self.n_kept = 0
        self.n_acknowledged = 0
        self._plan = plan
        self._first = 1  # below it, the log was trimmed
        self._said = array("q")  # by number: what it was first said to be, as a hash; 0 where nothing was said
        self._is_acked = bytearray()
        self._is_kept = bytearray()
        self._contradictions: dict[tuple[int, int], bool] = {}  # what else was said, and if to a publisher
        self._lost = self._untrue = self._misordered = self._stored_twice = self._holes = 0
        self._numbers: set[int] = set()  # of the messages kept
        self._newest: dict[int, int] = {}  # by publisher

    def acknowledged(self, message: Message) -> None:
        """Note what a publisher was told to be committed."""
        self.n_acknowledged += 1
        self._say(message, is_ack=True)

    def delivered(self, message: Message) -> None:
        """Note what a follower was told."""
        self._say(message, is_ack=False)

    def trimmed(self, before: int) -> None:
        """Note that the log begins here, by what the store itself says."""
        self._first = max(self._first, before)
        self.last = max(self.last, before - 1)

    def kept(self, message: Message) -> None:
        """Compare with a message of the log; they come in its order."""
        seq = message.seq
        self._grow(seq)
        self._holes += max(0, seq - self.last - 1)
        self.last = seq
        self.n_kept += 1
        self._is_kept[seq] = True
        words = _words(message)
        if self._said[seq] not in {0, words}:
            self._refute(is_ack=bool(self._is_acked[seq]))
        for contradiction in [each for each in self._contradictions if each == (seq, words)]:
            del self._contradictions[contradiction]
        self._count_key(message)

    def findings(self, followers: Iterable[FollowerChecker]) -> Findings:
        """Judge, after the whole log was taken."""
        lost, untrue = self._lost, self._untrue
        for seq in range(self._first, len(self._said)):
            if self._said[seq] and not self._is_kept[seq]:
                untrue += 1
                lost += self._is_acked[seq]
        for (seq, _), is_ack in self._contradictions.items():
            if seq >= self._first:
                untrue += 1
                lost += is_ack
        findings = Findings(
            lost, untrue, misordered=self._misordered, stored_twice=self._stored_twice, holes=self._holes
        )
        return sum((self._missed(follower) for follower in followers), findings)

    def _say(self, message: Message, *, is_ack: bool) -> None:
        seq, words = message.seq, _words(message)
        self._grow(seq)
        if self._said[seq] == 0:
            self._said[seq] = words
        if self._said[seq] == words:
            self._is_acked[seq] |= is_ack
        else:
            self._contradictions[seq, words] = self._contradictions.get((seq, words), False) or is_ack

    def _grow(self, seq: int) -> None:
        if seq >= len(self._said):
            more = max(seq + 1, 2 * len(self._said)) - len(self._said)
            self._said.extend([0] * more)
            self._is_acked.extend(bytes(more))
            self._is_kept.extend(bytes(more))

    def _refute(self, *, is_ack: bool) -> None:
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

    def _missed(self, follower: FollowerChecker) -> Findings:
        faults = follower.account.faults(self.last)
        denied = sum(self._n_kept_between(gap) for gap in follower.gaps)
        return Findings(missing=faults.lost + denied, repeated=faults.repeated, out_of_order=faults.out_of_order)

    def _n_kept_between(self, gap: Gap) -> int:
        return sum(self._is_kept[gap.after + 1 : gap.before])


def _words(message: Message) -> int:
    """Return a hash of everything that a message says; never 0."""
    data = None if message.data is None else msgspec.json.encode(message.data)
    said = (message.room, message.epoch, message.seq, message.time_ms, message.sender, message.body, message.key, data)
    return hash(said) or 1


def _counts(findings: Findings) -> Sequence[int]:
    return msgspec.structs.astuple(findings)

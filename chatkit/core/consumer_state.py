"""ConsumerState: a named cursor with leases, as it is stored. Each change returns another state.

Pure and synchronous: the time is an argument, and nothing here knows rooms or stores. A message is settled if its
number is at most `high` and it is neither leased nor waiting; so nothing is kept for settled messages.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, NamedTuple, Self, TypeVar

import msgspec
from msgspec.structs import replace

from chatkit.core.model import Cursor, Gap
from chatkit.errors import BadRequest, LeaseExpired

DEFAULT_RETRIES: Final = 5
MAX_LEASE_S: Final = 43_200.0
MAX_DELAY_S: Final = 7 * 86_400.0
MAX_UNSETTLED: Final = 1_000  # messages leased or waiting: the state stays below the largest value of a record
KEPT_LEASES: Final = 16  # ids of settled leases: a client whose answer was lost may settle them again
LEASE_RAN_OUT: Final = "its lease ran out"


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """Messages that a worker has taken, as ranges of numbers, until `until_ms`. `has_gap`: the gap came with them.

    `token_id` is the token with which the worker took them, or empty.
    """

    id: str
    until_ms: int
    ranges: tuple[tuple[int, int], ...]
    has_gap: bool = False
    token_id: str = ""

    def seqs(self) -> list[int]:
        """Return the numbers of the messages, in order."""
        return [seq for first, last in self.ranges for seq in range(first, last + 1)]


class Waiting(msgspec.Struct, frozen=True, array_like=True):
    """A message that comes again at `due_ms`."""

    seq: int
    due_ms: int


class DeadLetter(NamedTuple):
    """A message that failed too often: its number, how often it was tried, and the reason of the last failure."""

    seq: int
    n_tries: int
    reason: str


class ConsumerState(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of a consumer.

    Every message up to `seq` is settled, and those after `high` were never taken. `owner` is the name that made the
    consumer. `retries` is how often a message comes again before it is a dead letter, `n_failed` the number of dead
    letters so far. If `ordered`, there is one lease at a time, and a message that waits holds back those after it.
    `tries` has the number of failures of each message that has failed. `gap` is one that no worker has acknowledged.
    """

    owner: str
    epoch: str
    seq: int
    high: int
    retries: int = DEFAULT_RETRIES
    ordered: bool = False
    leases: tuple[Lease, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    tries: dict[int, int] = {}
    n_failed: int = 0
    gap: Gap | None = None
    settled_leases: tuple[str, ...] = ()

    @classmethod
    def at(cls, owner: str, position: Cursor, *, retries: int = DEFAULT_RETRIES, ordered: bool = False) -> Self:
        """Return the state of a new consumer whose first message is the one after a position."""
        return cls(owner, position.epoch, position.seq, position.seq, retries, ordered)

    @property
    def cursor(self) -> Cursor:
        """The position up to which every message is settled."""
        return Cursor(self.epoch, self.seq)

    @property
    def n_leased(self) -> int:
        """The number of messages that are leased."""
        return sum(last - first + 1 for lease in self.leases for first, last in lease.ranges)

    @property
    def n_unsettled(self) -> int:
        """The number of messages that were taken and are not settled."""
        return self.n_leased + len(self.waiting)

    def unsettled_seqs(self) -> set[int]:
        """Return the numbers of the messages that were taken and are not settled."""
        return {each.seq for each in self.waiting}.union(*(lease.seqs() for lease in self.leases))

    # What can be taken

    def due(self, now_ms: int, limit: int) -> list[int]:
        """Return the numbers of at most `limit` messages that come again now, in order."""
        if self.ordered and self.leases:
            return []
        found: list[int] = []
        for each in self.waiting:
            if has_come(each.due_ms, now_ms, MAX_DELAY_S):
                found.append(each.seq)
            elif self.ordered:
                break
        return found[:limit]

    def n_new(self, limit: int, n_due: int) -> int:
        """Return how many messages after `high` may be taken together with `n_due` that come again."""
        if self.ordered and (self.leases or len(self.waiting) > n_due):
            return 0
        return max(0, min(limit - n_due, MAX_UNSETTLED - self.n_unsettled))

    def gap_to_take(self) -> Gap | None:
        """Return the gap that comes with the next lease, if no worker has it."""
        has_lease = any(lease.has_gap for lease in self.leases) or (self.ordered and self.leases)
        return None if has_lease else self.gap

    def next_change_ms(self) -> int | None:
        """Return when there is more to take without a new message: when a lease runs out or a message is due."""
        times = [lease.until_ms for lease in self.leases]
        if not self.ordered:
            times += [each.due_ms for each in self.waiting]
        elif not times:  # otherwise what is due waits for the lease
            times = [each.due_ms for each in self.waiting[:1]]  # which holds back the others
        return min(times, default=None)

    # Changes

    def expire(self, now_ms: int) -> tuple[Self, list[DeadLetter]]:
        """Return the state without the leases that have run out, whose messages have failed, and the dead letters."""
        ended = [lease for lease in self.leases if has_come(lease.until_ms, now_ms, MAX_LEASE_S)]
        if not ended:
            return self, []
        kept = replace(self, leases=tuple(lease for lease in self.leases if lease not in ended))
        failed = [seq for lease in ended for seq in lease.seqs()]
        return _fail(kept, failed, now_ms, LEASE_RAN_OUT)

    def revoke(self, has_lost: Callable[[str], bool], now_ms: int) -> Self:
        """Return the state without the leases of tokens that have lost their rights; their messages come again at once.

        They have not failed: nobody knows how far the worker came, and it is not at fault.
        """
        ended = [lease for lease in self.leases if lease.token_id and has_lost(lease.token_id)]
        if not ended:
            return self
        kept = replace(self, leases=tuple(lease for lease in self.leases if lease not in ended))
        return _with_waiting(kept, [Waiting(seq, now_ms) for lease in ended for seq in lease.seqs()])

    def lease(self, lease_id: str, seqs: Sequence[int], until_ms: int, token_id: str = "") -> Self:
        """Return the state in which the messages, those that were due and new ones, are leased."""
        taken = set(seqs)
        has_gap = self.gap_to_take() is not None
        return replace(
            self,
            leases=(*self.leases, Lease(lease_id, until_ms, ranges_of(sorted(taken)), has_gap, token_id)),
            waiting=tuple(each for each in self.waiting if each.seq not in taken),
            high=max(self.high, *taken) if taken else self.high,
        )

    def settle(self, lease_id: str, seqs: Collection[int] | None, now_ms: int) -> Self:
        """Return the state in which messages of a lease, or all, are settled. Raise `LeaseExpired` or `BadRequest`."""
        lease = self._lease(lease_id, now_ms)
        if lease is None:
            return self
        chosen = self._chosen(lease, seqs)
        if strange := (self.unsettled_seqs() - set(lease.seqs())).intersection(seqs or ()):
            raise _not_in_lease(min(strange))  # its worker would believe that it is settled
        known = replace(self, gap=None) if lease.has_gap else self
        return _advanced(_without(known, replace(lease, has_gap=False), chosen))

    def retry(
        self, lease_id: str, seqs: Collection[int] | None, now_ms: int, *, delay_ms: int, reason: str
    ) -> tuple[Self, list[DeadLetter]]:
        """Return the state in which messages of a lease have failed, and come again after a delay; and dead letters.

        What the lease no longer has is left as it is. Raise `LeaseExpired` or `BadRequest`.
        """
        lease = self._lease(lease_id, now_ms)
        if lease is None:
            return self, []
        chosen = self._chosen(lease, seqs)
        return _fail(_without(self, lease, chosen), chosen, now_ms + delay_ms, reason)

    def release(self, lease_id: str, seqs: Collection[int] | None, now_ms: int) -> Self:
        """Return the state in which messages of a lease can be taken again, without a failure. Raise as `retry`."""
        lease = self._lease(lease_id, now_ms)
        if lease is None:
            return self
        chosen = self._chosen(lease, seqs)
        return _with_waiting(_without(self, lease, chosen), [Waiting(seq, now_ms) for seq in chosen])

    def extend(self, lease_id: str, until_ms: int, now_ms: int) -> Self:
        """Return the state in which a lease ends at another time. Raise `LeaseExpired`."""
        lease = self._lease(lease_id, now_ms)
        if lease is None:
            return self
        longer = replace(lease, until_ms=until_ms)
        return replace(self, leases=tuple(longer if each.id == lease.id else each for each in self.leases))

    def skip(self, position: Cursor, gap: Gap) -> Self:
        """Return the state after a gap: the messages before `position` cannot be read any more.

        In a log that began again, everything that was taken is void. The gap waits for a worker.
        """
        known = self.gap
        if position.epoch != self.epoch:
            void = replace(self, epoch=position.epoch, seq=position.seq, high=position.seq, leases=(), waiting=())
            return replace(void, tries={}, gap=gap)
        waiting = tuple(each for each in self.waiting if each.seq > position.seq)
        if known is not None:
            after = min(gap.after, known.after) if known.reason == gap.reason else known.after
            gap = Gap(after, gap.before, known.reason)
        # A worker that has the gap as it was must not acknowledge the longer one.
        leases = tuple(replace(each, has_gap=False) for each in self.leases)
        high = max(self.high, position.seq)
        return _advanced(replace(self, leases=leases, waiting=waiting, high=high, gap=gap))

    def seek(self, position: Cursor) -> Self:
        """Return the state in which the next message is the one after a position. Leases end."""
        moved = replace(self, epoch=position.epoch, seq=position.seq, high=position.seq)
        return replace(moved, leases=(), waiting=(), tries={}, gap=None, settled_leases=())

    # Steps of the methods above

    def _lease(self, lease_id: str, now_ms: int) -> Lease | None:
        """Return a lease, or None for one that was settled whole. Raise `LeaseExpired`."""
        lease = next((each for each in self.leases if each.id == lease_id), None)
        if lease is not None and lease.until_ms > now_ms:
            return lease
        if lease is None and lease_id in self.settled_leases:
            return None
        raise LeaseExpired

    def _chosen(self, lease: Lease, seqs: Collection[int] | None) -> list[int]:
        """Return the messages to change. The lease may no longer have some: the answer to an earlier call was lost."""
        held = lease.seqs()
        if seqs is None:
            return held
        if (last := max(seqs, default=0)) > self.high:
            raise _not_in_lease(last)
        wanted = set(seqs)
        return [seq for seq in held if seq in wanted]


def has_come(at_ms: int, now_ms: int, max_s: float) -> bool:
    """Return whether a time that was at most `max_s` seconds ahead when it was stored has come.

    One that is farther ahead now was stored while the clock was wrong: to wait for it could take years.
    """
    return not now_ms < at_ms <= now_ms + max_s * 1000


State = TypeVar("State", bound=ConsumerState)


def _without(state: State, lease: Lease, seqs: Sequence[int]) -> State:
    """Return the state in which a lease no longer has these messages, and has ended if it has no others."""
    gone = set(seqs)
    left = [seq for seq in lease.seqs() if seq not in gone]
    if left:
        shorter = replace(lease, ranges=ranges_of(left))
        return replace(state, leases=tuple(shorter if each.id == lease.id else each for each in state.leases))
    leases = tuple(each for each in state.leases if each.id != lease.id)
    return replace(state, leases=leases, settled_leases=(*state.settled_leases, lease.id)[-KEPT_LEASES:])


def _fail(state: State, seqs: Sequence[int], due_ms: int, reason: str) -> tuple[State, list[DeadLetter]]:
    tries = dict(state.tries)
    for seq in seqs:
        tries[seq] = tries.get(seq, 0) + 1
    dead = [DeadLetter(seq, tries[seq], reason) for seq in seqs if tries[seq] > state.retries]
    again = [Waiting(seq, due_ms) for seq in seqs if tries[seq] <= state.retries]
    return _with_waiting(replace(state, tries=tries, n_failed=state.n_failed + len(dead)), again), dead


def _with_waiting(state: State, added: Iterable[Waiting]) -> State:
    # By number, so that the log's order is that in which they are taken.
    return _advanced(replace(state, waiting=tuple(sorted((*state.waiting, *added), key=_seq_of))))


def _advanced(state: State) -> State:
    """Return the state with the highest position up to which every message is settled."""
    firsts = [lease.ranges[0][0] for lease in state.leases if lease.ranges]
    firsts += [each.seq for each in state.waiting[:1]]
    seq = min(firsts, default=state.high + 1) - 1
    tries = _of_unsettled(state) if state.tries else state.tries
    return replace(state, seq=max(state.seq, seq), tries=tries)


def _not_in_lease(seq: int) -> BadRequest:
    return BadRequest(f"the lease does not have message {seq}")


def _seq_of(each: Waiting) -> int:
    return each.seq


def _of_unsettled(state: ConsumerState) -> dict[int, int]:
    """Return the failures of the messages that are not settled."""
    unsettled = state.unsettled_seqs()
    return {seq: n for seq, n in state.tries.items() if seq in unsettled}


def ranges_of(seqs: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return sorted numbers as ranges, first and last."""
    ranges: list[tuple[int, int]] = []
    for seq in seqs:
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
    return tuple(ranges)

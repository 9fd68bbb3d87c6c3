"""The state of a consumer against a model that keeps every message by itself."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import json

from chatkit.core.consumer_state import (
    LEASE_RAN_OUT,
    MAX_DELAY_S,
    MAX_LEASE_S,
    MAX_UNSETTLED,
    ConsumerState,
    DeadLetter,
    ranges_of,
)
from chatkit.core.model import Cursor, Gap
from chatkit.core.records import MAX_VALUE_BYTES
from chatkit.errors import BadRequest, LeaseExpired

EPOCH = "e1"


def new(*, retries: int = 5, ordered: bool = False, seq: int = 0) -> ConsumerState:
    return ConsumerState.at("ann", Cursor(EPOCH, seq), retries=retries, ordered=ordered)


def lease(state: ConsumerState, lease_id: str, limit: int, last: int, now: int = 0, until: int = 1000) -> ConsumerState:
    """Lease as a worker does, from a log that ends with `last`."""
    due = state.due(now, limit)
    n_new = min(state.n_new(limit, len(due)), last - state.high)
    seqs = due + list(range(state.high + 1, state.high + 1 + n_new))
    return state.lease(lease_id, seqs, until) if seqs else state


def held(state: ConsumerState, lease: str) -> list[int]:
    return next((each.seqs() for each in state.leases if each.id == lease), [])


def test_the_cursor_follows_what_is_settled_without_holes() -> None:
    state = lease(lease(new(), "a", 3, 10), "b", 3, 10)
    assert (held(state, "a"), held(state, "b")) == ([1, 2, 3], [4, 5, 6])
    state = state.settle("b", None, 1)
    assert (state.seq, state.n_unsettled) == (0, 3)
    state = state.settle("a", [1, 3], 1)
    assert (state.seq, held(state, "a")) == (1, [2])
    assert state.settle("a", [2], 1).cursor == Cursor(EPOCH, 6)


def test_a_lease_of_a_token_that_lost_its_rights_gives_its_messages_back_without_a_failure() -> None:
    state = new(ordered=True).lease("a", [1, 2], 1000, "t1")
    assert state.revoke(lambda token_id: token_id != "t1", 5) is state
    assert state.due(5, 9) == []
    freed = state.revoke(lambda token_id: token_id == "t1", 5)
    assert (freed.due(5, 9), freed.leases, freed.tries) == ([1, 2], (), {})
    with pytest.raises(LeaseExpired):
        freed.settle("a", None, 5)
    by_store = new().lease("b", [1], 1000)
    assert by_store.revoke(lambda _token_id: True, 5) is by_store


def test_times_that_were_stored_while_the_clock_was_ahead_have_come() -> None:
    ahead = 400 * 86_400_000
    state = new(ordered=True).lease("a", [1, 2], ahead + 1000)
    assert state.expire(ahead)[0] is state
    freed, _ = state.expire(0)
    assert (freed.leases, freed.due(0, 9)) == ((), [1, 2])
    waiting, _ = state.retry("a", None, ahead, delay_ms=60_000, reason="")
    assert waiting.due(ahead, 9) == []
    assert waiting.due(0, 9) == [1, 2]


def test_the_longest_lease_and_delay_are_waited_for() -> None:
    state = new().lease("a", [1], round(MAX_LEASE_S * 1000))
    assert state.expire(0)[0] is state
    waiting, _ = state.retry("a", None, 0, delay_ms=round(MAX_DELAY_S * 1000), reason="")
    assert waiting.due(0, 9) == []


def test_a_settled_lease_may_be_settled_again_and_an_unknown_one_may_not() -> None:
    state = lease(new(), "a", 3, 10).settle("a", [1], 1)
    assert state.settle("a", [1], 1) == state  # its answer was lost
    done = state.settle("a", None, 1)
    assert done.settle("a", None, 2) == done
    for change in (done.settle, done.release):
        with pytest.raises(LeaseExpired):
            change("b", None, 1)
    with pytest.raises(LeaseExpired):
        lease(new(), "a", 3, 10, until=50).settle("a", None, 50)


def test_a_message_of_another_lease_or_a_later_one_is_refused() -> None:
    state = lease(lease(new(), "a", 2, 10), "b", 2, 10)
    for seq in (3, 5):
        with pytest.raises(BadRequest, match=f"message {seq}$"):
            state.settle("a", [1, seq], 1)


def test_a_failure_may_be_reported_again_and_counts_once() -> None:
    state = lease(new(), "a", 3, 3)
    failed, _ = state.retry("a", [1], 1, delay_ms=0, reason="no")
    again = failed.retry("a", [1], 2, delay_ms=0, reason="no")  # its answer was lost
    assert again == (failed, [])
    taken = lease(failed, "b", 1, 3, now=1)
    assert taken.retry("a", [1], 2, delay_ms=0, reason="no") == (taken, [])
    assert held(taken.release("a", [1, 2], 2), "b") == [1]
    with pytest.raises(BadRequest, match="message 4"):
        failed.retry("a", [1, 4], 2, delay_ms=0, reason="no")


def test_messages_may_be_given_back_again() -> None:
    state = lease(new(), "a", 3, 3).release("a", [2, 3], 1)
    assert state.release("a", [2, 3], 2) == state  # its answer was lost
    assert lease(state, "b", 2, 3, now=1).release("a", [2], 2).n_leased == 3


def test_failures_come_again_after_their_delay_and_end_as_dead_letters() -> None:
    state = lease(new(retries=1), "a", 2, 2)
    state, dead = state.retry("a", [1], 10, delay_ms=90, reason="no")
    assert (dead, state.due(99, 9), state.due(100, 9), state.seq) == ([], [], [1], 0)
    state = lease(state.settle("a", None, 10), "b", 9, 2, now=100)
    state, dead = state.retry("b", None, 101, delay_ms=0, reason="still no")
    assert dead == [DeadLetter(1, 2, "still no")]
    assert (state.n_failed, state.seq, state.tries, state.n_unsettled) == (1, 2, {}, 0)


def test_a_lease_that_ran_out_is_a_failure_and_a_release_is_none() -> None:
    state = lease(new(retries=0), "a", 2, 2, until=50)
    assert state.expire(49) == (state, [])
    expired, dead = state.expire(50)
    assert dead == [DeadLetter(1, 1, LEASE_RAN_OUT), DeadLetter(2, 1, LEASE_RAN_OUT)]
    assert expired.seq == 2
    released = state.release("a", [2], 10)
    assert (released.due(10, 9), released.tries, held(released, "a")) == ([2], {}, [1])


def test_an_extended_lease_runs_out_later() -> None:
    state = lease(new(), "a", 2, 2, until=50).extend("a", 90, 49)
    assert state.expire(50) == (state, [])
    assert state.next_change_ms() == 90


def test_an_ordered_consumer_has_one_lease_and_waits_for_what_failed() -> None:
    state = lease(new(ordered=True), "a", 2, 9)
    assert lease(state, "b", 2, 9) == state
    state, _ = state.retry("a", [1], 10, delay_ms=90, reason="")
    state = state.release("a", None, 10)  # of 2, which the worker has not begun
    assert (state.due(99, 9), state.n_new(9, 0), state.due(100, 9)) == ([], 0, [1, 2])
    assert held(lease(state, "c", 5, 9, now=100), "c") == [1, 2, 3, 4, 5]
    assert held(lease(state, "c", 1, 9, now=100), "c") == [1]


def test_in_a_shared_consumer_what_failed_holds_back_nothing() -> None:
    state, _ = lease(new(), "a", 2, 9).retry("a", [1], 10, delay_ms=90, reason="")
    assert held(lease(state, "b", 2, 9, now=11), "b") == [3, 4]


def test_a_gap_is_given_with_one_lease_until_that_is_acknowledged() -> None:
    gap = Gap(0, 5, "trimmed")
    state = new().skip(Cursor(EPOCH, 4), gap)
    assert (state.cursor, state.gap_to_take()) == (Cursor(EPOCH, 4), gap)
    state = lease(state, "a", 2, 9)
    assert (held(state, "a"), state.gap_to_take()) == ([5, 6], None)
    assert state.settle("a", [5], 1).gap is None
    assert state.expire(1000)[0].gap_to_take() == gap
    assert state.release("a", None, 1).gap_to_take() == gap
    alone = new().skip(Cursor(EPOCH, 9), Gap(0, 10, "trimmed")).lease("a", [], 1000)
    assert alone.settle("a", None, 1).leases == ()


def test_gaps_that_follow_each_other_are_one() -> None:
    state = new().skip(Cursor(EPOCH, 4), Gap(0, 5, "trimmed")).skip(Cursor(EPOCH, 8), Gap(4, 9, "trimmed"))
    assert state.gap == Gap(0, 9, "trimmed")
    state = lease(new(seq=50), "a", 2, 60).skip(Cursor("e2", 0), Gap(52, 1, "epoch"))
    assert (state.leases, state.cursor, state.gap) == ((), Cursor("e2", 0), Gap(52, 1, "epoch"))
    assert state.skip(Cursor("e2", 7), Gap(0, 8, "trimmed")).gap == Gap(52, 8, "epoch")


def test_an_acknowledgement_leaves_the_rest_of_a_gap_that_has_grown() -> None:
    state = lease(new().skip(Cursor(EPOCH, 4), Gap(0, 5, "trimmed")), "a", 2, 9).skip(
        Cursor(EPOCH, 8), Gap(6, 9, "trimmed")
    )
    assert state.settle("a", None, 1).gap_to_take() == Gap(0, 9, "trimmed")


def test_nothing_changes_for_an_ordered_consumer_before_its_lease_ends_and_its_first_message_is_due() -> None:
    state, _ = lease(new(ordered=True), "a", 3, 9).retry("a", [1], 5, delay_ms=500, reason="")
    assert state.next_change_ms() == 1000  # the end of the lease
    state = state.release("a", None, 5)
    assert (state.due(5, 9), state.next_change_ms()) == ([], 505)  # though the second message is due


def test_a_seek_ends_leases_and_forgets_failures() -> None:
    state, _ = lease(new(), "a", 2, 9).retry("a", [1], 0, delay_ms=0, reason="")
    moved = state.seek(Cursor(EPOCH, 7))
    assert (moved.seq, moved.high, moved.n_unsettled, moved.tries) == (7, 7, 0, {})
    with pytest.raises(LeaseExpired):
        moved.settle("a", None, 1)


def test_the_largest_state_fits_in_a_record() -> None:
    base = 10**17 - 5 * MAX_UNSETTLED
    state = lease(new(retries=1_000, seq=base), "a", MAX_UNSETTLED, base + MAX_UNSETTLED)
    assert state.n_new(9, 0) == 0  # no more is given out
    state, _ = state.retry("a", None, 0, delay_ms=10**12, reason="x")
    assert len(json.encode(state)) < MAX_VALUE_BYTES
    assert json.decode(json.encode(state), type=ConsumerState) == state


def test_ranges() -> None:
    assert ranges_of([1, 2, 3, 7, 9, 10]) == ((1, 3), (7, 7), (9, 10))
    assert ranges_of([]) == ()


class Log:
    """A consumer of 30 messages, and what its workers know of each of them."""

    LAST = 30
    LEASE_MS = 30

    def __init__(self, *, ordered: bool, retries: int) -> None:
        self.state = new(ordered=ordered, retries=retries)
        self.now = 0
        self.n_leases = 0
        self.settled: set[int] = set()
        self.n_tries: dict[int, int] = {}

    def lease(self, limit: int, _: object = None) -> None:
        self.n_leases += 1
        waiting = {each.seq for each in self.state.waiting}
        self.state = lease(self.state, f"l{self.n_leases}", limit + 1, self.LAST, self.now, self.now + self.LEASE_MS)
        got = held(self.state, f"l{self.n_leases}")
        assert not self.settled & set(got)
        assert set(got) <= waiting | set(range(self.state.high - len(got), self.LAST + 1))
        if self.state.ordered:
            assert len(self.state.leases) <= 1
            assert not any(each.seq < max(got, default=0) for each in self.state.waiting)

    def settle(self, n: int, seqs: set[int] | None) -> None:
        lease, chosen = self.choose(n, seqs)
        self.state = self.state.settle(lease, chosen, self.now)
        assert not self.settled & set(chosen)
        self.settled |= set(chosen)

    def retry(self, n: int, seqs: set[int] | None) -> None:
        lease, chosen = self.choose(n, seqs)
        self.fail(chosen)
        self.state, dead = self.state.retry(lease, chosen, self.now, delay_ms=n * 7, reason="no")
        self.bury(dead)

    def release(self, n: int, seqs: set[int] | None) -> None:
        lease, chosen = self.choose(n, seqs)
        self.state = self.state.release(lease, chosen, self.now)

    def wait(self, n: int, _: object = None) -> None:
        self.now += n * 8

    def expire(self) -> None:
        self.fail([seq for lease in self.state.leases if lease.until_ms <= self.now for seq in lease.seqs()])
        self.state, dead = self.state.expire(self.now)
        self.bury(dead)

    def choose(self, n: int, seqs: set[int] | None) -> tuple[str, list[int]]:
        lease = self.state.leases[n % len(self.state.leases)]
        return lease.id, [seq for seq in lease.seqs() if seqs is None or seq in seqs]

    def fail(self, seqs: list[int]) -> None:
        for seq in seqs:
            self.n_tries[seq] = self.n_tries.get(seq, 0) + 1

    def bury(self, dead: list[DeadLetter]) -> None:
        for letter in dead:
            assert letter.seq not in self.settled
            assert letter.n_tries == self.n_tries[letter.seq] == self.state.retries + 1
            self.settled.add(letter.seq)

    def check(self) -> None:
        """Check that every message is with one worker, waits, or is settled, and nothing else."""
        state = self.state
        leased = [seq for lease in state.leases for seq in lease.seqs()]
        waiting = [each.seq for each in state.waiting]
        assert sorted([*leased, *waiting, *self.settled]) == list(range(1, state.high + 1))
        assert waiting == sorted(waiting)
        assert state.seq == min([*leased, *waiting], default=state.high + 1) - 1
        assert json.decode(json.encode(state), type=ConsumerState) == state


NEEDS_NO_LEASE = ("lease", "wait")
STEPS = st.lists(
    st.tuples(
        st.sampled_from([*NEEDS_NO_LEASE, "settle", "retry", "release"]),
        st.integers(0, 5),
        st.sets(st.integers(1, Log.LAST), max_size=6) | st.none(),
    ),
    max_size=40,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.booleans(), st.integers(0, 2))
def test_every_message_is_with_one_worker_or_comes_again_or_is_settled_once(
    steps: list[tuple[str, int, set[int] | None]], ordered: bool, retries: int
) -> None:
    log = Log(ordered=ordered, retries=retries)
    for what, n, seqs in steps:
        log.now += 1
        log.expire()
        if log.state.leases or what in NEEDS_NO_LEASE:
            getattr(log, what)(n, seqs)
        log.check()

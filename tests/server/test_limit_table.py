"""The table of limits in memory that the workers share: two tables on one descriptor, as in two processes."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import pytest

from chatkit.core.access import Identity
from chatkit.errors import RateLimited
from chatkit.server.limit_table import ENTRIES_PER_SET, N_ENTRIES, LimitTable
from chatkit.server.rate_limit import SHARE_OF_ADDRESS, RateLimits, SenderLimiter
from chatkit.server.settings import BURST_S
from chatkit.server.token_attempts import BURST, REFILL_S, TokenAttempts

RATE = 10
FOR_S = 30
TOKEN = Identity("ann", is_verified=True, token_id="ann1", address="192.0.2.1")


def test_all_processes_see_the_times_of_a_key_and_a_key_has_its_own() -> None:
    with tables(2) as (one, two):
        one.entry("name", "ann").extend(1, 7.5)
        assert two.entry("name", "ann").read(1) == 7.5
        assert two.entry("name", "ann").read(0) == 0
        assert two.entry("name", "bob").read(1) == 0
        assert LimitTable().entry("name", "ann").read(1) == 0


def test_a_key_in_use_keeps_its_entry_under_a_flood_of_other_keys() -> None:
    with tables(1) as (table,):
        kept = table.entry("token", "ann")
        kept.extend(0, 1_000_000.0)
        for number in range(N_ENTRIES):
            table.entry("name", number).extend(0, number)
        assert kept.read(0) == 1_000_000.0


def test_an_entry_that_another_key_got_is_not_read_as_the_former_keys() -> None:
    with tables(1) as (table,):
        first = table.entry("name", "ann")
        first.extend(0, 5.0)
        n_others = 0
        numbers = count()
        while n_others < ENTRIES_PER_SET:  # of the same set, and used for longer
            other = table.entry("name", next(numbers))
            if _set_of(other._tag) == _set_of(first._tag):
                other.extend(0, 9.0)
                n_others += 1
        assert first.read(0) == 0
        first.extend(1, 11.0)
        assert (first.read(0), first.read(1)) == (0, 11.0)


def test_uses_at_the_same_moment_are_all_counted() -> None:
    with tables(8) as all_tables:
        entries = [table.entry("token", "ann") for table in all_tables]
        for now in range(100):
            for entry in entries:
                entry._claim()
            merged = [entry._merge(0) for entry in entries]  # each has read before any writes
            for entry, (time_s, total) in zip(entries, merged, strict=True):
                entry._write(0, max(now, time_s) + 1.0, total + 1.0, 1.0)
        assert [entry.read(0) for entry in entries] == [800.0] * 8
        assert LimitTable(os.dup(all_tables[0].fd or 0), 8, 3).entry("token", "ann").read(0) == 800.0


def test_a_time_in_the_past_does_not_count() -> None:
    with tables(2) as (one, two):
        mine, others = one.entry("token", "ann"), two.entry("token", "ann")
        mine.use(0, 1.0, 0.0)
        others.use(0, 1.0, 50.0)
        mine.use(0, 2.0, 50.5)
        assert mine.read(0) == others.read(0) == 53.0
        others.extend(1, 9.0)
        mine.extend(1, 7.0)
        assert mine.read(1) == others.read(1) == 9.0


def test_processes_that_use_one_entry_at_once_lose_nothing() -> None:
    n_processes, n_uses = 8, 2_000
    with LimitTable.create(n_processes) as table:
        children = []
        for n in range(n_processes):
            if not (pid := os.fork()):
                entry = LimitTable(table.fd, n_processes, n).entry("token", "ann")
                for _ in range(n_uses):
                    entry.use(0, 1.0, 0.0)
                os._exit(0)
            children.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * n_processes
        assert table.entry("token", "ann").read(0) == pytest.approx(n_uses * n_processes, rel=0.001)


@pytest.mark.parametrize("identity", [TOKEN, Identity("ann", address="192.0.2.1")], ids=["token", "guest"])
def test_a_sender_gets_the_same_with_1_and_8_workers(identity: Identity) -> None:
    # A guest opens a new connection for every message, which has earned nothing yet.
    one, eight = (n_accepted(identity, n_workers) for n_workers in (1, 8))
    assert one == pytest.approx(RATE * (BURST_S + FOR_S), rel=0.1)
    assert eight == pytest.approx(one, rel=0.1)


def test_one_connection_gets_the_whole_rate_of_its_token_with_8_workers() -> None:
    assert n_accepted(TOKEN, 8, n_used=1) == pytest.approx(RATE * (BURST_S + FOR_S), rel=0.1)


def test_a_worker_that_serves_a_token_for_the_first_time_adds_no_burst() -> None:
    with workers(8) as (_, all_limits):
        limiters = [of(limits, TOKEN) for limits in all_limits]
        accepted = [sum(limiter.consume(0) == 0.0 for _ in range(1_000)) for limiter in limiters]
    assert accepted == [RATE * BURST_S, 0, 0, 0, 0, 0, 0, 0]


def test_all_workers_share_the_allowance_of_an_address_and_its_commands() -> None:
    with workers(8) as (_, all_limits):
        n_messages = 0
        for number, limits in enumerate(all_limits * 10):
            limiter = of(limits, Identity(f"guest{number}", address="192.0.2.1"))
            n_messages += sum(limiter.consume(0) == 0.0 for _ in range(100))
        assert n_messages == SHARE_OF_ADDRESS * RATE * BURST_S
        token = [of(limits, TOKEN) for limits in all_limits]
        assert token[0].charge(1_000) == 0.0  # the burst of commands
        assert token[1].charge(100) == pytest.approx(1.0)
        assert token[2].charge(0) == pytest.approx(1.0)


def test_wrong_tokens_count_on_all_workers() -> None:
    now = 0.0
    with tables(8) as all_tables:
        attempts = [TokenAttempts(lambda: now, table) for table in all_tables]
        for number in range(BURST):
            attempts[number % 8].add_wrong("192.0.2.1")
        with pytest.raises(RateLimited):
            attempts[5].check("192.0.2.1", lambda: True)
        now = REFILL_S
        assert attempts[6].check("192.0.2.1", lambda: True)
        attempts[7].add_wrong("192.0.2.1")
        assert attempts[0].check("192.0.2.1", lambda: True)  # the right token came from there


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def tables(n_workers: int) -> Iterator[list[LimitTable]]:
    """Open one table in several processes' ways."""
    with ExitStack() as stack:
        created = stack.enter_context(LimitTable.create(n_workers))
        yield [stack.enter_context(LimitTable(os.dup(created.fd or 0), n_workers, n)) for n in range(n_workers)]


@contextmanager
def workers(n_workers: int) -> Iterator[tuple[Clock, list[RateLimits]]]:
    """Make the limits of several workers, with one clock."""
    clock = Clock()
    with tables(n_workers) as opened:
        yield clock, [RateLimits(RATE, clock=clock, table=table) for table in opened]


def of(limits: RateLimits, identity: Identity, connection: object = None) -> SenderLimiter:
    limiter = limits.of(identity, connection)
    assert limiter is not None
    return limiter


def n_accepted(identity: Identity, n_workers: int, *, n_used: int | None = None) -> int:
    """Return how many messages are accepted of one connection to each worker, each of which sends all it can."""
    accepted = 0
    with workers(n_workers) as (clock, all_limits):
        limiters = [of(limits, identity) for limits in all_limits[:n_used]]
        while clock.now < FOR_S:
            for number, limits in enumerate(all_limits[:n_used]):
                if identity.token_id is None:
                    limiters[number] = of(limits, identity)
                while limiters[number].consume(0) == 0.0:
                    accepted += 1
            clock.now += 0.25  # longer than a refusal keeps a connection closed
    return accepted


def _set_of(tag: int) -> int:
    return tag % (N_ENTRIES // ENTRIES_PER_SET)

"""Rate limits: token buckets with a clock of the test, and refusals by real servers."""

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from access_server import access_server, problem
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from raw_client import Talk, call, open_socket, run
from serving import ServerProcess, serve

from chatkit.core.access import Identity
from chatkit.server.rate_limit import MAX_BUCKETS, MIN_WAIT_S, SHARE_OF_ADDRESS, Bucket, RateLimits, SenderLimiter
from chatkit.server.settings import BURST_S, MAX_RATE_BYTES


def test_a_bucket_allows_a_burst_and_then_the_rate() -> None:
    bucket = Bucket(10, now=0.0)
    assert [bucket.consume(1, 0.0) for _ in range(10 * BURST_S)] == [0.0] * (10 * BURST_S)
    wait_s = bucket.consume(1, 0.0)
    assert wait_s == pytest.approx(0.1)
    assert bucket.consume(1, wait_s) == 0.0


def test_a_bucket_stays_closed_until_the_sender_has_waited() -> None:
    bucket = Bucket(1_000, now=0.0)
    while not bucket.consume(1, 0.0):
        pass
    # After ten milliseconds the rate would allow a message, but none may overtake the refused one.
    assert bucket.consume(1, 0.01) == pytest.approx(MIN_WAIT_S)
    assert bucket.consume(1, 0.1) == pytest.approx(MIN_WAIT_S)
    assert bucket.consume(1, 0.2) == 0.0
    assert bucket.consume(1, 0.2) == 0.0


def test_a_bucket_counts_bytes_and_allows_a_paste_but_not_a_flood() -> None:
    bucket = Bucket(100, now=0.0)
    n_bytes = 0
    while not (wait_s := bucket.consume(65_536, 0.0)):
        n_bytes += 65_536
    assert n_bytes == 4 * MAX_RATE_BYTES
    assert wait_s == pytest.approx(max(MIN_WAIT_S, 65_536 / MAX_RATE_BYTES))
    assert bucket.consume(65_536, wait_s) == 0.0


def test_a_refused_message_costs_nothing() -> None:
    bucket = Bucket(1, now=0.0)
    for _ in range(BURST_S):
        bucket.consume(0, 0.0)
    assert bucket.consume(0, 0.0) == pytest.approx(1.0)
    assert bucket.consume(0, 1.0) == 0.0
    assert bucket.consume(0, 1.0) == pytest.approx(1.0)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.lists(st.integers(0, 3 * MAX_RATE_BYTES), min_size=1, max_size=6))),
    st.booleans(),
)
@example([(0.0, [1] * 6)], True)
def test_messages_that_are_counted_together_are_those_that_none_of_would_be_refused(
    steps: list[tuple[float, list[int]]], is_empty: bool
) -> None:
    def limiter(now: list[float]) -> SenderLimiter:
        limits = RateLimits(2.0, clock=lambda: now[0])
        found = limits.of(Identity("ann", address="192.0.2.1"), None if is_empty else "a connection")
        assert found is not None
        return found

    now = [100.0]
    one_by_one, together = limiter(now), limiter(now)
    for wait_s, sizes in steps:
        now[0] += wait_s
        if not together.consume_all(len(sizes), sum(sizes)):
            assert any([one_by_one.consume(n_bytes) for n_bytes in sizes])  # noqa: C419 - each is to be counted
            return
        assert not any([one_by_one.consume(n_bytes) for n_bytes in sizes])  # noqa: C419


def test_a_rate_of_one_a_minute_allows_one_message_a_minute() -> None:
    bucket = Bucket(1 / 60, now=0.0)
    assert bucket.consume(1, 0.0) == 0.0
    wait_s = bucket.consume(1, 0.0)
    assert wait_s == pytest.approx(60.0)
    assert bucket.consume(1, 60.01) == 0.0


def test_a_clock_that_stops_or_jumps_does_not_break_a_bucket() -> None:
    bucket = Bucket(1, now=100.0)
    assert [bucket.consume(0, 100.0) for _ in range(BURST_S)] == [0.0] * BURST_S
    assert bucket.consume(0, 1e9) == 0.0
    assert [bucket.consume(0, 1e9) for _ in range(BURST_S - 1)] == [0.0] * (BURST_S - 1)
    assert bucket.consume(0, 1e9) > 0


def test_new_connections_of_a_sender_share_one_burst() -> None:
    limits = RateLimits(1, clock=lambda: 0.0)
    one, two, other = limits.of(guest("a", "ann")), limits.of(guest("a", "ann")), limits.of(guest("b", "ann"))
    assert one is not None
    assert two is not None
    assert other is not None
    assert [one.consume(0) for _ in range(BURST_S)] == [0.0] * BURST_S
    assert two.consume(0) > 0
    assert other.consume(0) == 0.0


def test_another_client_with_the_same_name_does_not_use_up_a_connections_allowance() -> None:
    now = 0.0
    limits = RateLimits(10, clock=lambda: now)
    ann, thief = limits.of(guest("a", "ann")), limits.of(guest("a", "ann"))
    assert ann is not None
    assert thief is not None
    refused = 0
    for step in range(100):
        now = step / 10
        refused += sum(thief.consume(0) > 0 for _ in range(50))
        if step:  # a client that sends more slowly than the rate is never refused
            assert ann.consume(0) == 0.0
    assert refused


def test_new_names_and_new_connections_add_little_allowance() -> None:
    limits = RateLimits(1, clock=lambda: 0.0)
    connection = ("a", 1)
    n_accepted = 0
    for number in range(10 * BURST_S):
        limiter = limits.of(guest("a", str(number)), connection)
        assert limiter is not None
        n_accepted += limiter.consume(0) == 0.0
    assert n_accepted == BURST_S
    for number in range(10 * BURST_S):
        limiter = limits.of(guest("a", str(number)))
        assert limiter is not None
        n_accepted += limiter.consume(0) == 0.0
    assert n_accepted == SHARE_OF_ADDRESS * BURST_S


def test_a_connection_has_the_rate_and_the_burst_of_the_welcome_event() -> None:
    now = 0.0
    limits = RateLimits(10, clock=lambda: now)
    limiter = limits.of(guest("a", "ann"))
    assert limiter is not None
    n_accepted = 0
    for step in range(1, 1_001):
        now = step / 5  # longer than a refusal keeps the bucket closed
        while limiter.consume(0) == 0.0:
            n_accepted += 1
    assert n_accepted <= 10 * BURST_S + 10 * now
    assert n_accepted >= 10 * now * 0.9


def test_commands_have_their_own_allowance_and_the_client_waits_until_a_debt_is_paid() -> None:
    now = 0.0
    limits = RateLimits(1, clock=lambda: now)
    limiter = limits.of(guest("a", "ann"))
    assert limiter is not None
    assert limiter.charge(1_000) == 0.0
    assert limiter.charge(10) == pytest.approx(0.1)
    assert limiter.charge(0) == pytest.approx(0.1)
    now = 0.2
    assert limiter.charge(0) == 0.0
    assert limiter.consume(0) == 0.0


def test_a_rate_of_zero_means_no_limit() -> None:
    assert RateLimits(0).of(guest("a", "ann")) is None


def test_the_number_of_buckets_is_bounded_under_a_flood_of_connections() -> None:
    now = 0.0
    limits = RateLimits(100, clock=lambda: now)
    for number in range(3 * MAX_BUCKETS):
        limiter = limits.of(guest("a", str(number)), number)
        assert limiter is not None
        limiter.consume(0)
    assert len(limits._remote._connections) <= MAX_BUCKETS
    now = 1_000.0
    for number in range(MAX_BUCKETS):
        limits.of(guest("b", str(number)), -number)
    assert len(limits._remote._connections) <= MAX_BUCKETS


def test_the_connections_of_a_token_share_one_allowance_wherever_they_come_from() -> None:
    now = 0.0
    limits = RateLimits(10, clock=lambda: now)
    ann = Identity("ann", is_verified=True, token_id="ann1", address="192.0.2.1")
    limiters = [limits.of(replace(ann, address=f"192.0.2.{number}")) for number in range(5)]
    impostor = limits.of(guest("192.0.2.1", "ann"))
    assert impostor is not None
    for _ in range(1_000):
        impostor.consume(0)
    n_accepted = 0
    for step in range(101):
        now = step / 5
        for limiter in limiters:
            assert limiter is not None
            while limiter.consume(0) == 0.0:
                n_accepted += 1
    assert n_accepted == pytest.approx(10 * BURST_S + 10 * now, abs=5)


def test_two_connections_of_a_token_that_wait_as_asked_both_go_on() -> None:
    now = 0.0
    limits = RateLimits(100, clock=lambda: now)
    ann = Identity("ann", is_verified=True, token_id="ann1")
    pair = [limits.of(ann, 1), limits.of(ann, 2)]
    accepted, next_at = [0, 0], [0.0, 0.05]
    while now < 20.0:
        number = 0 if next_at[0] <= next_at[1] else 1
        now = max(now, next_at[number])
        limiter = pair[number]
        assert limiter is not None
        wait_s = limiter.consume(0)
        accepted[number] += wait_s == 0.0
        next_at[number] = now + (wait_s or 0.001)
    assert min(accepted) > 500, accepted


def test_programs_on_this_machine_have_a_rate_of_their_own() -> None:
    limits = RateLimits(1, 1_000, clock=lambda: 0.0)
    local, remote = limits.of(guest("", "ann"), is_local=True), limits.of(guest("", "ann"))
    assert local is not None
    assert remote is not None
    assert sum(local.consume(0) == 0.0 for _ in range(5_000)) == 5_000
    assert sum(remote.consume(0) == 0.0 for _ in range(5_000)) == BURST_S


def test_a_network_of_ipv6_counts_as_one_address() -> None:
    limits = RateLimits(1, clock=lambda: 0.0)
    n_accepted = 0
    for number in range(10 * BURST_S):
        limiter = limits.of(guest(f"2001:db8::{number:x}", str(number)))
        assert limiter is not None
        n_accepted += limiter.consume(0) == 0.0
    assert n_accepted == SHARE_OF_ADDRESS * BURST_S


def guest(address: str, name: str) -> Identity:
    return Identity(name, address=address)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("strict") / "rooms.db", "--rate-limit", "2") as started:
        yield started


def test_a_429_answer_says_when_to_retry(strict: ServerProcess) -> None:
    while (refused := call(strict, "POST", "/rooms/calls/messages?name=ann", "x")).status == 201:
        pass
    assert refused.problem == (429, "rate-limited")
    assert 0 < refused.json["retry_after_s"] <= 1
    assert int(refused.headers["retry-after"]) >= refused.json["retry_after_s"]
    assert call(strict, "POST", "/rooms/calls/messages?name=bob", "x").status == 201
    assert call(strict, "GET", "/rooms/calls/messages").status == 200


def test_a_refused_message_on_a_socket_says_when_to_retry_and_none_overtakes_it(strict: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(strict, "/ws/flood?name=cat&history=0") as talk:
            await talk.until("joined")
            strict.signal(signal.SIGSTOP)  # so that it reads them all at one moment
            try:
                for number in range(25):
                    await talk.send(op="publish", body=str(number), ref=number)
            finally:
                strict.signal(signal.SIGCONT)
            outcomes: dict[int, dict[str, Any]] = {}
            while len(outcomes) < 25:
                event = await talk.receive()
                if "ref" in event:
                    outcomes[event["ref"]] = event
            accepted = [number for number in range(25) if outcomes[number]["type"] == "ack"]
            assert accepted == list(range(2 * BURST_S))
            refused = outcomes[2 * BURST_S]
            assert refused["code"] == "rate-limited"
            # A client that waits as long as it is asked to continues with the refused message.
            async with asyncio.timeout(20):
                number = 2 * BURST_S
                wait_s = refused["retry_after_s"]
                while number < 25:
                    await asyncio.sleep(wait_s)
                    answer = await talk.ask(op="publish", body=str(number))
                    wait_s = answer.get("retry_after_s", 0.0)
                    number += answer["type"] == "ack"
        page = await asyncio.to_thread(call, strict, "GET", "/rooms/flood/messages")
        assert [message["body"] for message in page.json["messages"]] == [str(number) for number in range(25)]

    run(test())


def test_the_bytes_of_data_count_against_the_limit_on_bytes() -> None:
    async def test() -> None:
        async with access_server(rate_limit=1_000) as server:
            # With a clock that runs, a slow machine earns as much as it sends.
            server.app.state.admission.rates = RateLimits(1_000, clock=lambda: 0.0)
            n_accepted = 0
            sent = {"body": "", "data": "y" * 50_000}
            while (answer := await server.call("POST", "/rooms/bytes/messages", body=sent)).status_code == 201:
                n_accepted += 1
            assert problem(answer) == (429, "rate-limited")
            assert 4 * MAX_RATE_BYTES // 60_000 < n_accepted <= 4 * MAX_RATE_BYTES // 50_000

    run(test())


def test_a_paste_of_a_thousand_lines_is_not_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def test(server: ServerProcess) -> None:
        async with open_socket(server, "/ws/paste?history=0") as opened:
            for number in range(1_000):
                await opened.send(f"line {number}")
            assert [await opened.recv() for _ in range(1_000)] == [f"line {number}" for number in range(1_000)]

    with serve(tmp_path_factory.mktemp("paste") / "rooms.db") as started:
        run(test(started))

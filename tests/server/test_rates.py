"""How much one sender may send: buckets by a clock of the test's own, and refusals by real servers."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from raw_client import Talk, call, open_socket, publish, run
from serving import ServerProcess, serve

from chatkit.server.rates import MAX_BUCKETS, MIN_WAIT_S, SHARE_OF_ADDRESS, Bucket, RateLimits
from chatkit.server.settings import BURST_S, MAX_RATE_BYTES


def test_a_bucket_gives_a_burst_and_then_what_the_rate_allows() -> None:
    bucket = Bucket(10, now=0.0)
    assert [bucket.take(1, 0.0) for _ in range(10 * BURST_S)] == [0.0] * (10 * BURST_S)
    wait_s = bucket.take(1, 0.0)
    assert wait_s == pytest.approx(0.1)
    assert bucket.take(1, wait_s) == 0.0


def test_a_bucket_stays_closed_until_its_sender_has_been_quiet() -> None:
    bucket = Bucket(1_000, now=0.0)
    while not bucket.take(1, 0.0):
        pass
    # Ten milliseconds later there is room again, but what was sent behind the refused one must not overtake it.
    assert bucket.take(1, 0.01) == pytest.approx(MIN_WAIT_S)
    assert bucket.take(1, 0.1) == pytest.approx(MIN_WAIT_S)
    assert bucket.take(1, 0.2) == 0.0
    assert bucket.take(1, 0.2) == 0.0


def test_a_bucket_counts_bytes_so_that_a_paste_passes_and_a_flood_does_not() -> None:
    bucket = Bucket(100, now=0.0)
    taken = 0
    while not (wait_s := bucket.take(65_536, 0.0)):
        taken += 65_536
    assert taken == 4 * MAX_RATE_BYTES
    assert wait_s == pytest.approx(max(MIN_WAIT_S, 65_536 / MAX_RATE_BYTES))
    assert bucket.take(65_536, wait_s) == 0.0


def test_a_refusal_costs_nothing_of_the_allowance() -> None:
    bucket = Bucket(1, now=0.0)
    for _ in range(BURST_S):
        bucket.take(0, 0.0)
    assert bucket.take(0, 0.0) == pytest.approx(1.0)
    assert bucket.take(0, 1.0) == 0.0
    assert bucket.take(0, 1.0) == pytest.approx(1.0)


def test_a_rate_of_one_a_minute_lets_one_a_minute_through() -> None:
    bucket = Bucket(1 / 60, now=0.0)
    assert bucket.take(1, 0.0) == 0.0
    wait_s = bucket.take(1, 0.0)
    assert wait_s == pytest.approx(60.0)
    assert bucket.take(1, 60.01) == 0.0


def test_time_that_stands_still_or_jumps_leaves_a_bucket_whole() -> None:
    bucket = Bucket(1, now=100.0)
    assert [bucket.take(0, 100.0) for _ in range(BURST_S)] == [0.0] * BURST_S
    assert bucket.take(0, 1e9) == 0.0
    assert [bucket.take(0, 1e9) for _ in range(BURST_S - 1)] == [0.0] * (BURST_S - 1)
    assert bucket.take(0, 1e9) > 0


def test_new_connections_of_a_sender_share_what_is_sent_at_once() -> None:
    limits = RateLimits(1, clock=lambda: 0.0)
    one, two, other = limits.of("a", "ann"), limits.of("a", "ann"), limits.of("b", "ann")
    assert one is not None
    assert two is not None
    assert other is not None
    assert [one.take(0) for _ in range(BURST_S)] == [0.0] * BURST_S
    assert two.take(0) > 0
    assert other.take(0) == 0.0


def test_what_another_sends_under_a_name_takes_nothing_of_what_a_connection_has_earned() -> None:
    now = 0.0
    limits = RateLimits(10, clock=lambda: now)
    ann, thief = limits.of("a", "ann"), limits.of("a", "ann")
    assert ann is not None
    assert thief is not None
    refused = 0
    for step in range(100):
        now = step / 10
        refused += sum(thief.take(0) > 0 for _ in range(50))
        if step:  # one that sends slower than the rate is never refused
            assert ann.take(0) == 0.0
    assert refused


def test_new_names_and_new_connections_give_little() -> None:
    limits = RateLimits(1, clock=lambda: 0.0)
    connection = ("a", 1)
    taken = 0
    for number in range(10 * BURST_S):
        limiter = limits.of("a", str(number), connection)
        assert limiter is not None
        taken += limiter.take(0) == 0.0
    assert taken == BURST_S
    for number in range(10 * BURST_S):
        limiter = limits.of("a", str(number))
        assert limiter is not None
        taken += limiter.take(0) == 0.0
    assert taken == SHARE_OF_ADDRESS * BURST_S


def test_a_connection_has_the_rate_and_the_burst_that_clients_are_told() -> None:
    now = 0.0
    limits = RateLimits(10, clock=lambda: now)
    limiter = limits.of("a", "ann")
    assert limiter is not None
    taken = 0
    for step in range(1, 1_001):
        now = step / 5  # longer than a refusal closes the bucket
        while limiter.take(0) == 0.0:
            taken += 1
    assert taken <= 10 * BURST_S + 10 * now
    assert taken >= 10 * now * 0.9


def test_commands_are_paid_from_an_allowance_of_their_own_and_a_debt_is_waited_for() -> None:
    now = 0.0
    limits = RateLimits(1, clock=lambda: now)
    limiter = limits.of("a", "ann")
    assert limiter is not None
    assert limiter.charge(1_000) == 0.0
    assert limiter.charge(10) == pytest.approx(0.1)
    assert limiter.charge(0) == pytest.approx(0.1)
    now = 0.2
    assert limiter.charge(0) == 0.0
    assert limiter.take(0) == 0.0


def test_no_rate_is_no_limit() -> None:
    assert RateLimits(0).of("a", "ann") is None


def test_a_flood_of_names_fills_a_bounded_memory() -> None:
    now = 0.0
    limits = RateLimits(100, clock=lambda: now)
    for number in range(3 * MAX_BUCKETS):
        limiter = limits.of("a", str(number))
        assert limiter is not None
        limiter.take(0)
    assert limits.n_buckets <= MAX_BUCKETS
    now = 1_000.0
    for number in range(MAX_BUCKETS):
        limits.of("b", str(number))
    assert limits.n_buckets <= MAX_BUCKETS


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("strict") / "rooms.db", "--rate-limit", "2") as started:
        yield started


def test_too_many_calls_are_told_when_to_go_on(strict: ServerProcess) -> None:
    answers = [call(strict, "POST", "/rooms/calls/messages?name=ann", "x") for _ in range(40)]
    refused = next(answer for answer in answers if answer.status != 201)
    assert refused.problem == (429, "rate-limited")
    assert 0 < refused.json["retry_after_s"] <= 1
    assert int(refused.headers["retry-after"]) >= refused.json["retry_after_s"]
    assert call(strict, "POST", "/rooms/calls/messages?name=bob", "x").status == 201
    assert call(strict, "GET", "/rooms/calls/messages").status == 200


def test_too_many_messages_on_a_socket_are_told_when_to_go_on_and_none_overtakes(strict: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(strict, "/ws/flood?name=cat&history=0") as talk:
            await talk.until("joined")
            for number in range(25):
                await talk.send(op="publish", body=str(number), ref=number)
            outcomes: dict[int, dict[str, Any]] = {}
            while len(outcomes) < 25:
                event = await talk.receive()
                if "ref" in event:
                    outcomes[event["ref"]] = event
            taken = [number for number in range(25) if outcomes[number]["type"] == "ack"]
            assert taken == list(range(2 * BURST_S))
            refused = outcomes[2 * BURST_S]
            assert refused["code"] == "rate-limited"
            # Who waits as told goes on where they were stopped.
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


def test_bytes_are_limited_beside_messages_data_and_all(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serve(tmp_path_factory.mktemp("bytes") / "rooms.db") as started:
        answers = []
        for _ in range(5 * MAX_RATE_BYTES // 50_000 * 2):
            answers.append(publish(started, "bytes", "", data="y" * 50_000))
            if answers[-1].status != 201:
                break
        assert answers[-1].problem == (429, "rate-limited")
        assert len(answers) > 4 * MAX_RATE_BYTES // 60_000


def test_a_paste_of_a_thousand_lines_passes(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def test(server: ServerProcess) -> None:
        async with open_socket(server, "/ws/paste?history=0") as opened:
            for number in range(1_000):
                await opened.send(f"line {number}")
            assert [await opened.recv() for _ in range(1_000)] == [f"line {number}" for number in range(1_000)]

    with serve(tmp_path_factory.mktemp("paste") / "rooms.db") as started:
        run(test(started))

"""How much one sender may send: buckets by a clock of the test's own, and refusals by real servers."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from rawsocket import Talk, call, open_socket, publish, run
from serving import ServerProcess, serve

from chatkit.server.access import MAX_BUCKETS, MIN_WAIT_S, RateLimits, TokenBucket
from chatkit.server.settings import BURST_S, MAX_RATE_BYTES


def test_a_bucket_gives_a_burst_and_then_what_the_rate_allows() -> None:
    bucket = TokenBucket(10, now=0.0)
    assert [bucket.take(1, 0.0) for _ in range(10 * BURST_S)] == [0.0] * (10 * BURST_S)
    wait_s = bucket.take(1, 0.0)
    assert wait_s == pytest.approx(0.1)
    assert bucket.take(1, wait_s) == 0.0


def test_a_bucket_stays_closed_until_its_sender_has_been_quiet() -> None:
    bucket = TokenBucket(1_000, now=0.0)
    while not bucket.take(1, 0.0):
        pass
    # Ten milliseconds later there is room again, but what was sent behind the refused one must not overtake it.
    assert bucket.take(1, 0.01) == pytest.approx(MIN_WAIT_S)
    assert bucket.take(1, 0.1) == pytest.approx(MIN_WAIT_S)
    assert bucket.take(1, 0.2) == 0.0
    assert bucket.take(1, 0.2) == 0.0


def test_a_bucket_counts_bytes_so_that_a_paste_passes_and_a_flood_does_not() -> None:
    bucket = TokenBucket(100, now=0.0)
    taken = 0
    while not (wait_s := bucket.take(65_536, 0.0)):
        taken += 65_536
    assert taken == 4 * MAX_RATE_BYTES
    assert wait_s == pytest.approx(max(MIN_WAIT_S, 65_536 / MAX_RATE_BYTES))
    assert bucket.take(65_536, wait_s) == 0.0


def test_a_refusal_costs_nothing_of_the_allowance() -> None:
    bucket = TokenBucket(1, now=0.0)
    for _ in range(BURST_S):
        bucket.take(0, 0.0)
    assert bucket.take(0, 0.0) == pytest.approx(1.0)
    assert bucket.take(0, 1.0) == 0.0
    assert bucket.take(0, 1.0) == pytest.approx(1.0)


def test_a_rate_of_one_a_minute_lets_one_a_minute_through() -> None:
    bucket = TokenBucket(1 / 60, now=0.0)
    assert bucket.take(1, 0.0) == 0.0
    wait_s = bucket.take(1, 0.0)
    assert wait_s == pytest.approx(60.0)
    assert bucket.take(1, 60.01) == 0.0


def test_time_that_stands_still_or_jumps_leaves_a_bucket_whole() -> None:
    bucket = TokenBucket(1, now=100.0)
    assert [bucket.take(0, 100.0) for _ in range(BURST_S)] == [0.0] * BURST_S
    assert bucket.take(0, 1e9) == 0.0
    assert [bucket.take(0, 1e9) for _ in range(BURST_S - 1)] == [0.0] * (BURST_S - 1)
    assert bucket.take(0, 1e9) > 0


def test_a_sender_has_one_allowance_however_many_connections() -> None:
    limits = RateLimits(1, clock=lambda: 0.0)
    one, two, other = limits.of("a", "ann"), limits.of("a", "ann"), limits.of("b", "ann")
    assert one is not None
    assert two is not None
    assert other is not None
    assert [one.take(0) for _ in range(BURST_S)] == [0.0] * BURST_S
    assert two.take(0) > 0
    assert other.take(0) == 0.0


def test_no_rate_is_no_limit() -> None:
    assert RateLimits(0).of("a", "ann") is None


def test_a_flood_of_names_fills_a_bounded_memory() -> None:
    now = 0.0
    limits = RateLimits(100, clock=lambda: now)
    for number in range(3 * MAX_BUCKETS):
        limiter = limits.of("a", str(number))
        assert limiter is not None
        limiter.take(0)
    assert len(limits._buckets) <= MAX_BUCKETS
    now = 1_000.0
    for number in range(MAX_BUCKETS):
        limits.of("b", str(number))
    assert len(limits._buckets) <= MAX_BUCKETS


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
                await talk.say(op="publish", body=str(number), ref=number)
            outcomes: dict[int, dict[str, Any]] = {}
            while len(outcomes) < 25:
                event = await talk.hear()
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

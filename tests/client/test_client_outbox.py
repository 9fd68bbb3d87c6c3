"""What the client sends and when, without a socket; and which error a server's refusal becomes."""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from chatkit.client.errors import refusal_of_close, refusal_of_response
from chatkit.client.outbox import FIRST, Entry, Outbox
from chatkit.client.rate_limit import RateLimit
from chatkit.errors import ChatkitError, Forbidden, RateLimited, TooLarge, Unauthorized, Unavailable
from chatkit.wire.protocol import AckEvent, PublishCommand, WireLimits, decode_command

FREE = WireLimits(65_536, 1_000)
SLOW = WireLimits(65_536, 1_000, rate=10, burst=5)


@pytest.fixture
def loop() -> Iterator[None]:
    """Let futures be made: entries have one."""
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())
        asyncio.events._set_running_loop(runner.get_loop())
        yield
        asyncio.events._set_running_loop(None)


def entry(ref: int, *, has_own_key: bool = False) -> Entry:
    return Entry(ref, "ann", PublishCommand(room="ops", body=str(ref), key=f"k{ref}", ref=ref), has_own_key=has_own_key)


def filled(count: int, limits: WireLimits = FREE) -> Outbox:
    outbox = Outbox()
    outbox.connected(limits, 0.0)
    for ref in range(1, count + 1):
        outbox.add(entry(ref))
    return outbox


def sent(outbox: Outbox, now: float = 0.0) -> list[int]:
    refs = []
    while isinstance(due := outbox.next(now), bytes):
        refs.append(msgspec.json.decode(due)["ref"])
    return refs


def sent_behind(outbox: Outbox, now: float = 0.0) -> list[tuple[object, object]]:
    pairs: list[tuple[object, object]] = []
    while isinstance(due := outbox.next(now), bytes):
        frame = decode_command(due)
        assert isinstance(frame, PublishCommand)
        pairs.append((frame.behind, frame.ref))
    return pairs


def test_nothing_goes_before_there_is_a_connection(loop: None) -> None:
    outbox = Outbox()
    outbox.add(entry(1))
    assert outbox.next(0.0) is None
    outbox.connected(FREE, 0.0)
    assert sent(outbox) == [1]


def test_what_was_in_flight_goes_again_first_and_in_order(loop: None) -> None:
    outbox = filled(6)
    assert [outbox.next(0.0) is not None for _ in range(4)] == [True] * 4
    assert outbox.pop(2) is not None
    outbox.connected(FREE, 1.0)
    assert sent(outbox) == [1, 3, 4, 5, 6]


def test_what_was_refused_for_now_goes_again_in_order_when_all_is_answered_and_time_is_over(loop: None) -> None:
    outbox = filled(4)
    assert sent(outbox) == [1, 2, 3, 4]
    outbox.add(entry(5))
    outbox.hold(3, 0.5, 1.0)
    assert outbox.pop(1) is not None
    outbox.hold(2, 0.5, 1.1)
    assert outbox.next(9.0) is None  # 4 is not answered yet: it might still be stored, or refused
    outbox.hold(4, 0.5, 1.2)
    assert outbox.next(1.3) == pytest.approx(0.4)
    assert sent(outbox, 1.7) == [2, 3, 4, 5]


def test_each_message_says_what_it_was_sent_behind_and_the_first_after_a_refusal_that_there_is_none(
    loop: None,
) -> None:
    outbox = filled(3)
    assert sent_behind(outbox) == [(FIRST, 1), (1, 2), (2, 3)]
    assert outbox.pop(1) is not None
    outbox.hold(2, 0.5, 1.0)
    outbox.hold(3, 0.5, 1.0)
    outbox.add(entry(4))
    assert sent_behind(outbox, 1.5) == [(FIRST, 2), (2, 3), (3, 4)]
    outbox.connected(FREE, 2.0)
    assert sent_behind(outbox, 2.0) == [(FIRST, 2), (2, 3), (3, 4)]


def test_one_that_was_refused_and_then_given_up_does_not_hold_up_those_behind_it(loop: None) -> None:
    outbox = Outbox()
    outbox.connected(FREE, 0.0)
    given_up = entry(1)
    outbox.add(given_up)
    outbox.add(entry(2))
    assert sent(outbox) == [1, 2]
    outbox.hold(1, 0.5, 1.0)
    outbox.hold(2, 0.5, 1.0)
    given_up.answer.cancel()
    assert sent_behind(outbox, 2.0) == [(FIRST, 2)]


def test_what_nobody_waits_for_any_more_is_not_sent(loop: None) -> None:
    outbox = Outbox()
    given_up = entry(1)
    outbox.add(given_up)
    outbox.add(entry(2))
    given_up.answer.cancel()
    outbox.connected(FREE, 0.0)
    assert sent(outbox) == [2]


def test_a_repeat_of_our_own_retry_is_none_to_who_published(loop: None) -> None:
    ack = AckEvent("ops", 7, "e:7", True, 0, "2026-11-20T11:47:21.123Z")
    ours, theirs = entry(0), entry(0, has_own_key=True)
    ours.accept(ack)
    theirs.accept(ack)
    assert (ours.answer.result().repeat, theirs.answer.result().repeat) == (False, True)


def test_the_pace_stays_below_the_limits() -> None:
    pace = RateLimit(SLOW, 0.0)
    now = 0.0
    sent_at: list[float] = []
    while len(sent_at) < 100:
        if wait_s := pace.wait_s(1, now):
            now += wait_s
            continue
        pace.spend(1, now)
        sent_at.append(now)
    # A server's bucket of the same limits is never empty.
    assert all(5 + 10 * at - count >= 0 for count, at in enumerate(sent_at, 1))
    assert sent_at[-1] < 100 / 10 * 1.1


def test_a_message_larger_than_the_bucket_goes_when_it_is_full() -> None:
    pace = RateLimit(WireLimits(65_536, 1_000, rate_bytes=1_000), 0.0)
    assert pace.wait_s(5_000, 0.0) == 0
    pace.spend(5_000, 0.0)
    assert 4 < pace.wait_s(1, 0.0) < 6


def test_an_answer_without_a_code_is_read_by_its_status() -> None:
    assert isinstance(refusal_of_response(502, b"<html>Bad Gateway"), Unavailable)
    assert isinstance(refusal_of_response(401, b""), Unauthorized)
    too_large = refusal_of_response(413, b"<html>413 Request Entity Too Large")
    assert isinstance(too_large, TooLarge)
    assert too_large.max_bytes is None
    limited = refusal_of_response(429, b"{}", "3")
    assert isinstance(limited, RateLimited)
    assert limited.retry_after_s == 3


@pytest.mark.parametrize("header", [None, "", "soon", "-1", "nan", "inf", "Fri, 27 Nov 2026 18:20:35 GMT"])
def test_a_time_to_go_on_that_is_no_number_of_seconds_is_a_second(header: str | None) -> None:
    limited = refusal_of_response(429, b"", header)
    assert isinstance(limited, RateLimited)
    assert limited.retry_after_s == 1.0


def test_a_close_code_says_whether_to_come_back() -> None:
    assert isinstance(refusal_of_close(4401, ""), Unauthorized)
    assert isinstance(refusal_of_close(4403, "no"), Forbidden)
    assert isinstance(refusal_of_close(4444, "no"), ChatkitError)
    assert all(refusal_of_close(code, "") is None for code in (1000, 1001, 1006, 1011, 1012, 4503, 4508))

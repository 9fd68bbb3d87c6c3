"""The outbox and the rate limit, without a socket; and the errors for the refusals of a server."""

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
    """Provide the event loop that the futures of entries need."""
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


def test_nothing_is_sent_before_there_is_a_connection(loop: None) -> None:
    outbox = Outbox()
    outbox.add(entry(1))
    assert outbox.next(0.0) is None
    outbox.connected(FREE, 0.0)
    assert sent(outbox) == [1]


def test_after_a_reconnection_the_messages_in_flight_are_sent_again_first_and_in_order(loop: None) -> None:
    outbox = filled(6)
    assert [outbox.next(0.0) is not None for _ in range(4)] == [True] * 4
    assert outbox.pop(2) is not None
    outbox.connected(FREE, 1.0)
    assert sent(outbox) == [1, 3, 4, 5, 6]


def test_refused_messages_are_sent_again_in_order_when_all_are_answered_and_the_wait_is_over(loop: None) -> None:
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


def test_each_message_names_the_one_before_it_except_the_first_after_a_refusal(
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


def test_a_refused_message_that_is_cancelled_does_not_delay_later_ones(loop: None) -> None:
    outbox = Outbox()
    outbox.connected(FREE, 0.0)
    cancelled = entry(1)
    outbox.add(cancelled)
    outbox.add(entry(2))
    assert sent(outbox) == [1, 2]
    outbox.hold(1, 0.5, 1.0)
    outbox.hold(2, 0.5, 1.0)
    cancelled.answer.cancel()
    assert sent_behind(outbox, 2.0) == [(FIRST, 2)]


def test_a_cancelled_message_is_not_sent(loop: None) -> None:
    outbox = Outbox()
    cancelled = entry(1)
    outbox.add(cancelled)
    outbox.add(entry(2))
    cancelled.answer.cancel()
    outbox.connected(FREE, 0.0)
    assert sent(outbox) == [2]


def test_a_repeat_with_a_generated_key_is_not_reported_as_a_repeat(loop: None) -> None:
    ack = AckEvent("ops", 7, "e:7", True, 0, "2026-11-20T11:47:21.123Z")
    ours, theirs = entry(0), entry(0, has_own_key=True)
    ours.accept(ack)
    theirs.accept(ack)
    assert (ours.answer.result().repeat, theirs.answer.result().repeat) == (False, True)


def test_the_rate_limit_stays_below_that_of_the_server() -> None:
    rate_limit = RateLimit(SLOW, 0.0)
    now = 0.0
    sent_at: list[float] = []
    while len(sent_at) < 100:
        if wait_s := rate_limit.wait_s(1, now):
            now += wait_s
            continue
        rate_limit.spend(1, now)
        sent_at.append(now)
    # A server's bucket of the same limits is never empty.
    assert all(5 + 10 * at - count >= 0 for count, at in enumerate(sent_at, 1))
    assert sent_at[-1] < 100 / 10 * 1.1


def test_a_message_larger_than_the_bucket_is_sent_when_the_bucket_is_full() -> None:
    rate_limit = RateLimit(WireLimits(65_536, 1_000, rate_bytes=1_000), 0.0)
    assert rate_limit.wait_s(5_000, 0.0) == 0
    rate_limit.spend(5_000, 0.0)
    assert 4 < rate_limit.wait_s(1, 0.0) < 6


def test_the_error_of_an_answer_without_a_code_depends_on_its_status() -> None:
    assert isinstance(refusal_of_response(502, b"<html>Bad Gateway"), Unavailable)
    assert isinstance(refusal_of_response(401, b""), Unauthorized)
    too_large = refusal_of_response(413, b"<html>413 Request Entity Too Large")
    assert isinstance(too_large, TooLarge)
    assert too_large.max_bytes is None
    limited = refusal_of_response(429, b"{}", "3")
    assert isinstance(limited, RateLimited)
    assert limited.retry_after_s == 3


@pytest.mark.parametrize("header", [None, "", "soon", "-1", "nan", "inf", "Fri, 27 Nov 2026 18:20:35 GMT"])
def test_a_retry_after_that_is_not_a_number_of_seconds_is_a_second(header: str | None) -> None:
    limited = refusal_of_response(429, b"", header)
    assert isinstance(limited, RateLimited)
    assert limited.retry_after_s == 1.0


def test_a_close_code_decides_whether_to_reconnect() -> None:
    assert isinstance(refusal_of_close(4401, ""), Unauthorized)
    assert isinstance(refusal_of_close(4403, "no"), Forbidden)
    assert isinstance(refusal_of_close(4444, "no"), ChatkitError)
    assert all(refusal_of_close(code, "") is None for code in (1000, 1001, 1006, 1011, 1012, 4503, 4508))

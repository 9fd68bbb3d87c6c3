"""When a webhook that fails is tried again, and when it is parked."""

import pytest

from chatkit.core.webhook import WebhookFailures
from chatkit.webhooks.schedule import DELAYS_S, PARKED_AFTER_S, due_in_s, next_delay_s, read_retry_after


def middle(low: float, high: float) -> float:
    return (low + high) / 2


def failures(count: int, since_ms: int = 0) -> WebhookFailures | None:
    return WebhookFailures(since_ms, count, 0, "") if count else None


def test_delays_grow_from_seconds_to_hours_and_end_after_about_three_days() -> None:
    now_ms = 0
    delays: list[float] = []
    while (delay_s := next_delay_s(failures(len(delays)), now_ms, uniform=middle)) is not None:
        delays.append(delay_s)
        now_ms += round(delay_s * 1000)
    assert delays == list(DELAYS_S)
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (5, 8 * 3_600)
    assert 2.5 * 86_400 < sum(delays) < PARKED_AFTER_S


def test_a_receiver_can_ask_for_more_time_but_not_for_ever() -> None:
    assert next_delay_s(None, 0, retry_after_s=120, uniform=middle) == 120
    assert next_delay_s(None, 0, retry_after_s=1, uniform=middle) == DELAYS_S[0]
    assert next_delay_s(None, 0, retry_after_s=10**9, uniform=middle) == 86_400
    assert next_delay_s(failures(3), 2 * 86_400_000, retry_after_s=10**9, uniform=middle) is None


def test_a_receiver_that_wants_no_more_requests_is_parked_at_once() -> None:
    assert next_delay_s(None, 0, is_gone=True) is None


def test_delays_are_spread() -> None:
    assert 4.5 <= (next_delay_s(None, 0) or 0) <= 5.5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("120", 120), (" 7 ", 7), ("0", 0), ("9" * 400, 999_999_999), ("soon", None), ("-1", None),
        ("1.5", None), ("", None), ("Thu, 01 Jan 1970 00:02:00 GMT", 20), ("Thu, 01 Jan 1970 00:00:01 GMT", 0),
        ("١٢", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert read_retry_after(value, 100_000) == seconds


def test_a_time_that_was_stored_while_the_clock_was_wrong_is_not_waited_for() -> None:
    now_ms = 10**12
    for ahead_ms, wait_s in ((5_000, 5.0), (-5_000, -5.0), (86_400_000, 86_400.0), (400 * 86_400_000, 0.0)):
        assert due_in_s(WebhookFailures(now_ms, 1, now_ms + ahead_ms, ""), now_ms) == wait_s

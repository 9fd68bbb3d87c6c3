"""When a webhook that fails is tried again, and when it is parked. Pure: the time is an argument."""

import random
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

from chatkit.core.webhook import WebhookFailures

MINUTE_S, HOUR_S = 60, 3_600
# About three days: a receiver that breaks on a Friday can be repaired on Monday.
DELAYS_S: Final = (
    5, 30, 2 * MINUTE_S, 10 * MINUTE_S, 30 * MINUTE_S,
    1 * HOUR_S, 2 * HOUR_S, 4 * HOUR_S, 6 * HOUR_S, *[8 * HOUR_S] * 7,
)  # fmt: skip
PARKED_AFTER_S: Final = 3 * 24 * HOUR_S
MAX_RETRY_AFTER_S: Final = 24 * HOUR_S  # the most that a receiver can ask for
JITTER: Final = 0.1  # of a delay: the webhooks that one outage stopped are not all tried at the same moment


def next_delay_s(
    before: WebhookFailures | None,
    now_ms: int,
    *,
    retry_after_s: float | None = None,
    is_gone: bool = False,
    uniform: Callable[[float, float], float] = random.uniform,
) -> float | None:
    """Return the seconds until a webhook that failed is tried again, or None if it is parked now.

    `before` are its failures before this one. `retry_after_s` is what the receiver asked for; if `is_gone`, it wants no
    more requests.
    """
    n_failed = 0 if before is None else before.n_failed
    if is_gone or n_failed >= len(DELAYS_S):
        return None
    delay_s = DELAYS_S[n_failed] * uniform(1 - JITTER, 1 + JITTER)
    if retry_after_s is not None:
        delay_s = max(delay_s, min(retry_after_s, MAX_RETRY_AFTER_S))
    since_ms = now_ms if before is None else before.failing_since_ms
    return delay_s if now_ms + delay_s * 1000 < since_ms + PARKED_AFTER_S * 1000 else None


def due_in_s(failures: WebhookFailures, now_ms: int) -> float:
    """Return the seconds until a webhook that failed is tried again; 0 or less if that is now.

    A time that is farther ahead than any delay was stored while the clock was wrong.
    """
    left_s = (failures.next_ms - now_ms) / 1000
    return left_s if left_s <= MAX_RETRY_AFTER_S else 0


def read_retry_after(value: str | None, now_ms: int) -> float | None:
    """Return the seconds that a `Retry-After` header asks for (RFC 9110, 10.2.3), or None without a valid one."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_ms / 1000)
    except (ValueError, OverflowError):
        return None

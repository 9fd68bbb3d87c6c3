"""The limit on wrong tokens of one address, with a clock of the test."""

import logging
from contextlib import suppress

import pytest

from chatkit.server.token_attempts import (
    BURST,
    PROVEN_S,
    REFILL_S,
    TokenAttempts,
    TooManyAttempts,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0  # a machine that has just booted

    def __call__(self) -> float:
        return self.now


def fail(attempts: TokenAttempts, address: str, count: int) -> int:
    """Send `count` wrong tokens; return how many were compared."""
    n_compared = 0

    def is_right() -> bool:
        nonlocal n_compared
        n_compared += 1
        return False

    for _ in range(count):
        with suppress(TooManyAttempts):
            attempts.check(address, is_right)
    return n_compared


def test_an_address_may_fail_in_a_burst_and_then_once_per_interval() -> None:
    clock = Clock()
    attempts = TokenAttempts(clock)
    assert fail(attempts, "192.0.2.1", 1_000) == BURST
    clock.now += REFILL_S
    assert fail(attempts, "192.0.2.1", 1_000) == 1
    clock.now += 1_000 * REFILL_S
    assert fail(attempts, "192.0.2.1", 1_000) == BURST


def test_the_right_token_is_not_compared_after_too_many_wrong_ones() -> None:
    attempts = TokenAttempts(Clock())
    fail(attempts, "192.0.2.1", BURST)
    with pytest.raises(TooManyAttempts) as refused:
        attempts.check("192.0.2.1", lambda: True)
    assert refused.value.retry_after_s == REFILL_S
    assert attempts.check("192.0.2.2", lambda: True)


def test_a_stranger_cannot_lock_out_an_address_that_has_the_token() -> None:
    clock = Clock()
    attempts = TokenAttempts(clock)
    assert attempts.check("192.0.2.1", lambda: True)
    fail(attempts, "192.0.2.1", 1_000)
    assert attempts.check("192.0.2.1", lambda: True)
    with pytest.raises(TooManyAttempts):
        attempts.check("192.0.2.1", lambda: False)
    clock.now += PROVEN_S
    fail(attempts, "192.0.2.1", 1_000)
    with pytest.raises(TooManyAttempts):
        attempts.check("192.0.2.1", lambda: True)


def test_a_flood_of_wrong_tokens_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    attempts = TokenAttempts(clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            fail(attempts, "192.0.2.1", 100)
            clock.now += REFILL_S
        assert [record.getMessage() for record in caplog.records if "192.0.2.1" in record.getMessage()] == [
            "too many wrong tokens from 192.0.2.1: its tokens are refused for a while"
        ]
        clock.now += BURST * REFILL_S
        fail(attempts, "192.0.2.1", 100)
        assert len(caplog.records) == 2

"""The clock by which access ends: jumps of the wall clock are believed only if they last."""

from chatkit.core.steady_clock import SETTLE_MS, SteadyClock

NOW = 1_000_000


def test_a_clock_that_jumps_for_a_moment_ends_and_revives_nothing() -> None:
    clock = SteadyClock(NOW, 0)
    assert clock.read(NOW + 100, 100) == NOW + 100
    assert clock.read(NOW + 10**9, 200) == NOW + 200  # ahead
    assert clock.read(NOW - 10**9, 300) == NOW + 300  # and back
    assert clock.read(NOW + 400, 400) == NOW + 400


def test_a_clock_that_was_corrected_is_followed_after_a_minute() -> None:
    clock = SteadyClock(NOW, 0)
    assert clock.read(NOW + 10**9, 1) == NOW + 1
    assert clock.read(NOW + 10**9 + SETTLE_MS, SETTLE_MS) == NOW + SETTLE_MS
    assert clock.read(NOW + 10**9 + SETTLE_MS, SETTLE_MS + 1) == NOW + 10**9 + SETTLE_MS

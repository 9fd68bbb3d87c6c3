"""The waits between attempts: growth, bounds and jitter."""

import random

import pytest

from chatkit.backoff import RECONNECT_FACTOR, Backoff


def waits_of(backoff: Backoff, count: int) -> list[float]:
    return [backoff.next_s() for _ in range(count)]


def test_waits_double_up_to_the_cap() -> None:
    assert waits_of(Backoff(0.1, 1.0, jitter=0.0), 6) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_waits_grow_by_the_factor() -> None:
    assert waits_of(Backoff(1.0, 100.0, factor=3.0, jitter=0.0), 4) == [1.0, 3.0, 9.0, 27.0]


def test_without_a_cap_every_wait_equals_the_first() -> None:
    assert waits_of(Backoff(2.0, jitter=0.0), 3) == [2.0, 2.0, 2.0]


def test_a_first_wait_above_the_cap_is_cut_to_it() -> None:
    assert waits_of(Backoff(2.0, 0.001, jitter=0.0), 2) == [0.001, 0.001]


def test_a_success_starts_again_with_the_first_wait() -> None:
    backoff = Backoff(0.1, 10.0, jitter=0.0)
    waits_of(backoff, 5)
    backoff.reset()
    assert waits_of(backoff, 2) == pytest.approx([0.1, 0.2])


def test_ten_thousand_failures_in_a_row_stay_at_the_cap() -> None:
    assert waits_of(Backoff(0.1, 10.0, jitter=0.0), 10_000)[-1] == 10.0


@pytest.mark.parametrize(("jitter", "least"), [(0.5, 0.5), (0.9, 0.1), (0.0, 1.0)])
def test_jitter_is_the_share_of_a_wait_that_is_drawn(jitter: float, least: float) -> None:
    backoff = Backoff(1.0, jitter=jitter, uniform=random.Random(7).uniform)
    waits = waits_of(backoff, 1_000)
    assert least <= min(waits) <= least + 0.01
    assert max(waits) <= 1.0


def test_the_same_seed_draws_the_same_waits() -> None:
    first, second = (Backoff(1.0, 8.0, uniform=random.Random(7).uniform) for _ in range(2))
    assert waits_of(first, 5) == waits_of(second, 5)


def test_jitter_does_not_slow_the_growth() -> None:
    backoff = Backoff(1.0, 8.0, uniform=lambda low, _high: low)
    assert waits_of(backoff, 5) == [0.5, 1.0, 2.0, 4.0, 4.0]


def test_a_client_is_back_soon_after_its_server() -> None:
    longest = Backoff(0.1, 10.0, factor=RECONNECT_FACTOR, jitter=0.0)
    shortest = Backoff(0.1, 10.0, factor=RECONNECT_FACTOR, uniform=lambda low, _high: low)
    away_s = 0.0  # if all waits until now were as short as they can be
    for _ in range(25):
        assert longest.next_s() <= 0.1 + 0.4 * away_s + 1e-9
        away_s += shortest.next_s()
    assert away_s > 20.0

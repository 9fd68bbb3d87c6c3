"""BatchNumbers: which numbers of batches are missed, and for how long."""

import pytest

from chatkit.backends.postgres import batch_numbers
from chatkit.backends.postgres.batch_numbers import MAX_CHECKS, BatchNumbers


def restarted(newest: int) -> BatchNumbers:
    """Return numbers after a restart at which no transaction was running."""
    numbers = BatchNumbers()
    numbers.restart(newest)
    numbers.wait_for(1)
    assert numbers.check(newest, 2)
    return numbers


def test_after_a_restart_all_transactions_are_waited_for_that_may_have_taken_a_number() -> None:
    numbers = BatchNumbers()
    numbers.restart(7)
    numbers.wait_for(100)
    assert numbers.check(7, 99)
    numbers.add(8)
    assert numbers.check(8, 99)
    assert numbers.check(8, 101)
    assert not numbers.check(8, 101)


def test_a_batch_that_is_committed_while_the_numbers_are_read_is_not_forgotten() -> None:
    numbers = restarted(7)
    numbers.add(8)
    assert [numbers.check(newest, 100) for newest in (7, 8, 8)] == [False, False, False]


def test_the_numbers_behind_a_missing_one_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_numbers, "MAX_BEYOND", 3)
    numbers = restarted(7)
    for number in range(9, 20):
        numbers.add(number)
    numbers.add(8)
    assert not numbers.check(19, 100)
    numbers.add(12)
    assert numbers.check(19, 100)  # those beyond the bound


def test_a_number_is_missed_until_its_transaction_has_ended() -> None:
    numbers = restarted(7)
    for number in (8, 10):
        numbers.add(number)
    assert not numbers.check(10, 100)  # 9 may be notified in time
    assert numbers.check(11, 100)
    numbers.wait_for(104)  # transactions up to this one may have taken it
    assert numbers.check(12, 102)
    numbers.wait_for(108)
    assert numbers.check(13, 105)
    for number in (14, 11, 13, 12):
        numbers.add(number)
    assert not numbers.check(14, 109)
    assert not numbers.check(15, 109)
    numbers.wait_for(109)
    found = [numbers.check(15, 109) for _ in range(2 * MAX_CHECKS)]  # a transaction that does not end
    assert found == [True] * MAX_CHECKS + [False] * MAX_CHECKS


def test_a_store_with_lower_numbers_than_before_is_compared() -> None:
    numbers = restarted(7)
    assert numbers.check(3, 10)
    numbers.wait_for(10)
    numbers.add(4)
    assert numbers.check(4, 11)
    assert not numbers.check(4, 11)
    assert not numbers.check(4, 11)

"""The check of what the workers of a consumer did: it finds each kind of error."""

from collections.abc import Iterable
from itertools import chain

import pytest

from chatkit.bench.chaos.consumer_checker import ConsumerChecker, ConsumerFindings
from chatkit.bench.chaos.work_event import WorkEvent, WorkEventKind

LOG = range(1, 7)


def event(word: str, lease: str, *seqs: int) -> WorkEvent:
    return WorkEvent(WorkEventKind(word), "indexer", lease, seqs)


def received(lease: str, *seqs: int) -> list[WorkEvent]:
    """Return the events of a worker that is killed before it acknowledges."""
    return [event("received", lease, *seqs), *(event("handled", lease, seq) for seq in seqs)]


def unanswered(lease: str, *seqs: int) -> list[WorkEvent]:
    return [*received(lease, *seqs), event("acknowledging", lease, *seqs)]


def refused(lease: str, *seqs: int) -> list[WorkEvent]:
    return [*unanswered(lease, *seqs), event("refused", lease, *seqs)]


def done(lease: str, *seqs: int) -> list[WorkEvent]:
    return [*unanswered(lease, *seqs), event("acknowledged", lease, *seqs)]


def findings(*parts: list[WorkEvent], given_up: Iterable[int] = (), ordered: bool = False) -> ConsumerFindings:
    checker = ConsumerChecker("indexer", ordered=ordered, n_workers=1)
    for each in chain(*parts):
        checker.record(each)
    for seq in given_up:
        checker.given_up(seq)
    return checker.findings(LOG)


@pytest.mark.parametrize("ordered", [False, True])
def test_a_correct_run_has_no_errors(ordered: bool) -> None:
    parts = [done("a", 1, 2), received("b", 3, 4), refused("c", 3, 4), done("d", 3, 4), unanswered("e", 5)]
    found = findings(*parts, received("f", 6), given_up=[6], ordered=ordered)
    assert not found
    assert (found.messages, found.handled, found.redelivered, found.given_up) == (6, 6, 4, 1)


@pytest.mark.parametrize(
    "parts",
    [
        [done("a", 1, 2, 3, 4, 5)],
        [done("a", 1, 2, 3, 4, 5), received("b", 6)],
        [done("a", 1, 2, 3, 4, 5), refused("b", 6)],
    ],
    ids=["it did not come", "it was not acknowledged", "its acknowledgement was refused"],
)
def test_a_message_that_nobody_acknowledged_is_lost(parts: list[list[WorkEvent]]) -> None:
    assert findings(*parts).lost == 1
    assert findings(*parts, given_up=[6]).lost == 0


def test_a_message_that_two_leases_acknowledged_is_found() -> None:
    assert findings(done("a", *LOG), done("b", 3)).acknowledged_twice == 1
    repeated = event("acknowledged", "a", 3)  # its first answer was lost
    assert findings(done("a", *LOG), [repeated]).acknowledged_twice == 0


def test_a_message_that_was_given_up_twice_is_found() -> None:
    assert findings(done("a", *LOG), given_up=[3, 3]).acknowledged_twice == 1


def test_messages_of_a_lease_in_another_order_are_found() -> None:
    assert findings(done("a", 1, 3, 2, 4, 5, 6)).misordered == 1


def test_only_an_ordered_consumer_holds_back_later_messages() -> None:
    parts = [done("a", 1), received("b", 2), done("c", 3, 4), done("d", 2), done("e", 5, 6)]
    assert findings(*parts).misordered == 0
    assert findings(*parts, ordered=True).misordered == 1
    assert findings(*parts, given_up=[2], ordered=True).misordered == 1  # it came again after a later one


def test_later_messages_may_come_when_the_one_before_was_given_up() -> None:
    parts = [done("a", 1), received("b", 2), done("c", 3, 4, 5, 6)]
    assert not findings(*parts, given_up=[2], ordered=True)
    assert findings(*parts, ordered=True).misordered == 1


def test_a_refused_acknowledgement_holds_back_later_messages() -> None:
    parts = [refused("a", 1), done("b", 2, 3), done("c", 1), done("d", 4, 5, 6)]
    assert findings(*parts, ordered=True).misordered == 1


def test_gaps_are_counted() -> None:
    assert findings([event("gap", "a", 0, 3)], done("a", *LOG)).gaps == 1

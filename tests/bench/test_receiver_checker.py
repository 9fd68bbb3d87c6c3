"""The check of what receivers of webhooks are sent: it finds each kind of error."""

from collections.abc import Iterable
from itertools import chain

import pytest

from chatkit.bench.chaos.receiver_checker import ReceiverChecker, ReceiverFindings
from chatkit.bench.chaos.receiver_event import ReceiverEvent, ReceiverEventKind

LOG = range(1, 7)  # of which message 1 is older than the webhook


def event(word: str, seq: int = 0, last: int = 0) -> ReceiverEvent:
    return ReceiverEvent(ReceiverEventKind(word), 0, seq, last)


def accepted(*seqs: int) -> list[ReceiverEvent]:
    return [event(word, seq) for seq in seqs for word in ("arrived", "accepted")]


def refused(seq: int) -> list[ReceiverEvent]:
    return [event("arrived", seq), event("refused", seq)]


def gap(seq: int, last: int) -> list[ReceiverEvent]:
    return [event("gap arrived", seq, last), event("gap accepted", seq, last)]


def findings(*parts: Iterable[ReceiverEvent]) -> ReceiverFindings:
    checker = ReceiverChecker("receiver", first=2)
    for each in chain(*parts):
        checker.record(each)
    return checker.findings(LOG)


def test_a_correct_run_has_no_errors() -> None:
    found = findings(accepted(2, 3), refused(4), accepted(4), accepted(3, 4, 5, 6))
    assert not found
    assert (found.messages, found.delivered, found.redelivered, found.refused) == (5, 5, 3, 1)


@pytest.mark.parametrize(
    ("parts", "lost", "misordered"),
    [
        ([accepted(2, 3, 4, 5)], 1, 0),
        ([accepted(2, 3, 4, 5), refused(6)], 1, 0),
        ([accepted(2, 3, 5, 6)], 1, 2),
        ([accepted(2, 4, 3, 5, 6)], 0, 1),
        ([accepted(2), refused(3), accepted(4, 3, 5, 6)], 0, 1),
        ([accepted(2), gap(4, 5), accepted(3, 6)], 2, 1),
    ],
    ids=[
        *("the last did not come", "the last was not accepted", "one did not come", "two are swapped"),
        *("one was not repeated at once", "a gap before its turn denies two"),
    ],
)
def test_lost_and_misordered_messages_are_found(parts: list[list[ReceiverEvent]], lost: int, misordered: int) -> None:
    found = findings(*parts)
    assert found
    assert (found.lost, found.misordered) == (lost, misordered)


def test_a_gap_is_counted_and_is_no_error_if_the_log_has_none_of_its_messages() -> None:
    checker = ReceiverChecker("receiver", first=2)
    for each in chain(gap(2, 3), accepted(4, 5, 6)):
        checker.record(each)
    found = checker.findings(LOG[3:])
    assert not found
    assert (found.messages, found.delivered, found.gaps) == (3, 3, 1)


def test_forged_requests_are_found() -> None:
    assert findings(accepted(2, 3, 4, 5, 6), [event("forged")]).forged == 1

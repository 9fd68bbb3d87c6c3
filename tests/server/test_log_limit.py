"""A sentence is logged a few times in a while, however often it is due."""

import logging

from chatkit.server.log_limit import MAX_REPEATS, MAX_SENTENCES, WINDOW_S, FewRepeats


def record(sentence: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("chatkit", logging.WARNING, "", 0, sentence, args, None)


def test_a_flood_of_one_sentence_is_logged_a_few_times_and_then_counted() -> None:
    now = 0.0
    few = FewRepeats(clock=lambda: now)
    assert [few.filter(record("refused %s", n)) for n in range(100)] == [True] * MAX_REPEATS + [False] * 90
    assert few.filter(record("something else"))
    now = WINDOW_S
    after = record("refused %s", "x")
    assert few.filter(after)
    assert after.getMessage() == "refused x (and 90 times more, which were left out)"
    once_more = record("refused %s", "y")
    assert few.filter(once_more)
    assert once_more.getMessage() == "refused y"


def test_what_is_kept_in_mind_is_bounded() -> None:
    few = FewRepeats(clock=lambda: 0.0)
    for n in range(2 * MAX_SENTENCES):
        assert few.filter(record(f"sentence {n}"))
    assert len(few._windows) <= MAX_SENTENCES

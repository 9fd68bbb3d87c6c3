"""The log filter: a sentence is logged only a few times in each window of time."""

import logging

from chatkit.server.log_limit import MAX_REPEATS, MAX_SENTENCES, WINDOW_S, RepeatFilter


def record(sentence: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("chatkit", logging.WARNING, "", 0, sentence, args, None)


def test_a_flood_of_one_sentence_is_logged_a_few_times_and_then_counted() -> None:
    now = 0.0
    repeats = RepeatFilter(clock=lambda: now)
    assert [repeats.filter(record("refused %s", n)) for n in range(100)] == [True] * MAX_REPEATS + [False] * 90
    assert repeats.filter(record("something else"))
    now = WINDOW_S
    after = record("refused %s", "x")
    assert repeats.filter(after)
    assert after.getMessage() == "refused x (repeated 90 more times, not logged)"
    once_more = record("refused %s", "y")
    assert repeats.filter(once_more)
    assert once_more.getMessage() == "refused y"


def test_the_number_of_remembered_sentences_is_bounded() -> None:
    repeats = RepeatFilter(clock=lambda: 0.0)
    for n in range(2 * MAX_SENTENCES):
        assert repeats.filter(record(f"sentence {n}"))
    assert len(repeats._windows) <= MAX_SENTENCES

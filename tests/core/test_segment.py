"""The recent tail of a log: bounds, cursors, and bytes that are made once."""

import pytest
from harness import as_line, of_lines
from hypothesis import given, settings
from hypothesis import strategies as st

from chatkit.core import segment as feed_module
from chatkit.core.model import Head, Message
from chatkit.core.segment import (
    MAX_CACHED_CHUNKS,
    MAX_CHARS,
    MAX_CHUNK_BYTES,
    MAX_CHUNK_MESSAGES,
    MAX_MESSAGES,
    Segment,
)


def message(seq: int, body: str = "hi", *, redacted: bool = False) -> Message:
    return Message("ops", "e", seq, 0, "ann", body, redacted=redacted)


def feed_of(first: int, last: int, body: str = "hi") -> Segment:
    return Segment(Head("e", 1, last), [message(seq, body) for seq in range(first, last + 1)])


def numbers(feed: Segment, after: int, limit: int = 10_000) -> list[int]:
    return [found.seq for found in feed.read(after, limit)]


def test_an_empty_feed_stands_where_the_log_does() -> None:
    feed = Segment(Head("e", 8, 7), ())
    assert (feed.first, feed.last, feed.head) == (8, 7, Head("e", 8, 7))
    assert feed.reaches(7)
    assert not feed.reaches(6)
    assert feed.read(7, 5) == []


def test_a_feed_reaches_from_before_its_first_to_its_last() -> None:
    feed = feed_of(5, 9)
    assert [after for after in range(12) if feed.reaches(after)] == [4, 5, 6, 7, 8, 9]
    assert numbers(feed, 4) == [5, 6, 7, 8, 9]
    assert numbers(feed, 6, 2) == [7, 8]


def test_what_does_not_follow_is_refused() -> None:
    feed = feed_of(1, 3)
    for seq in (3, 5):
        with pytest.raises(ValueError, match="does not follow 3"):
            feed.extend([message(seq)])
    assert numbers(feed, 0) == [1, 2, 3]


def test_a_feed_is_bounded_in_messages_and_in_characters() -> None:
    feed = feed_of(1, 0)
    for seq in range(1, 5000):
        feed.extend([message(seq)])
        assert feed.last - feed.first < 2 * MAX_MESSAGES
        assert feed.reaches(max(0, seq - MAX_MESSAGES))
    for seq in range(5000, 5200):
        feed.extend([message(seq, "x" * 65_536)])
    assert sum(len(found.body) for found in feed.read(feed.first - 1, 5000)) <= 2 * MAX_CHARS
    feed.extend([message(5200, "x" * 3 * MAX_CHARS)])
    assert feed.read(5199, 1)[0].seq == 5200


def test_a_message_is_encoded_once_for_all_readers_of_a_format() -> None:
    made: list[int] = []

    def encode(found: Message) -> bytes:
        made.append(found.seq)
        return as_line(found)

    feed = feed_of(1, 20)
    for after in [0, 0, 5, 19, *range(20)]:
        chunk, position = feed.chunk(encode, after)
        assert [found.seq for found in of_lines(chunk)] == list(range(after + 1, 21))
        assert position == 20
    assert sorted(made) == list(range(1, 21))
    feed.extend([message(21)])
    feed.chunk(encode, 20)
    assert made[-1] == 21
    assert len(made) == 21


def test_what_is_dropped_is_forgotten_in_every_format() -> None:
    feed = feed_of(1, 10)
    feed.chunk(as_line, 0)
    for seq in range(11, 4000):
        feed.extend([message(seq)])
        feed.chunk(as_line, seq - 1)
    assert len(feed._encoded[as_line].frames) <= 2 * MAX_MESSAGES
    assert len(feed._chunks) <= MAX_CACHED_CHUNKS


def test_a_chunk_is_bounded_and_holds_one_message_at_least() -> None:
    feed = feed_of(1, MAX_CHUNK_MESSAGES + 50)
    assert feed.chunk(as_line, 0)[1] == MAX_CHUNK_MESSAGES
    feed = feed_of(1, 10, "x" * (MAX_CHUNK_BYTES // 3))
    assert feed.chunk(as_line, 0)[1] == 2
    feed = feed_of(1, 2, "x" * MAX_CHUNK_BYTES * 2)
    assert feed.chunk(as_line, 0)[1] == 1


def test_a_redaction_changes_what_readers_of_every_format_get() -> None:
    def body(found: Message) -> bytes:
        return found.body.encode()

    feed = feed_of(1, 5)
    assert feed.chunk(body, 2) == (b"hihihi", 5)
    feed.chunk(as_line, 0)
    feed.redact(4)
    assert feed.chunk(body, 2) == (b"hihi", 5)
    assert of_lines(feed.chunk(as_line, 3)[0])[0] == message(4, "", redacted=True)
    feed.redact(99)
    feed.redact(0)
    assert numbers(feed, 0) == [1, 2, 3, 4, 5]


def test_a_restart_is_another_life() -> None:
    feed = feed_of(1, 5)
    feed.chunk(as_line, 0)
    life = feed.life
    feed.restart(Head("f", 1, 2), [message(1, "new"), message(2, "new")])
    assert feed.life == life + 1
    assert [found.body for found in of_lines(feed.chunk(as_line, 0)[0])] == ["new", "new"]


steps = st.lists(
    st.tuples(st.just("extend"), st.integers(1, 12))
    | st.tuples(st.just("redact"), st.integers(0, 80))
    | st.tuples(st.just("restart"), st.integers(0, 12)),
    max_size=30,
)


@settings(max_examples=150)
@given(steps)
def test_a_feed_holds_every_number_from_first_to_last(script: list[tuple[str, int]]) -> None:
    bounds = feed_module.MAX_MESSAGES, feed_module.MAX_CHUNK_MESSAGES
    feed_module.MAX_MESSAGES, feed_module.MAX_CHUNK_MESSAGES = 8, 3
    try:
        feed = Segment(Head("e", 1, 30), [message(seq) for seq in range(28, 31)])
        redacted: set[int] = set()
        for what, n in script:
            last = feed.last
            if what == "extend":
                feed.extend([message(seq) for seq in range(last + 1, last + n + 1)])
            elif what == "redact":
                feed.redact(n)
                redacted |= {n} if n <= last else set()
            else:
                feed.restart(
                    Head("e", 1, last), [message(s, redacted=s in redacted) for s in range(last - n + 1, last + 1)]
                )
            assert len(feed.read(feed.first - 1, 1000)) <= 16
            for after in range(feed.first - 1, feed.last):
                chunk, position = feed.chunk(as_line, after)
                found = of_lines(chunk)
                assert [m.seq for m in found] == list(range(after + 1, position + 1))
                assert position == min(after + 3, feed.last)
                assert all(m.redacted == (m.seq in redacted) for m in found if m.seq >= 28)
    finally:
        feed_module.MAX_MESSAGES, feed_module.MAX_CHUNK_MESSAGES = bounds

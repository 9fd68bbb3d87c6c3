"""Segments: bounds, positions, and encoding once per format."""

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
    data, mentions = (None, ()) if redacted else ({"n": 1}, ("bob",))
    return Message("ops", "e", seq, 0, "ann", body, data, redacted=redacted, mentions=mentions)


def feed_of(first: int, last: int, body: str = "hi") -> Segment:
    return Segment(Head("e", 1, last), [message(seq, body) for seq in range(first, last + 1)])


def numbers(segment: Segment, after: int, limit: int = 10_000) -> list[int]:
    return [found.seq for found in segment.read(after, limit)]


def test_an_empty_segment_has_the_position_of_the_log() -> None:
    segment = Segment(Head("e", 8, 7), ())
    assert (segment.first, segment.last, segment.head) == (8, 7, Head("e", 8, 7))
    assert segment.reaches(7)
    assert not segment.reaches(6)
    assert segment.read(7, 5) == []


def test_a_segment_reaches_from_before_its_first_to_its_last() -> None:
    segment = feed_of(5, 9)
    assert [after for after in range(12) if segment.reaches(after)] == [4, 5, 6, 7, 8, 9]
    assert numbers(segment, 4) == [5, 6, 7, 8, 9]
    assert numbers(segment, 6, 2) == [7, 8]


def test_messages_that_do_not_follow_are_refused() -> None:
    segment = feed_of(1, 3)
    for seq in (3, 5):
        with pytest.raises(ValueError, match="does not follow 3"):
            segment.extend([message(seq)])
    assert numbers(segment, 0) == [1, 2, 3]


def test_a_segment_is_bounded_in_messages_and_in_characters() -> None:
    segment = feed_of(1, 0)
    for seq in range(1, 5000):
        segment.extend([message(seq)])
        assert segment.last - segment.first < 2 * MAX_MESSAGES
        assert segment.reaches(max(0, seq - MAX_MESSAGES))
    for seq in range(5000, 5200):
        segment.extend([message(seq, "x" * 65_536)])
    assert sum(len(found.body) for found in segment.read(segment.first - 1, 5000)) <= 2 * MAX_CHARS
    segment.extend([message(5200, "x" * 3 * MAX_CHARS)])
    assert segment.read(5199, 1)[0].seq == 5200


def test_a_message_is_encoded_once_for_all_readers_of_a_format() -> None:
    made: list[int] = []

    def encode(found: Message) -> bytes:
        made.append(found.seq)
        return as_line(found)

    segment = feed_of(1, 20)
    for after in [0, 0, 5, 19, *range(20)]:
        chunk, position = segment.chunk(encode, after)
        assert [found.seq for found in of_lines(chunk)] == list(range(after + 1, 21))
        assert position == 20
    assert sorted(made) == list(range(1, 21))
    segment.extend([message(21)])
    segment.chunk(encode, 20)
    assert made[-1] == 21
    assert len(made) == 21


def test_dropped_messages_are_dropped_in_every_format() -> None:
    segment = feed_of(1, 10)
    segment.chunk(as_line, 0)
    for seq in range(11, 4000):
        segment.extend([message(seq)])
        segment.chunk(as_line, seq - 1)
    assert len(segment._encoded[as_line].frames) <= 2 * MAX_MESSAGES
    assert len(segment._chunks) <= MAX_CACHED_CHUNKS


def test_a_chunk_is_bounded_and_has_at_least_one_message() -> None:
    segment = feed_of(1, MAX_CHUNK_MESSAGES + 50)
    assert segment.chunk(as_line, 0)[1] == MAX_CHUNK_MESSAGES
    segment = feed_of(1, 10, "x" * (MAX_CHUNK_BYTES // 3))
    assert segment.chunk(as_line, 0)[1] == 2
    segment = feed_of(1, 2, "x" * MAX_CHUNK_BYTES * 2)
    assert segment.chunk(as_line, 0)[1] == 1


def test_a_redaction_changes_the_chunks_of_every_format() -> None:
    def body(found: Message) -> bytes:
        return found.body.encode()

    segment = feed_of(1, 5)
    assert segment.chunk(body, 2) == (b"hihihi", 5)
    segment.chunk(as_line, 0)
    segment.redact(4)
    assert segment.chunk(body, 2) == (b"hihi", 5)
    assert of_lines(segment.chunk(as_line, 3)[0])[0] == message(4, "", redacted=True)
    segment.redact(99)
    segment.redact(0)
    assert numbers(segment, 0) == [1, 2, 3, 4, 5]


def test_a_restart_is_a_new_generation() -> None:
    segment = feed_of(1, 5)
    segment.chunk(as_line, 0)
    generation = segment.generation
    segment.restart(Head("f", 1, 2), [message(1, "new"), message(2, "new")])
    assert segment.generation == generation + 1
    assert [found.body for found in of_lines(segment.chunk(as_line, 0)[0])] == ["new", "new"]


steps = st.lists(
    st.tuples(st.just("extend"), st.integers(1, 12))
    | st.tuples(st.just("redact"), st.integers(0, 80))
    | st.tuples(st.just("restart"), st.integers(0, 12)),
    max_size=30,
)


@settings(max_examples=150)
@given(steps)
def test_a_segment_has_every_number_from_first_to_last(script: list[tuple[str, int]]) -> None:
    bounds = feed_module.MAX_MESSAGES, feed_module.MAX_CHUNK_MESSAGES
    feed_module.MAX_MESSAGES, feed_module.MAX_CHUNK_MESSAGES = 8, 3
    try:
        segment = Segment(Head("e", 1, 30), [message(seq) for seq in range(28, 31)])
        redacted: set[int] = set()
        for what, n in script:
            last = segment.last
            if what == "extend":
                segment.extend([message(seq) for seq in range(last + 1, last + n + 1)])
            elif what == "redact":
                segment.redact(n)
                redacted |= {n} if n <= last else set()
            else:
                segment.restart(
                    Head("e", 1, last), [message(s, redacted=s in redacted) for s in range(last - n + 1, last + 1)]
                )
            assert len(segment.read(segment.first - 1, 1000)) <= 16
            for after in range(segment.first - 1, segment.last):
                chunk, position = segment.chunk(as_line, after)
                found = of_lines(chunk)
                assert [m.seq for m in found] == list(range(after + 1, position + 1))
                assert position == min(after + 3, segment.last)
                assert all(m.redacted == (m.seq in redacted) for m in found if m.seq >= 28)
    finally:
        feed_module.MAX_MESSAGES, feed_module.MAX_CHUNK_MESSAGES = bounds

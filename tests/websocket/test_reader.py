"""The frame reader against RFC 6455 and RFC 7692, without a socket: the calls of its sink for every split of bytes."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_app import RecordingSink, closing, deflated, frame, mask, parse, parse_bytewise
from websockets.utils import apply_mask as apply_mask_in_python

from chatkit.websocket import frames
from chatkit.websocket.codes import is_close_code
from chatkit.websocket.reader import MAX_EMPTY_FRAGMENTS

MIB = 1 << 20
EVERY_LENGTH = [0, 1, 2, 124, 125, 126, 127, 128, 65_535, 65_536, 65_537]
OPEN_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
CLOSED_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]


# Lengths


@pytest.mark.parametrize("size", EVERY_LENGTH)
@pytest.mark.parametrize("first", [0x81, 0x82])
def test_every_encoding_of_a_length_is_read(first: int, size: int) -> None:
    payload = b"x" * size
    kind = "text" if first == 0x81 else "binary"
    assert parse(frame(first, payload)) == [(kind, payload)]
    assert parse(frame(first, payload) * 3) == [(kind, payload)] * 3
    if size < 1000:
        assert parse_bytewise(frame(first, payload)) == [(kind, payload)]


@pytest.mark.parametrize("first", [0x81, 0x82])
@pytest.mark.parametrize(
    "length",
    [
        b"\xfe\x00\x00",
        b"\xfe\x00\x7d",
        b"\xff" + bytes(8),
        b"\xff" + (125).to_bytes(8, "big"),
        b"\xff" + (65_535).to_bytes(8, "big"),
        b"\xff" + (1 << 63).to_bytes(8, "big"),
    ],
)
def test_a_length_that_is_not_minimal_is_refused(first: int, length: bytes) -> None:
    data = frame(first, b"x" * 125, length=length)
    assert parse(data) == parse_bytewise(data) == [("fault", 1002)]


def test_an_unmasked_frame_is_refused_after_its_second_byte() -> None:
    assert parse(b"\x81\x02hi and more of it") == [("fault", 1002)]
    assert parse(b"\x81\x00") == [("fault", 1002)]


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_agrees_with_its_definition(payload: bytes, key: bytes) -> None:
    assert mask(payload, key) == apply_mask_in_python(payload, key)
    assert parse(frame(0x82, payload, key=key)) == [("binary", payload)]


# The first byte


@pytest.mark.parametrize("opcode", [0x1, 0x2, 0x8, 0x9, 0xA])
@pytest.mark.parametrize("reserved", [0x40, 0x20, 0x10, 0x70])
def test_reserved_bits_are_refused(opcode: int, reserved: int) -> None:
    assert parse(frame(0x80 | reserved | opcode, b"")) == [("fault", 1002)]


@pytest.mark.parametrize("opcode", [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF])
def test_reserved_opcodes_are_refused_after_the_first_byte(opcode: int) -> None:
    assert parse(bytes((0x80 | opcode,))) == [("fault", 1002)]


def test_nothing_is_read_after_a_fault() -> None:
    assert parse(frame(0x81, b"a") + frame(0x83) + frame(0x81, b"b")) == [("text", b"a"), ("fault", 1002)]


# Control frames


@pytest.mark.parametrize("size", [0, 1, 125])
def test_pings_carry_up_to_125_bytes(size: int) -> None:
    data = frame(0x89, b"p" * size) + frame(0x8A, b"p" * size) + frame(0x81, b"on")
    assert parse(data) == parse_bytewise(data) == [("ping", b"p" * size), ("text", b"on")]


@pytest.mark.parametrize("first", [0x88, 0x89, 0x8A])
def test_control_frames_longer_than_125_bytes_are_refused(first: int) -> None:
    assert parse(frame(first, b"p" * 126)[:2]) == [("fault", 1002)]


@pytest.mark.parametrize("first", [0x08, 0x09, 0x0A])
def test_control_frames_are_not_fragmented(first: int) -> None:
    assert parse(frame(first, b"")) == [("fault", 1002)]


@pytest.mark.parametrize("code", OPEN_CODES)
def test_close_codes_that_may_be_sent_are_accepted(code: int) -> None:
    assert is_close_code(code)
    data = closing(code, "tschüß".encode())
    assert parse(data) == parse_bytewise(data) == [("close", code, "tschüß")]


@pytest.mark.parametrize("code", CLOSED_CODES)
def test_close_codes_that_may_not_be_sent_are_refused(code: int) -> None:
    assert not is_close_code(code)
    assert parse(closing(code)) == [("fault", 1002)]


def test_a_close_has_no_payload_or_at_least_two_bytes() -> None:
    assert parse(frame(0x88)) == [("close", 1005, "")]
    assert parse(frame(0x88, b"\x03")) == [("fault", 1002)]
    assert parse(closing(1000, b"r" * 123)) == [("close", 1000, "r" * 123)]


def test_a_close_reason_is_utf8() -> None:
    assert parse(closing(1000, b"\xff")) == [("fault", 1007)]


def test_nothing_is_read_after_a_close() -> None:
    assert parse(closing(1000) + frame(0x81, b"late") + b"\xff\xff") == [("close", 1000, "")]


# Fragments


def test_fragments_make_one_message_with_control_frames_between() -> None:
    data = frame(0x01, b"a") + frame(0x89, b"1") + frame(0x00, b"b") + frame(0x00) + frame(0x8A) + frame(0x80, b"c")
    expected = [("ping", b"1"), ("text", b"abc"), ("text", b"whole")]
    assert parse(data + frame(0x81, b"whole")) == parse_bytewise(data + frame(0x81, b"whole")) == expected


def test_a_close_within_fragments_ends_all() -> None:
    assert parse(frame(0x01, b"a") + closing(1001) + frame(0x80, b"b")) == [("close", 1001, "")]


@pytest.mark.parametrize(
    "data",
    [
        frame(0x80, b"x"),
        frame(0x00, b"x"),
        frame(0x01, b"a") + frame(0x81, b"long enough"),
        frame(0x02, b"a") + frame(0x01, b"b"),
        frame(0x01, b"a") + frame(0x80, b"b") + frame(0x80, b"c"),
    ],
)
def test_continuations_follow_a_beginning_and_nothing_else_does(data: bytes) -> None:
    assert parse(data)[-1] == parse_bytewise(data)[-1] == ("fault", 1002)


# Text


@pytest.mark.parametrize("text", ["κόσμε", "\U0010ffff", "a\u0000b", "é" * 100, "\ud7ff\ue000\ufffe"])
def test_utf8_may_be_cut_anywhere(text: str) -> None:
    payload = text.encode()
    for i in range(len(payload) + 1):
        data = frame(0x01, payload[:i]) + frame(0x80, payload[i:])
        assert parse(data) == [("text", payload)]
    data = b"".join(frame(0x01 if i == 0 else 0x00, payload[i : i + 1]) for i in range(len(payload))) + frame(0x80)
    assert parse_bytewise(data) == [("text", payload)]


@pytest.mark.parametrize(
    "payload",
    [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b"long enough \xf5\x80\x80\x80"],
)
def test_text_that_is_not_utf8_is_refused(payload: bytes) -> None:
    assert parse(frame(0x81, payload)) == [("fault", 1007)]
    assert parse(frame(0x01, payload) + frame(0x80)) == [("fault", 1007)]
    assert parse(frame(0xC1, deflated(payload)), inflate_bits=15) == [("fault", 1007)]
    assert parse(frame(0x82, payload)) == [("binary", payload)]


def test_text_that_cannot_become_valid_is_refused_before_its_end() -> None:
    assert parse(frame(0x01, b"fine") + frame(0x00, b"\xf4\x90")) == [("fault", 1007)]


# Sizes


@pytest.mark.parametrize("size", [1000, 70_000])
def test_a_message_over_the_limit_is_refused_by_its_head(size: int) -> None:
    whole = frame(0x81, b"x" * (size + 1))
    assert parse(whole[:10], max_bytes=size) == parse(whole, max_bytes=size) == [("fault", 1009)]
    assert parse(frame(0x81, b"x" * size), max_bytes=size) == [("text", b"x" * size)]


def test_the_limit_is_on_the_whole_of_a_fragmented_message() -> None:
    start = frame(0x02, b"x" * 600) + frame(0x00, b"x" * 400)
    assert parse(start + frame(0x80), max_bytes=1000) == [("binary", b"x" * 1000)]
    assert parse(start + frame(0x80, b"x")[:2], max_bytes=1000) == [("fault", 1009)]


def test_small_limits_apply_on_the_short_path() -> None:
    assert parse(frame(0x81, b"x" * 11), max_bytes=10) == [("fault", 1009)]


def test_a_message_is_not_refused_for_fragments_of_a_byte() -> None:
    data = frame(0x01, b"a") + frame(0x00, b"b") * 20_000 + frame(0x00) * (MAX_EMPTY_FRAGMENTS - 1) + frame(0x80)
    assert parse(data, 16_000) == [("text", b"a" + b"b" * 20_000)]


def test_a_message_of_empty_fragments_is_refused() -> None:
    start = frame(0x01, b"a") + frame(0x00) * MAX_EMPTY_FRAGMENTS
    assert parse(start) == []
    assert parse(start + frame(0x00)) == [("fault", 1008)]


# Server frames


@pytest.mark.parametrize("size", EVERY_LENGTH)
def test_server_frames_have_the_shortest_length_and_no_mask(size: int) -> None:
    payload = b"x" * size
    expected = frame(0x82, payload)
    head = len(expected) - size - 4
    assert (
        frames.make_frame(frames.BINARY, payload)
        == expected[:1] + bytes((expected[1] & 0x7F,)) + expected[2:head] + payload
    )


def test_a_close_reason_is_cut_between_characters_to_what_fits() -> None:
    made = frames.close_frame(1008, "é" * 100)
    assert made[:4] == b"\x88\x7c\x03\xf0"
    assert made[4:].decode() == "é" * 61
    assert frames.close_frame(1005) == b"\x88\x00"


# Pausing, halting, replacing


def test_a_paused_reader_keeps_the_order_and_continues() -> None:
    sink = RecordingSink()
    sink.do = lambda: sink.reader.pause() if len(sink.calls) == 2 else None
    data = b"".join(frame(0x81, b"%d" % i) for i in range(2)) + frame(0x8A)
    data += b"".join(frame(0x81, b"%d" % i) for i in range(2, 5))
    sink.reader.receive_data(data[:-3])
    sink.reader.receive_data(data[-3:])
    assert sink.calls == [("text", b"0"), ("text", b"1")]
    sink.reader.resume()
    sink.reader.receive_data(b"")
    assert sink.calls == [("text", b"%d" % i) for i in range(5)]


def test_a_reader_paused_within_a_fragmented_message_continues_it() -> None:
    sink = RecordingSink()
    sink.reader.receive_data(frame(0x01, b"a"))
    sink.reader.pause()
    sink.reader.receive_data(frame(0x80, b"b"))
    assert sink.calls == []
    sink.reader.resume()
    sink.reader.receive_data(frame(0x81, b"next"))
    assert sink.calls == [("text", b"ab"), ("text", b"next")]


def test_a_sink_that_pauses_and_resumes_at_once_misses_nothing() -> None:
    sink = RecordingSink()

    def pause_and_resume() -> None:
        sink.reader.pause()
        sink.reader.resume()

    sink.do = pause_and_resume
    sink.reader.receive_data(frame(0x81, b"a longer one") * 3 + b"\x81")
    sink.reader.receive_data(frame(0x81, b"b")[1:])
    assert sink.calls == [("text", b"a longer one")] * 3 + [("text", b"b")]


def test_a_halted_reader_ignores_data_and_keeps_none() -> None:
    sink = RecordingSink()
    sink.do = sink.reader.halt
    sink.reader.receive_data(frame(0x81, b"one") + frame(0x89) + frame(0x81, b"two"))
    sink.reader.receive_data(b"x" * 100_000)
    sink.reader.resume()
    sink.reader.receive_data(frame(0x81, b"three"))
    assert sink.calls == [("text", b"one")]


def test_a_long_frame_in_small_pieces_costs_no_more_than_its_length() -> None:
    sink = RecordingSink(max_bytes=4 * MIB)
    data = frame(0x82, bytes(4 * MIB))
    for i in range(0, len(data), 1000):
        sink.reader.receive_data(data[i : i + 1000])
    assert sink.calls == [("binary", bytes(4 * MIB))]


# Any bytes, split anywhere

payloads = st.one_of(st.binary(max_size=140), st.text(max_size=100).map(str.encode))
whole_frames = st.builds(frame, st.sampled_from([0x81, 0x82, 0x89, 0x8A, 0x01, 0x02, 0x00, 0x80, 0xC1]), payloads)
texts = st.builds(frame, st.just(0x81), st.text(max_size=200).map(str.encode))
closes = st.builds(closing, st.sampled_from(OPEN_CODES + CLOSED_CODES), st.binary(max_size=10))
streams = st.lists(st.one_of(texts, texts, whole_frames, closes, st.binary(max_size=20)), max_size=12).map(b"".join)


def test_a_short_frame_after_a_turn_does_not_wait_for_more_data() -> None:
    data = frame(0x81, b"x" * 60_000) * 2 + frame(0x89, b"y")
    for cut in (1, 10, 50_000, 100_000, 120_000):
        assert [call[0] for call in parse(data, cut)] == ["text", "text", "ping"]


BOMB = deflated(b"x" * MIB)
FLOODS = {
    "pings": frame(0x89),
    "pongs": frame(0x8A, b"x"),
    "fragments of a byte": frame(0x00, b"x"),
    "texts": frame(0x81, b"x"),
    "compressed texts": frame(0xC1, BOMB),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_one_call_reads_a_bounded_part_of_many_frames(flood: str) -> None:
    each, start = FLOODS[flood], frame(0x01) if "fragments" in flood else b""
    n_most = 3 * len(BOMB) if "compressed" in flood else 16_384 + len(each)
    sink = RecordingSink(inflate_bits=15)
    sink.reader.receive_data(start + each * (400_000 // len(each)))
    left = sink.reader.n_unfinished_bytes
    assert left > 300_000
    while sink.n_turns:
        sink.n_turns = 0
        sink.reader.receive_data(b"")
        left, before = sink.reader.n_unfinished_bytes, left
        assert before - n_most <= left <= before
    assert left <= 400_000 // len(each) + 1  # what a message holds that has not ended
    sink.reader.receive_data(b"")
    assert sink.reader.n_unfinished_bytes == left


def test_the_turn_is_over_after_much_work_even_if_no_data_are_left() -> None:
    sink = RecordingSink(inflate_bits=15)
    sink.reader.receive_data(frame(0xC1, BOMB))
    assert (len(sink.calls), sink.n_turns, sink.reader.n_unfinished_bytes) == (1, 1, 0)
    sink.reader.receive_data(frame(0x81, b"x"))
    assert (len(sink.calls), sink.n_turns) == (2, 1)


@settings(max_examples=400)
@given(streams, st.lists(st.integers(0, 2000), max_size=20), st.sampled_from([0, 15]))
def test_splitting_the_bytes_does_not_change_the_result(stream: bytes, cuts: list[int], bits: int) -> None:
    whole = parse(stream, max_bytes=1000, inflate_bits=bits)
    assert parse(stream, *sorted(min(cut, len(stream)) for cut in cuts), max_bytes=1000, inflate_bits=bits) == whole
    assert parse_bytewise(stream, max_bytes=1000, inflate_bits=bits) == whole


@settings(max_examples=200)
@given(streams, st.lists(st.integers(0, 2000), max_size=10), st.integers(1, 4))
def test_pausing_does_not_change_the_result(stream: bytes, cuts: list[int], every: int) -> None:
    sink = RecordingSink(1000)
    sink.do = lambda: sink.reader.pause() if len(sink.calls) % every == 0 else None
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, stop in pairwise(edges):
        sink.reader.receive_data(stream[start:stop])
    n_calls = -1
    while n_calls != len(sink.calls):
        n_calls = len(sink.calls)
        sink.reader.resume()
        sink.reader.receive_data(b"")
    assert sink.calls == parse(stream, max_bytes=1000)

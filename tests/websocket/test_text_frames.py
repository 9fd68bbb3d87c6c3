"""Text frames as a server sends them: made, joined, cut apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_app import parse
from websockets.frames import Frame, Opcode

from chatkit.websocket.frames import (
    BINARY,
    PING,
    TEXT,
    binary_frame,
    client_frame,
    make_frame,
    make_message,
    text_frame,
)
from chatkit.websocket.reader import FrameError, cut_frames, payloads

SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_is_what_the_standard_says(size: int) -> None:
    payload = b"x" * size
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


@given(st.lists(st.binary(max_size=300) | st.sampled_from(SIZES).map(bytes), max_size=8))
def test_joined_frames_are_cut_into_what_they_were_made_of(texts: list[bytes]) -> None:
    assert list(payloads(b"".join(map(text_frame, texts)))) == texts


@pytest.mark.parametrize("size", SIZES)
def test_a_binary_frame_is_what_the_standard_says(size: int) -> None:
    payload = b"x" * size
    assert binary_frame(payload) == make_frame(BINARY, payload) == Frame(Opcode.BINARY, payload).serialize(mask=False)


@pytest.mark.parametrize("size", SIZES)
def test_a_clients_frame_is_masked_and_read_back(size: int) -> None:
    payload = b"x" * size
    framed = client_frame(TEXT, payload)
    assert len(framed) == len(text_frame(payload)) + 4
    assert framed[1] & 0x80
    assert parse(framed) == [("text", payload)]


def test_clients_frames_are_masked_differently() -> None:
    assert len({client_frame(TEXT, b"hello") for _ in range(10)}) > 1


def test_a_message_without_a_window_is_not_compressed() -> None:
    payload = b"x" * 1000
    assert make_message(TEXT, payload, None) == text_frame(payload)
    assert make_message(BINARY, payload, None) == make_frame(BINARY, payload)


def test_a_frame_that_is_not_whole_ends_the_cutting() -> None:
    whole = text_frame(b"a") + make_frame(PING, b"") + text_frame(b"b" * 70_000)
    expected = [(0x81, 2, 3), (0x89, 5, 5), (0x81, 15, 70_015)]
    assert list(cut_frames(whole)) == expected
    for end in (len(whole) - 1, 15, 14, 6):
        assert list(cut_frames(whole[:end])) == expected[:2]
    assert list(cut_frames(whole[:4])) == expected[:1]
    assert list(cut_frames(b"")) == []


def test_a_masked_frame_among_a_servers_is_refused() -> None:
    with pytest.raises(FrameError) as refused:
        list(cut_frames(text_frame(b"a") + client_frame(TEXT, b"b")))
    assert refused.value.code == 1002

"""Text frames as a server sends them: made, joined, cut apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from chatkit.websocket.frames import payloads, text_frame

SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_is_what_the_standard_says(size: int) -> None:
    payload = b"x" * size
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


@given(st.lists(st.binary(max_size=300) | st.sampled_from(SIZES).map(bytes), max_size=8))
def test_joined_frames_are_cut_into_what_they_were_made_of(texts: list[bytes]) -> None:
    assert list(payloads(b"".join(map(text_frame, texts)))) == texts

"""The forms of messages: shared by all sockets that can read the same frames, compressed where they agreed to it."""

import zlib

from chatkit.core.model import Message
from chatkit.session.formats import body_frame, event_frame, form_for
from chatkit.websocket.reader import payloads

LONG = Message("ops", "e", 1, 0, "ann", "a long body, a long body, " * 20)


def inflate(frame: bytes, window_bits: int) -> bytes:
    assert frame[0] == 0xC1
    (payload,) = payloads(frame)
    return zlib.decompressobj(-window_bits).decompress(payload + b"\x00\x00\xff\xff")


def test_sockets_with_the_same_window_share_one_form() -> None:
    assert form_for(event_frame, 12) is form_for(event_frame, 12)
    assert form_for(event_frame, 12) is not form_for(event_frame, 11)
    assert form_for(event_frame, None) is event_frame


def test_a_compressed_frame_holds_the_same_message_in_fewer_bytes() -> None:
    frame = form_for(body_frame, 12)(LONG)
    assert inflate(frame, 12) == LONG.body.encode()
    assert len(frame) < len(body_frame(LONG)) / 4


def test_a_short_message_is_not_compressed() -> None:
    short = Message("ops", "e", 1, 0, "ann", "hi")
    assert form_for(body_frame, 12)(short) == body_frame(short)

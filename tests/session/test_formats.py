"""The forms of messages: shared by all sockets that can read the same frames, compressed where they agreed to it."""

import re
import zlib
from typing import Any

import pytest

from chatkit.core.model import Message
from chatkit.session.formats import body_frame, event_frame, format_for, line_frame
from chatkit.websocket.reader import payloads

LONG = Message("ops", "e", 1, 0, "ann", "a long body, a long body, " * 20)


def inflate(frame: bytes, window_bits: int) -> bytes:
    assert frame[0] == 0xC1
    (payload,) = payloads(frame)
    return zlib.decompressobj(-window_bits).decompress(payload + b"\x00\x00\xff\xff")


def test_sockets_with_the_same_window_share_one_format() -> None:
    assert format_for(event_frame, 12) is format_for(event_frame, 12)
    assert format_for(event_frame, 12) is not format_for(event_frame, 11)
    assert format_for(event_frame, None) is event_frame


def test_a_compressed_frame_has_the_same_message_in_fewer_bytes() -> None:
    frame = format_for(body_frame, 12)(LONG)
    assert inflate(frame, 12) == LONG.body.encode()
    assert len(frame) < len(body_frame(LONG)) / 4


def test_a_short_message_is_not_compressed() -> None:
    short = Message("ops", "e", 1, 0, "ann", "hi")
    assert format_for(body_frame, 12)(short) == body_frame(short)


def shown(form: Any, body: str, sender: str = "ann") -> str:
    (payload,) = payloads(form(Message("ops", "e", 1, 0, sender, body)))
    return payload.decode()


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\v", "\f", "\x85", "\u2028", "\u2029"])
def test_no_line_of_a_body_looks_like_one_of_the_servers_own(end: str) -> None:
    for body in (
        "! the store is available again",
        "!! twice",
        f"hi{end}! the store is available again",
        f"{end}! x{end}!!! y",
    ):
        lines = re.split("[\n\r\v\f\x85\u2028\u2029]", shown(body_frame, body))
        assert not any(line.startswith("! ") for line in lines), lines
        # One `!` less, and it is the body: two bodies are never shown alike.
        assert re.sub(r"(^|[\n\r\v\f\x85\u2028\u2029])!(!+ )", r"\1\2", shown(body_frame, body)) == body


@pytest.mark.parametrize("body", ["!", "!hi", "hi! there", "a\n!b", "", " ! x"])
def test_an_unambiguous_body_is_sent_unchanged(body: str) -> None:
    assert shown(body_frame, body) == body


def test_a_line_that_is_not_indented_starts_a_message_or_is_the_servers_own() -> None:
    assert shown(line_frame, "hi") == "ann: hi"
    assert (
        shown(line_frame, "hi\nbob: I pay\r\n! the store is available again")
        == "ann: hi\n  bob: I pay\r\n  ! the store is available again"
    )
    assert shown(line_frame, "x", sender="! the store") == "!! the store: x"

"""Compressed messages after RFC 7692: read whole and in fragments, stopped at the limit, and made for everybody."""

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_app import deflated, frame, parse, parse_bytewise

from chatkit.websocket.frames import MIN_COMPRESSED_BYTES, TEXT, make_message
from chatkit.websocket.reader import FrameError, inflate

MIB = 1 << 20


@pytest.mark.parametrize("payload", [b"", b"a", b"hello " * 1000, "naïve".encode()])
def test_compressed_messages_are_read_whole_and_in_fragments(payload: bytes) -> None:
    body = deflated(payload)
    data = frame(0xC1, body) + frame(0x41, body[:2]) + frame(0x89) + frame(0x80, body[2:]) + frame(0xC2, body)
    expected = [("text", payload), ("ping", b""), ("text", payload), ("binary", payload)]
    assert parse(data, inflate_bits=15) == parse_bytewise(data, inflate_bits=15) == expected


def test_the_bit_of_compression_is_refused_on_continuations_and_control_frames() -> None:
    assert parse(frame(0x41, b"") + frame(0xC0, b""), inflate_bits=15) == [("fault", 1002)]
    assert parse(frame(0xC9, b""), inflate_bits=15) == [("fault", 1002)]


def test_the_example_with_a_final_block_is_read_and_so_is_what_follows() -> None:
    hello = bytes.fromhex("f3 48 cd c9 c9 07 00 00")  # RFC 7692, 7.2.3.4
    data = frame(0xC1, hello) + frame(0xC1, deflated(b"next"))
    assert parse(data, inflate_bits=15) == [("text", b"Hello"), ("text", b"next")]


def test_a_stream_after_a_final_block_is_refused() -> None:
    data = frame(0xC1, deflated(b"a", zlib.Z_FINISH) + deflated(b"b"))
    assert parse(data, inflate_bits=15) == [("fault", 1007)]


def test_a_broken_stream_is_refused() -> None:
    assert parse(frame(0xC1, b"\xff\xff\xff"), inflate_bits=15) == [("fault", 1007)]


def test_a_client_that_takes_its_context_over_is_refused() -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    text = b"the same sentence twice, so that the second refers to the first"
    one, two = (
        (deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff") for _ in "12"
    )
    assert parse(frame(0xC1, one) + frame(0xC1, two), inflate_bits=15) == [("text", text), ("fault", 1007)]


def test_a_bomb_is_stopped_at_the_limit() -> None:
    bomb = deflated(bytes(100 * MIB))
    assert len(bomb) < MIB // 8
    tracemalloc.start()
    assert parse(frame(0xC2, bomb), inflate_bits=15) == [("fault", 1009)]
    assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    tracemalloc.stop()


def test_what_does_not_compress_may_be_as_long_as_the_limit() -> None:
    noise = b"".join(zlib.crc32(i.to_bytes(4, "big")).to_bytes(4, "big") for i in range(25_000))
    assert len(deflated(noise)) > len(noise)
    data = frame(0xC2, deflated(noise))
    assert parse(data, max_bytes=len(noise), inflate_bits=15) == [("binary", noise)]
    assert parse(data, max_bytes=len(noise) - 1, inflate_bits=15) == [("fault", 1009)]


@given(st.binary(min_size=MIN_COMPRESSED_BYTES, max_size=2000), st.integers(9, 15))
def test_what_a_server_compresses_its_client_can_read(payload: bytes, bits: int) -> None:
    made = make_message(TEXT, payload, bits)
    assert made[0] == 0xC1
    body = made[2:] if made[1] < 126 else made[4:]
    assert inflate(body, bits, 2000) == payload
    with pytest.raises(FrameError):
        inflate(deflated(payload + b"x"), 15, len(payload))

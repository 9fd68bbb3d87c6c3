"""The short path that judges a handshake of the usual form: its answers are those of the websockets library."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from protocol_app import HEAD, Echo
from uvicorn.config import Config
from uvicorn.server import ServerState

from chatkit.protocols.detect import _PLAIN_HEAD
from chatkit.protocols.handshake import HandshakeRejected, _negotiate, _parse_head, _read_simple
from chatkit.protocols.shared import SharedState

OFFERS = [
    b"permessage-deflate", b"permessage-deflate; client_max_window_bits", b"x-webkit-deflate-frame", b"",
    b"permessage-deflate; server_max_window_bits=10; client_max_window_bits=9, permessage-deflate", b";", b"a;b=\"c\"",
    b"permessage-deflate; server_max_window_bits=99", b"permessage-deflate; server_no_context_takeover; \xff",
]  # fmt: skip
LINES = HEAD.split(b"\r\n")[1:-1]


@pytest.fixture(scope="module")
def shared() -> Iterator[SharedState]:
    config = Config(Echo(), lifespan="off", log_config=None)
    config.load()
    with asyncio.Runner() as runner:
        yield SharedState(config, ServerState(), runner.get_loop())


def judge(head: bytes, shared: SharedState) -> object:
    """Return what websockets agrees to, or None if it rejects the handshake."""
    try:
        return _negotiate(_parse_head(head).as_request(), shared.negotiator)
    except HandshakeRejected:
        return None


@given(
    lines=st.permutations(LINES),
    offer=st.none() | st.sampled_from(OFFERS) | st.binary(max_size=12),
    change=st.tuples(st.integers(0, 200), st.binary(max_size=2)) | st.none(),
)
def test_a_simple_handshake_is_answered_as_by_the_library(
    shared: SharedState, lines: list[bytes], offer: bytes | None, change: tuple[int, bytes] | None
) -> None:
    offered = [] if offer is None else [b"Sec-WebSocket-Extensions: " + offer]
    fields = b"\r\n".join([*lines, *offered])
    if change is not None:
        at, new = change
        fields = fields[:at] + new + fields[at + 1 :]
    head = b"GET /chat HTTP/1.1\r\n" + fields + b"\r\n\r\n"
    assume(_PLAIN_HEAD.fullmatch(head[:-2].lower()))
    for _ in range(2):  # the second time, the agreement is known
        simple = _read_simple(_parse_head(head), shared)
        assert simple is None or simple == judge(head, shared)


@pytest.mark.parametrize("offer", OFFERS[:2])
def test_what_browsers_and_libraries_offer_is_simple(shared: SharedState, offer: bytes) -> None:
    head = HEAD + b"Sec-WebSocket-Extensions: " + offer + b"\r\n\r\n"
    simple = _read_simple(_parse_head(head), shared)
    assert simple is not None
    assert simple == judge(head, shared)
    assert (simple[1].deflate_bits, simple[1].inflate_bits) != (0, 0)


def test_a_bounded_number_of_agreements_is_kept(shared: SharedState) -> None:
    for number in range(200):
        shared.agree(f"x{number}")
    assert len(shared._agreements) <= 64

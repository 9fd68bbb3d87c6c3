"""The short path on which WebSockets to rooms are opened: it answers every head as the long path does."""

import asyncio
import re
import zlib
from collections import Counter
from typing import Any

import pytest
from harness import run, turns, until
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_transport import MemoryTransport
from protocol_app import frame
from uvicorn.server import ServerState

from chatkit.backends.memory import MemoryBackend
from chatkit.core.access import Grant, Right
from chatkit.core.hub import Hub
from chatkit.core.model import Draft
from chatkit.protocols.detect import HttpProtocol
from chatkit.server.app import create_app
from chatkit.server.identity import access_table
from chatkit.server.runner import configure
from chatkit.server.settings import Settings
from chatkit.websocket.frames import COMPRESSED, SYNC_TAIL
from chatkit.websocket.reader import cut_frames

SECRET = "a-shared-secret"
OPEN = Settings(backend="memory://")
GUARDED = Settings(
    backend="memory://",
    host="0.0.0.0",
    secret=SECRET,
    open_grants=(Grant("o*", (Right.READ,)),),
    origins=("https://chat.example",),
    trust_proxies=("127.0.0.1",),
    trust_header="Remote-User",
    rate_limit=5.0,
)
BELOW = Settings(backend="memory://", path_prefix="/below", max_connections=2)
ALL = {"open": OPEN, "guarded": GUARDED, "below a prefix and full": BELOW}

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
USUAL = [b"Upgrade: websocket", b"Connection: Upgrade", KEY, b"Sec-WebSocket-Version: 13"]

paths = st.sampled_from(
    [
        b"/ws/ops", b"/ws/ops", b"/ws/ops", b"/ws", b"/ws/o-new", b"/ws/hidden", b"/ws/.audit", b"/ws/..", b"/ws/",
        b"/ws//ops", b"/ws/ops/x", b"/ws/o%70s", b"/ws/a%20b", b"/WS/ops", b"/wsx", b"/rooms", b"//ws/ops", b"/ws/-",
        b"/below/ws/ops", b"/below/ws", b"/below/below/ws/ops", b"/ws/" + b"o" * 200, b"http://x/ws/ops",
    ]
)  # fmt: skip
queries = st.lists(
    st.sampled_from(
        [
            b"name=ann", b"name=", b"name=%00", b"name=r%C3%B6b", b"history=2", b"history=x", b"history=-1",
            b"after=bad", b"after=EPOCH:1", b"after=EPOCH:99", b"after=other1:1", b"format=line", b"format=json",
            b"format=x", b"format=",
            b"token=" + SECRET.encode(), b"token=wrong", b"token=", b"a", b"%", b"name=ann&name=bob",
            b"a&" * 40, b"name=" + b"a" * 9_000,
        ]
    ),
    max_size=3,
).map(b"&".join)  # fmt: skip
hosts = st.sampled_from(
    [
        b"Host: 127.0.0.1:8000", b"Host: 127.0.0.1:8000", b"Host: LocalHost", b"Host: [::1]:8000",
        b"Host: evil.example",
        b"Host: chat.example", b"Host: a%20b", b"Host: a b", b"Host:", b"Host: a/b", b"Host: \xe9", b"Host: [::1",
        b"Host: " + b"a" * 600, b"X: no host",
    ]
)  # fmt: skip
FIELDS = b"""\
Sec-WebSocket-Protocol: chatkit.v1
Sec-WebSocket-Protocol: a, chatkit.v1
Sec-WebSocket-Protocol: other
Sec-WebSocket-Protocol: ,
Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits
Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8
Sec-WebSocket-Extensions: x
Sec-WebSocket-Extensions: ;
Sec-WebSocket-Version: 12
Connection: keep-alive, Upgrade
Upgrade: h2c
Origin: http://127.0.0.1:8000
Origin: https://chat.example
Origin: https://evil.example
Origin: null
Authorization: Bearer a-shared-secret
Authorization: Bearer wrong
Authorization: Basic x
Cookie: chatkit_8000=a.b
Cookie: x=\xff
X-Forwarded-For: 192.0.2.1
X-Forwarded-For: 127.0.0.1
X-Forwarded-For: x
X-Forwarded-Host: chat.example
Via: 1.1 x
Remote-User: ann
Remote-User: bob
User-Agent: a \xff
Content-Length: 0
Content-Length: 3""".split(b"\n")
others = st.lists(st.just(FIELDS[0]) | st.sampled_from(FIELDS), max_size=4)
early = st.sampled_from([b"", b"", frame(0x89, b"ping"), frame(0x82, b"binary"), frame(0x88, b""), b"\x00 no frame"])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Draw an opening handshake, and often change a byte of it."""
    query = draw(queries)
    target = draw(paths) + (b"?" + query if query else b"")
    fields = draw(st.permutations([draw(hosts), *USUAL, *draw(others)]))
    head = b"GET " + target + b" HTTP/1.1\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n"
    if draw(st.booleans()):
        at = draw(st.integers(0, len(head) - 1))
        head = head[:at] + draw(st.binary(max_size=2)) + head[at + draw(st.integers(0, 2)) :]
    return head


class Path:
    """A server without sockets, which opens WebSockets on one of the two paths, on a hub that both share."""

    def __init__(self, given: Settings, hub: Hub, *, is_short: bool) -> None:
        app = create_app(given, hub)
        self.admission = app.state.admission
        self._config = configure(app, given)
        if not is_short:
            self._config.opener = None
        self._config.load()
        self._state = ServerState()
        self._state.default_headers = [(b"date", b"now")]

    def replace_application(self) -> None:
        """Fail if the application is called."""

        async def fail(*_: Any) -> None:
            raise AssertionError("the application was called")

        self._config.loaded_app = fail

    async def connect(self) -> MemoryTransport:
        transport = MemoryTransport()
        transport.connect(HttpProtocol(self._config, self._state, {}, asyncio.get_running_loop()))
        return transport

    async def answers(self, head: bytes, then: bytes, n_first: int) -> tuple[Any, ...]:
        """Send a head, split after some bytes, and then more. Return everything that it causes."""
        transport = await self.connect()
        for data in filter(None, (head[:n_first], head[n_first:], then)):
            transport.receive(data)
            await turns(3)
        await until(lambda: not self._state.tasks, "a handler goes on")
        await turns()
        opened = {kind.value: counter.n_opened for kind, counter in self.admission.connections.items()}
        n_open = self.admission.n_connections
        transport.lose()
        await until(lambda: not self._state.tasks and not self._state.connections, "the connection stays")
        refused = Counter(self.admission.context.refusals.errors)
        return without_times(transport.written), transport.is_ended, opened, n_open, refused


def without_times(data: bytes) -> bytes:
    """Return what the server wrote without the times in it."""
    head, end, frames = data.partition(b"\r\n\r\n")
    if b"permessage-deflate" in head:  # the times are in compressed messages
        frames = b"".join(bytes([first]) + inflated(first, frames[at:stop]) for first, at, stop in cut_frames(frames))
    return re.sub(rb'(?<=Date: )[^\r]+|(?<="since":")[^"]+', b"", head + end + frames)


def inflated(first: int, payload: bytes) -> bytes:
    return zlib.decompressobj(-15).decompress(payload + SYNC_TAIL) if first & COMPRESSED else payload


@pytest.mark.parametrize("given_settings", ALL.values(), ids=ALL)
@settings(max_examples=8)
@given(talk=st.lists(st.tuples(heads(), early, st.integers(0, 900)), min_size=1, max_size=12))
def test_both_paths_give_the_same_answers(given_settings: Settings, talk: list[tuple[bytes, bytes, int]]) -> None:
    async def test() -> None:
        async with MemoryBackend() as backend, Hub(backend, access=access_table(given_settings)) as hub:
            for number in range(1, 4):
                receipt = await hub.publish(Draft("ops", "ann", f"m{number}"))
            epoch = receipt.message.epoch.encode()
            long, short = (Path(given_settings, hub, is_short=is_short) for is_short in (False, True))
            with await hub.subscribe("ops"):  # so that the room stays in memory
                for head, then, n_first in talk:
                    sent = head.replace(b"EPOCH", epoch)
                    assert await short.answers(sent, then, n_first) == await long.answers(sent, then, n_first), sent
                assert hub.counts["subscriptions"] == 1

    run(test())


@pytest.mark.parametrize("target", [b"/ws", b"/ws/ops", b"/ws/new", b"/ws/ops?name=ann&history=2"])
@pytest.mark.parametrize("protocol", [b"", b"Sec-WebSocket-Protocol: chatkit.v1\r\n"])
def test_a_usual_handshake_does_not_reach_the_application(target: bytes, protocol: bytes) -> None:
    async def test() -> None:
        async with MemoryBackend() as backend, Hub(backend, access=access_table(OPEN)) as hub:
            path = Path(OPEN, hub, is_short=True)
            path.replace_application()
            head = b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n" + b"\r\n".join(USUAL) + b"\r\n" + protocol
            written, is_ended, *_ = await path.answers(head + b"\r\n", b"", 0)
            assert written.startswith(b"HTTP/1.1 101 ")
            assert not is_ended

    run(test())


def test_the_access_log_has_every_websocket() -> None:
    logged = Settings(backend="memory://", log_level="info")

    async def test() -> None:
        async with MemoryBackend() as backend, Hub(backend) as hub:
            assert configure(create_app(logged, hub), logged).opener is None

    run(test())

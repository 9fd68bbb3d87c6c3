"""The WebSocket protocol with clients of other projects: wsproto, and the `ws` package of Node."""

import asyncio
import contextlib
import json
import random
import shutil
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from protocol_app import DirectEcho, Echo, accepting, closer, eventually, run, serving
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason

TREE = Path(__file__).parents[2]
SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20]
WORDS = "words and ä€😀 "


class Peer:
    """wsproto as a client, on a stream. It answers pings and closes, as its documentation asks of its user."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, deflate: bool) -> None:
        self.reader = reader
        self.writer = writer
        self.deflate = PerMessageDeflate()
        self.wire = WSConnection(ConnectionType.CLIENT)
        self.n_pings = 0
        self._extensions = [self.deflate] if deflate else []
        self._events: deque[Event] = deque()

    async def ask(self, *subprotocols: str) -> Event:
        """Start the handshake; return the response."""
        request = Request("test", "/chat", extensions=self._extensions, subprotocols=list(subprotocols))
        self.send(request)
        return await self.event()

    def send(self, *events: Event) -> None:
        self.writer.write(b"".join(self.wire.send(event) for event in events))

    async def event(self) -> Event:
        """Return the next event that is not a ping. A lost connection is returned as a close with 1006."""
        while not self._events:
            self.wire.receive_data(await self.reader.read(65_536) or None)
            self._events += [event for event in self.wire.events() if not self._is_answered(event)]
        return self._events.popleft()

    def _is_answered(self, event: Event) -> bool:
        if isinstance(event, Ping):
            self.n_pings += 1
            self.send(event.response())
        elif isinstance(event, CloseConnection) and self.wire.state is ConnectionState.REMOTE_CLOSING:
            self.send(event.response())
        return isinstance(event, Ping)

    async def message(self) -> str | bytes:
        """Return the next message, which wsproto hands out in the pieces in which it came from the socket."""
        pieces: list[Any] = []
        while True:
            event = await self.event()
            assert isinstance(event, Message), event
            pieces.append(event.data)
            if event.message_finished:
                return "".join(pieces) if isinstance(event, TextMessage) else b"".join(pieces)

    async def close(self) -> CloseConnection:
        """Return the server's close, behind which it ends the connection."""
        event = await self.event()
        assert isinstance(event, CloseConnection), event
        assert await self.reader.read() == b""
        return event


@contextlib.asynccontextmanager
async def calling(port: int, *, deflate: bool = False) -> AsyncIterator[Peer]:
    """Connect, without a handshake."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Peer(reader, writer, deflate=deflate)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def talking(port: int, *, deflate: bool = False) -> AsyncIterator[Peer]:
    """Connect, and finish the handshake."""
    async with calling(port, deflate=deflate) as peer:
        assert isinstance(await peer.ask(), AcceptConnection)
        assert peer.deflate.enabled() == deflate
        yield peer


def words(size: int) -> str:
    """Return a text of so many bytes."""
    text = (WORDS * (size // len(WORDS.encode()) + 1)).encode()[:size].decode(errors="ignore")
    return text + "." * (size - len(text.encode()))


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
def deflate(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


# wsproto


@pytest.mark.parametrize("kind", [Echo, DirectEcho])
def test_wsproto_receives_its_texts(kind: Any, deflate: bool) -> None:
    async def test() -> None:
        async with serving(kind()) as served, talking(served.port, deflate=deflate) as peer:
            for size in SIZES:
                text = words(size)
                assert len(text.encode()) == size
                peer.send(TextMessage(text))
                assert await peer.message() == text

    run(test)


def test_wsproto_receives_its_bytes(deflate: bool) -> None:
    async def test() -> None:
        async with serving(Echo()) as served, talking(served.port, deflate=deflate) as peer:
            for size in SIZES:
                data = random.Random(size).randbytes(size)
                peer.send(BytesMessage(data))
                assert await peer.message() == data

    run(test)


def test_wsproto_can_send_fragments_and_ping_between_them(deflate: bool) -> None:
    async def test() -> None:
        text, data = words(10_000), random.Random(1).randbytes(10_000)
        async with serving(Echo()) as served, talking(served.port, deflate=deflate) as peer:
            for start in range(0, len(text), 1_000):
                peer.send(TextMessage(text[start : start + 1_000], message_finished=False))
            peer.send(Ping(b"are you there?"))
            assert await peer.event() == Pong(b"are you there?")
            peer.send(TextMessage("", message_finished=True))
            assert await peer.message() == text
            peer.send(BytesMessage(b"", message_finished=False))
            for start in range(0, len(data), 1_000):
                peer.send(BytesMessage(data[start : start + 1_000], message_finished=start == 9_000))
            assert await peer.message() == data

    run(test)


def test_wsproto_that_sends_many_messages_at_once_gets_them_in_order(deflate: bool) -> None:
    async def test() -> None:
        texts = [words(n) for n in range(1_000)]
        async with serving(Echo()) as served, talking(served.port, deflate=deflate) as peer:
            peer.send(*map(TextMessage, texts))
            assert [await peer.message() for _ in texts] == texts

    run(test)


def test_wsproto_that_only_answers_pings_stays_connected(deflate: bool) -> None:
    async def test() -> None:
        options = {"ws_ping_interval": 0.1, "ws_ping_timeout": 0.1}
        async with serving(Echo(), **options) as served, talking(served.port, deflate=deflate) as peer:
            reading = asyncio.create_task(peer.message())
            await eventually(lambda: peer.n_pings >= 3)
            peer.send(TextMessage("still here"))
            assert await reading == "still here"

    run(test)


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1000, "bye"), (1001, ""), (1011, "oh"), (3000, ""), (4999, "genug ✓"), (1005, "")]
)
def test_wsproto_receives_its_own_close_code(code: int, reason: str) -> None:
    async def test() -> None:
        app = Echo()
        async with serving(app) as served, talking(served.port) as peer:
            peer.send(TextMessage("last"))
            assert await peer.message() == "last"
            peer.send(closing(code, reason))
            assert (await peer.close()).code == code
            await eventually(lambda: app.end)
        assert app.end == {"type": "websocket.disconnect", "code": code, "reason": reason}

    run(test)


def closing(code: int, reason: str) -> CloseConnection:
    return CloseConnection(CloseReason.NO_STATUS_RCVD if code == 1005 else code, reason or None)


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1008, "policy"), (1012, "come back"), (4000, "enough"), (4999, "genug ✓")]
)
def test_wsproto_receives_the_servers_close_reason(code: int, reason: str) -> None:
    async def test() -> None:
        async with serving(closer(code, reason)) as served, talking(served.port) as peer:
            event = await peer.close()
            assert (event.code, event.reason) == (code, reason)
            await served.empty()

    run(test)


def test_wsproto_receives_1009_for_a_long_message(deflate: bool) -> None:
    async def test() -> None:
        async with serving(Echo(), ws_max_size=1_000) as served, talking(served.port, deflate=deflate) as peer:
            peer.send(TextMessage(words(1_000)))
            assert await peer.message() == words(1_000)
            peer.send(TextMessage(words(1_001)))
            assert (await peer.close()).code == 1009

    run(test)


def test_wsproto_receives_a_subprotocol_and_a_header() -> None:
    async def test() -> None:
        app = accepting(subprotocol="b", headers=[(b"x-one", b"1")])
        async with serving(app) as served, calling(served.port) as peer:
            answer = await peer.ask("a", "b")
            assert isinstance(answer, AcceptConnection)
            assert answer.subprotocol == "b"
            assert (b"x-one", b"1") in list(answer.extra_headers)

    run(test)


def test_wsproto_is_rejected() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close"})

    async def test() -> None:
        async with serving(app) as served, calling(served.port) as peer:
            answer = await peer.ask()
            assert isinstance(answer, RejectConnection)
            assert answer.status_code == 403

    run(test)


# Node


def find_node() -> str:
    """Return where Node is, with `ws` at hand. Fail, and say what to install, where either is missing."""
    node = shutil.which("node")
    if node is None:
        pytest.fail("Node is missing: install it (on Debian: apt-get install npm), then run `make test`.")
    if not (TREE / "node_modules/ws/package.json").is_file():
        pytest.fail("Node's `ws` is missing: run `npm install` in the project's folder, or `make test`, which does.")
    return node


async def run_node(*words: str) -> Any:
    """Run the script; return what it prints."""
    script = str(TREE / "tests/support/peers/echo.mjs")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(find_node(), script, *words, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(30):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        _, err = await process.communicate()
        pytest.fail(f"Node hung: {err.decode()}")
    assert process.returncode == 0, err.decode()
    return json.loads(out)


def test_node_works_with_and_without_compression_and_closes_both_ways() -> None:
    async def test() -> None:
        app = Echo()
        options = {"ws_ping_interval": 0.1, "ws_ping_timeout": None}  # how fast Node is, is not the question
        async with serving(app, **options) as served, serving(closer(4002, "schön war's")) as shut:
            seen = await run_node(f"ws://127.0.0.1:{served.port}/chat", f"ws://127.0.0.1:{shut.port}/chat")
            await served.empty()
            await shut.empty()
        for part in ("plain", "compressed"):
            assert len(seen[part]["echoed"]) == 16
            assert [what for what, is_same in seen[part]["echoed"].items() if not is_same] == []
            assert seen[part]["pong"] == "are you there?"
            assert seen[part]["close"][0] == 4001
        assert seen["plain"]["extensions"] == ""
        assert seen["compressed"]["extensions"] == "permessage-deflate"
        assert seen["closed"] == [[4002, "schön war's"]] * 2
        ends = [event for event in app.events if event["type"] == "websocket.disconnect"]
        assert ends == [{"type": "websocket.disconnect", "code": 4001, "reason": "genug ✓"}] * 2

    run(test)

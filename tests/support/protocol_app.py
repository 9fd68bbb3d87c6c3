"""Shared by the tests of the protocols: a server in the test's loop, applications, a raw client, and a frame sink."""

import asyncio
import contextlib
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias, cast

import pytest
import uvicorn
import uvloop

from chatkit.protocols.http import HttpConnection
from chatkit.protocols.websocket import DIRECT, DirectSocket, HttpProtocol, WebSocketProtocol
from chatkit.websocket.reader import FrameReader

KEY = b"\x01\x02\x03\x04"
HEAD = (
    b"GET /chat HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


def run(test: Callable[[], Any], loop: str = "uvloop", limit_s: float = 60) -> Any:
    """Run an asynchronous test to its end on this loop."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(asyncio.wait_for(test(), limit_s))


class Clock(asyncio.SelectorEventLoop):
    """A loop on which time passes when the test says so, too."""

    skipped_s = 0.0

    def time(self) -> float:
        return super().time() + self.skipped_s

    async def skip(self, seconds: float) -> None:
        """Advance the time in steps that look like a running loop, not like a paused process."""
        for _ in range(int(seconds / 0.05)):
            self.skipped_s += 0.05
            for _ in range(5):
                await asyncio.sleep(0)


def run_on_clock(test: Callable[[Clock], Any]) -> None:
    with asyncio.Runner(loop_factory=Clock) as runner:
        clock = runner.get_loop()
        assert isinstance(clock, Clock)
        runner.run(test(clock))


async def eventually(condition: Callable[[], object], limit_s: float = 10) -> None:
    """Wait until the condition holds; fail if it does not within the limit."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - the condition has no event to wait for
            await asyncio.sleep(0.005)


def url(port: int) -> str:
    return f"ws://127.0.0.1:{port}/chat?name=ann"


Connection: TypeAlias = HttpProtocol | HttpConnection | WebSocketProtocol


class Serving:
    """A running server: its port, and what it holds."""

    def __init__(self, server: uvicorn.Server) -> None:
        self.server = server
        self.connections = cast(
            "set[HttpProtocol | HttpConnection | WebSocketProtocol]", server.server_state.connections
        )
        self.tasks = server.server_state.tasks
        self.port: int = server.servers[0].sockets[0].getsockname()[1]

    async def empty(self) -> None:
        await eventually(lambda: not self.connections and not self.tasks)


@contextlib.asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[Serving]:
    defaults = {"http": HttpProtocol, "ws": WebSocketProtocol, "lifespan": "off", "log_level": "error", "port": 0}
    config = uvicorn.Config(app, **{**defaults, "log_config": None, **options})
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    await server.on_tick(0)
    served = Serving(server)
    try:
        yield served
    finally:
        if served.connections or served.tasks:
            await server.shutdown()
        for listener in server.servers:  # a server that holds nothing is not worth the half second of its shutdown
            listener.close()


class Echo:
    """A plain ASGI application that accepts, sends back what comes, and notes its events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.scopes: list[dict[str, Any]] = []

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.events.append(await receive())
        await send({"type": "websocket.accept"})
        while True:
            event = await receive()
            self.events.append(event)
            if event["type"] == "websocket.disconnect":
                return
            with contextlib.suppress(OSError):  # the client may have left, and events are still to come
                await send({"type": "websocket.send", **{key: event[key] for key in ("text", "bytes") if key in event}})

    @property
    def end(self) -> dict[str, Any] | None:
        return self.events[-1] if self.events and self.events[-1]["type"] == "websocket.disconnect" else None


def accepting(**extra: Any) -> Callable[[Any, Receive, Send], Awaitable[None]]:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", **extra})
        await receive()

    return app


def closer(code: int = 4000, reason: str = "enough") -> Callable[[Any, Receive, Send], Awaitable[None]]:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": code, "reason": reason})
        assert await receive() == {"type": "websocket.disconnect", "code": code, "reason": reason}
        assert await receive() == {"type": "websocket.disconnect", "code": code, "reason": reason}
        with pytest.raises(RuntimeError):
            await send({"type": "websocket.send", "text": "late"})

    return app


class DirectEcho:
    """An application on the direct path: its receivers send back each message and record their calls."""

    def __init__(self) -> None:
        self.receivers: list[EchoReceiver] = []

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        receiver = EchoReceiver(scope["extensions"][DIRECT]["socket"])
        self.receivers.append(receiver)
        receiver.socket.attach(receiver)
        receiver.calls.append(await receive())


class EchoReceiver:
    def __init__(self, socket: DirectSocket) -> None:
        self.socket = socket
        self.calls: list[Any] = []
        self.is_silent = False

    def received_texts(self, texts: list[bytes]) -> int:
        self.calls += texts
        for text in texts:
            if not self.is_silent:
                self.socket.send_text(text)
        return len(texts)

    def received_binary(self) -> None:
        self.calls.append("binary")
        self.socket.close(1003, "text only")

    def writable_again(self) -> None:
        self.calls.append("writable" if self.socket.is_writable else "full all the same")

    def closed(self, code: int) -> None:
        self.calls.append(code)

    @property
    def texts(self) -> list[bytes]:
        return [call for call in self.calls if isinstance(call, bytes)]

    @property
    def codes(self) -> list[int]:
        return [call for call in self.calls if isinstance(call, int)]


def mask(payload: bytes, key: bytes = KEY) -> bytes:
    keys = key * (len(payload) // 4 + 1)
    return (int.from_bytes(payload, "big") ^ int.from_bytes(keys[: len(payload)], "big")).to_bytes(len(payload), "big")


def frame(first: int, payload: bytes = b"", *, length: bytes | None = None, key: bytes = KEY) -> bytes:
    """Make a client's frame; `length` replaces its second byte and its extended length."""
    if length is None:
        size = len(payload)
        if size < 126:
            length = bytes((0x80 | size,))
        elif size < 65536:
            length = struct.pack("!BH", 0xFE, size)
        else:
            length = struct.pack("!BQ", 0xFF, size)
    return bytes((first,)) + length + key + mask(payload, key)


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(0x88, struct.pack("!H", code) + reason)


class Client:
    """A client that sends nothing by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int, head: bytes | None = HEAD + b"\r\n", early: bytes = b"") -> "Client":
        """Connect, and where a head is given, finish the opening handshake."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 26))
        if head is not None:
            client.send(head + early)
            answer = await client.head()
            assert answer.startswith(b"HTTP/1.1 101 "), answer
        return client

    @property
    def transport(self) -> asyncio.Transport:
        return cast("asyncio.Transport", self.writer.transport)  # of a socket, it reads as well

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """Return everything up to the end of the connection."""
        return await self.reader.read()

    async def frame(self) -> tuple[int, bytes]:
        """Return the first byte and the payload of the server's next frame."""
        first, size = await self.reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self.reader.readexactly(8), "big")
        return first, await self.reader.readexactly(size)

    async def close_code(self) -> int:
        """Skip to the server's close frame; return its code, 1005 for none."""
        first, payload = await self.frame()
        while first != 0x88:
            first, payload = await self.frame()
        return int.from_bytes(payload[:2], "big") if payload else 1005

    def cut(self) -> None:
        """Reset the connection."""
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


class RecordingSink:
    """A sink that records its calls. `do` is called at every text, and `n_turns` counts those that are over."""

    def __init__(self, max_bytes: int = 1 << 20, inflate_bits: int = 0) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.reader = FrameReader(self, max_bytes, inflate_bits)
        self.do: Callable[[], object] = lambda: None
        self.n_turns = 0

    def receive(self, data: bytes) -> None:
        """Let the reader read all of the data, in as many turns as it needs."""
        n_turns = self.n_turns
        self.reader.receive_data(data)
        while self.n_turns > n_turns:
            n_turns = self.n_turns
            self.reader.receive_data(b"")

    def on_turn_over(self) -> None:
        self.n_turns += 1

    def on_texts(self, payloads: list[bytes]) -> None:
        assert payloads
        for payload in payloads:
            assert type(payload) is bytes
            self.calls.append(("text", payload))
        self.do()

    def on_binary(self, payload: bytes) -> None:
        assert type(payload) is bytes
        self.calls.append(("binary", payload))

    def on_ping(self, payload: bytes) -> None:
        self.calls.append(("ping", payload))

    def on_close(self, code: int, reason: str) -> None:
        self.calls.append(("close", code, reason))

    def on_fault(self, code: int, reason: str) -> None:
        self.calls.append(("fault", code))


def parse(data: bytes, *cuts: int, max_bytes: int = 1 << 20, inflate_bits: int = 0) -> list[tuple[Any, ...]]:
    sink = RecordingSink(max_bytes, inflate_bits)
    for start, stop in zip((0, *cuts), (*cuts, len(data)), strict=True):
        sink.receive(data[start:stop])
    return sink.calls


def parse_bytewise(data: bytes, **options: int) -> list[tuple[Any, ...]]:
    return parse(data, *range(1, len(data)), **options)


def deflated(payload: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflater.compress(payload) + deflater.flush(flush)).removesuffix(b"\x00\x00\xff\xff")

"""Compare Litestar's channels and chatkit's: one client sends, and all clients receive in the background.

`python examples/compare_channels.py` starts one server after the other and prints deliveries per second. With
`--redis redis://127.0.0.1:6379`, the channels are streams in Redis; without it, they are in each server's memory.
"""

import argparse
import asyncio
import base64
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from litestar import Litestar, WebSocket
from litestar import channels as litestar_channels
from litestar.channels.backends.memory import MemoryChannelsBackend as LitestarMemoryBackend
from litestar.channels.backends.redis import RedisChannelsStreamBackend as LitestarRedisBackend
from litestar.exceptions import WebSocketDisconnect
from litestar.handlers import websocket_listener
from redis.asyncio import Redis

from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend, RedisChannelsStreamBackend

REDIS = os.environ.get("COMPARE_REDIS", "")
HISTORY = 100_000  # more than is sent at once: Litestar's backend delivers nothing beyond it
SIZE = 100  # bytes of each message
FRAME_BYTES = SIZE + 2  # RFC 6455: a payload this short has a header of two bytes
LIMIT_S = 120.0


@asynccontextmanager
async def subscription(
    socket: WebSocket[Any, Any, Any], channels: litestar_channels.ChannelsPlugin
) -> AsyncIterator[None]:
    async with channels.start_subscription("chat") as subscriber, subscriber.run_in_background(socket.send_data):
        await socket.accept()
        try:
            yield
        except WebSocketDisconnect:
            return


@websocket_listener("/ws", connection_lifespan=subscription)
async def receive(data: str, channels: litestar_channels.ChannelsPlugin) -> None:
    channels.publish(data, "chat")


def backend_of(in_memory: Any, in_redis: Any) -> Any:
    """Return a backend whose channels are separate from those of the other servers."""
    if not REDIS:
        return in_memory()
    return in_redis(HISTORY, redis=Redis.from_url(REDIS), key_prefix=f"COMPARE_{secrets.token_hex(4)}")


# Both applications are the same except for the imports.
litestar_channels_plugin = litestar_channels.ChannelsPlugin(
    backend_of(LitestarMemoryBackend, LitestarRedisBackend), channels=["chat"]
)
litestar_app = Litestar([receive], plugins=[litestar_channels_plugin], logging_config=None)
chatkit_channels_plugin = ChannelsPlugin(
    backend_of(MemoryChannelsBackend, RedisChannelsStreamBackend), channels=["chat"]
)
chatkit_app = Litestar([receive], plugins=[chatkit_channels_plugin], logging_config=None)

UVICORN = ["-m", "uvicorn", "--log-level", "error", "--port"]
CHATKIT = ["-m", "chatkit.cli", "serve", "--log-level", "error", "--port"]
CONTENDERS = [
    ("Litestar's channels on uvicorn", "litestar_app", UVICORN),
    ("Litestar's channels on chatkit serve", "litestar_app", CHATKIT),
    ("chatkit's channels on uvicorn", "chatkit_app", UVICORN),
    ("chatkit's channels on chatkit serve", "chatkit_app", CHATKIT),
]


class Reader(asyncio.Protocol):
    """A WebSocket client that only counts bytes, so that the servers are measured and not the client."""

    def __init__(self, expected_bytes: int, done: Callable[[], None]) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head = bytearray()
        self._left = expected_bytes
        self._done = done

    def connection_made(self, transport: Any) -> None:
        """Send the WebSocket handshake."""
        self.transport = transport
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        lines = [
            "GET /ws HTTP/1.1",
            "Host: 127.0.0.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
        ]
        transport.write("\r\n".join([*lines, "", ""]).encode())

    def data_received(self, data: bytes) -> None:
        """Count the received bytes."""
        if not self.opened.done():
            self._head += data
            head, end, data = bytes(self._head).partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise ConnectionError(head.decode())
            self.opened.set_result(None)
        self._left -= len(data)
        if self._left <= 0 < self._left + len(data):
            self._done()


def text_frames(count: int) -> bytes:
    """Return text frames as a client sends them, masked with zeros. Each message is its number, padded."""
    return b"".join(bytes((0x81, 0x80 | SIZE)) + b"\0\0\0\0" + b"%-*d" % (SIZE, number) for number in range(count))


async def measure(port: int, n_readers: int, n_messages: int) -> float:
    """Return the deliveries per second of `n_messages` to `n_readers`."""
    loop = asyncio.get_running_loop()
    n_left, finished = n_readers, asyncio.Event()

    def done() -> None:
        nonlocal n_left
        n_left -= 1
        if not n_left:
            finished.set()

    readers = [Reader(n_messages * FRAME_BYTES, done) for _ in range(n_readers)]
    for reader in readers:
        await loop.create_connection(lambda reader=reader: reader, "127.0.0.1", port)  # type: ignore[misc]
        await reader.opened
    start = time.perf_counter()
    readers[0].transport.write(text_frames(n_messages))
    async with asyncio.timeout(LIMIT_S):
        await finished.wait()
    elapsed_s = time.perf_counter() - start
    for reader in readers:
        reader.transport.abort()
    return n_readers * n_messages / elapsed_s


@contextmanager
def serving(app: str, command: list[str]) -> Iterator[int]:
    """Run a server of one of the applications."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    folder = Path(__file__).parent
    server = subprocess.Popen([sys.executable, *command, str(port), f"compare_channels:{app}"], cwd=folder)  # noqa: S603
    try:
        _wait_until_open(port, server)
        yield port
    finally:
        server.terminate()
        server.wait(30)


def _wait_until_open(port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise ConnectionError("the server did not start")


def main() -> None:
    """Measure all servers in one run, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--messages", type=int, default=2_000)
    parser.add_argument("--redis", default="", metavar="URL")
    options = parser.parse_args()
    os.environ["COMPARE_REDIS"] = options.redis
    first = 0.0
    for title, app, command in CONTENDERS:
        with serving(app, command) as port:
            rate = asyncio.run(measure(port, options.readers, options.messages))
        first = first or rate
        print(f"{title:40} {rate:12,.0f} deliveries/s {rate / first:8.1f} x")  # noqa: T201  # the result


if __name__ == "__main__":
    main()

"""Load a server with hostile connections, and measure its memory and the delay that an honest client notices.

`python tests/end_to_end/hostile.py [SECONDS] [CONNECTIONS]` runs it against a server of its own; the suite runs a short
version. Each hostile connection does one thing, as fast as it can, and connects again when it is closed.
"""

import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from serving import ServerProcess, serve

from chatkit.client import Client
from chatkit.core.model import Message
from chatkit.websocket.frames import client_frame

HOST = b"Host: 127.0.0.1\r\n"
PUBLISH_INTERVAL_S = 0.02  # of the honest client
MASK = bytes(4)


class Report(msgspec.Struct, frozen=True):
    """Memory in MiB before, at most during, and after the load, and the delays from publish to delivery in seconds."""

    before_mib: float
    most_mib: float
    after_mib: float
    delays_s: list[float]

    @property
    def p99_s(self) -> float:
        return statistics.quantiles(self.delays_s, n=100)[-1]


def get(target: bytes, headers: bytes = b"") -> bytes:
    return b"GET %s HTTP/1.1\r\n%s%s\r\n" % (target, HOST, headers)


def frame(first: int, payload: bytes) -> bytes:
    return bytes((first, 0x80 | len(payload))) + MASK + payload


def command(**fields: object) -> bytes:
    return client_frame(1, json.dumps(fields).encode())


def bomb() -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    text = b'{"op":"publish","room":"r","body":"' + b"x" * 780_000
    packed = (deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
    return bytes((0xC1, 0xFE)) + len(packed).to_bytes(2) + MASK + packed


HANDSHAKE = get(
    b"/ws?name=mallory",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chatkit.v1\r\n",
)
DEFLATE = HANDSHAKE[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
CHUNKED = b"POST /rooms/r/messages HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
ROOMS = (b"".join(command(op=op, room=f"r{n}") for op in ("join", "leave")) for n in itertools.count())

# What each kind sends at first, and then again and again; and whether it reads the answers.
KINDS: dict[str, tuple[bytes, Callable[[], bytes], bool]] = {
    "pipelined requests": (b"", lambda: get(b"/nope") * 500, True),
    "unread answers": (b"", lambda: get(b"/") * 50, False),
    "chunks of a byte": (CHUNKED, lambda: b"1\r\nx\r\n" * 5_000, True),
    "trailer fields": (CHUNKED + b"0\r\n", lambda: b"a: b\r\n" * 5_000, True),
    "a slow body": (CHUNKED, lambda: b"1\r\nx\r\n", True),
    "large cookies": (b"", lambda: get(b"/", b"Cookie: " + b'a="\\073' * 1_900 + b"\r\n"), True),
    "lists of rooms": (b"", lambda: get(b"/rooms"), True),
    "abandoned searches": (get(b"/rooms/r/messages?search=nothing"), lambda: b"", False),
    "joins and leaves": (HANDSHAKE, lambda: next(ROOMS), True),
    "garbage": (HANDSHAKE, lambda: client_frame(1, b"[" * 60_000), True),
    "pings": (HANDSHAKE, lambda: frame(0x89, b"x") * 5_000, True),
    "unread pongs": (HANDSHAKE, lambda: frame(0x89, b"x" * 100) * 500, False),
    "empty fragments": (HANDSHAKE + frame(0x01, b""), lambda: frame(0x00, b"") * 5_000, True),
    "compressed bombs": (DEFLATE, lambda: bomb() * 10, True),
    "typing": (HANDSHAKE, lambda: command(op="typing", room="r") * 500, True),
    "unread commands": (HANDSHAKE, lambda: command(op="ping", ref="x" * 500) * 500, False),
    "long refs": (HANDSHAKE, lambda: command(op="publish", room="r", body="x", ref="x" * 60_000), True),
}  # fmt: skip


async def attack(port: int, kind: str) -> None:
    """Do one thing again and again until cancelled."""
    first, more, reads = KINDS[kind]
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            reading = asyncio.create_task(drain(reader) if reads else asyncio.sleep(60))
            try:
                writer.write(first)
                async with asyncio.timeout(1 if kind == "abandoned searches" else 10):
                    while not (reads and reading.done()):
                        writer.write(more())
                        await writer.drain()
                        await asyncio.sleep(1 if kind == "a slow body" else 0.005)
            except TimeoutError:
                pass
            finally:
                reading.cancel()
                writer.transport.abort()
        await asyncio.sleep(0.05)


async def drain(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(1 << 20):
            pass


async def measure_delays(url: str, seconds: float) -> list[float]:
    """Publish as an honest client, and return the time until each message is delivered to another."""
    delays: list[float] = []
    async with (
        Client(url, "ann") as sender,
        Client(url, "bob") as reader,
        aclosing(reader.follow("honest")) as items,
        aclosing(received(items)) as arriving,
    ):
        for _ in range(3):  # the first are not measured: both connect
            await publish_and_wait(sender, arriving)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            delays.append(await publish_and_wait(sender, arriving))
            await asyncio.sleep(PUBLISH_INTERVAL_S)
    return delays


async def received(items: AsyncIterator[object]) -> AsyncGenerator[str, None]:
    async for item in items:
        if isinstance(item, Message):
            yield item.body


async def publish_and_wait(sender: Client, arriving: AsyncIterator[str]) -> float:
    began = time.monotonic()
    body = str(began)
    publishing = asyncio.create_task(sender.publish("honest", body))
    while await anext(arriving) != body:
        pass
    delay = time.monotonic() - began
    await publishing
    return delay


def memory_mib(pid: int) -> float:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


async def attack_forever(port: int, n_connections: int) -> None:
    async with asyncio.TaskGroup() as tasks:
        for _, kind in zip(range(n_connections), itertools.cycle(KINDS), strict=False):
            tasks.create_task(attack(port, kind))


async def measure(server: ServerProcess, seconds: float, n_connections: int) -> Report:
    """Attack a server for some time, from another process: this one is the honest client."""
    before = most = memory_mib(server.pid)
    command = [sys.executable, __file__, "--attack", str(server.port), str(n_connections)]
    attacker = await asyncio.create_subprocess_exec(*command)
    try:
        measuring = asyncio.create_task(measure_delays(server.url, seconds))
        while not measuring.done():
            most = max(most, memory_mib(server.pid))
            await asyncio.sleep(0.1)
    finally:
        attacker.kill()
        await attacker.wait()
    await asyncio.sleep(min(30.0, seconds))
    return Report(before, most, memory_mib(server.pid), measuring.result())


def main(seconds: float = 60, n_connections: int = 200) -> None:
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "rooms.db") as server:
        report = asyncio.run(measure(server, seconds, n_connections))
        assert "Traceback" not in server.log, server.log
    median_ms, p99_ms = statistics.median(report.delays_s) * 1_000, report.p99_s * 1_000
    sys.stdout.write(
        f"{n_connections} hostile connections for {seconds:.0f} s, load average {os.getloadavg()[0]:.1f}\n"
        f"memory: {report.before_mib:.0f} MiB, at most {report.most_mib:.0f}, then {report.after_mib:.0f}\n"
        f"publish to delivery: {len(report.delays_s)} messages, median {median_ms:.0f} ms, p99 {p99_ms:.0f} ms\n"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--attack"]:
        asyncio.run(attack_forever(int(sys.argv[2]), int(sys.argv[3])))
    else:
        given = dict(enumerate(sys.argv))
        main(float(given.get(1, 60)), int(given.get(2, 200)))

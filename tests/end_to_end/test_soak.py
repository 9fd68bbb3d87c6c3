"""Twenty thousand messages while fifty clients of every kind reconnect: each receives all messages in order."""

import asyncio
import json
import random
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from raw_client import Talk, call, eventually, handshake, health, run
from serving import ServerProcess, serve

N_MESSAGES = 20_000
WINDOW = 400  # messages under way at once
WITHIN_S = 120.0

# What of a message is looked at: enough to see that it is there, and cheap enough for a million of them.
_SEQ = re.compile(rb'"seq":(\d+),"time":"[^"]*","sender":"pub","body":"\1"[,}]')
_NUMBERS = [b"%d" % number for number in range(1, N_MESSAGES + 1)]


class Visitor(ABC):
    """Comes, reads a while, leaves, politely or not, and comes again behind what it has seen."""

    def __init__(self, server: ServerProcess, epoch: str, seed: int) -> None:
        self.n_seen = 0
        self.n_visits = 0
        self._server = server
        self._epoch = epoch
        self._chance = random.Random(seed)

    @property
    def cursor(self) -> str:
        return f"{self._epoch}:{self.n_seen}"

    @abstractmethod
    async def visit(self, n_messages: int) -> None:
        """See about so many messages more."""

    async def stay(self) -> None:
        while self.n_seen < N_MESSAGES:
            self.n_visits += 1
            await self.visit(self._chance.choice([1, 30, 300, 3_000]))

    def see(self, got: bytes) -> int:
        """Count the messages in what came; return where the last whole one of them ends."""
        found = _SEQ.findall(got)
        first, self.n_seen = self.n_seen, self.n_seen + len(found)
        assert found == _NUMBERS[first : self.n_seen], f"{type(self).__name__} at {first} got {found}"
        last = b'"body":"%d"' % self.n_seen
        return got.rindex(last) + len(last) if found else 0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        try:
            yield reader, writer
        finally:
            if self._chance.random() < 0.5:
                writer.transport.abort()
            else:
                writer.close()

    async def read_stream(self, request: bytes, n_messages: int) -> None:
        goal = min(self.n_seen + n_messages, N_MESSAGES)
        async with self.opened() as (reader, writer):
            writer.write(request)
            got = b""
            while self.n_seen < goal:
                chunk = await reader.read(1 << 18)
                assert chunk, f"the server hung up: {got[:200]!r}"
                got += chunk
                got = got[self.see(got) :]


class WebSocketVisitor(Visitor):
    async def visit(self, n_messages: int) -> None:
        await self.read_stream(
            handshake(f"/ws/soak?after={self.cursor}&name=v", "Sec-WebSocket-Protocol: chatkit.v1"), n_messages
        )


class PlainVisitor(Visitor):
    async def visit(self, n_messages: int) -> None:
        await self.read_stream(handshake(f"/ws/soak?after={self.cursor}&format=json"), n_messages)


class EventsVisitor(Visitor):
    async def visit(self, n_messages: int) -> None:
        head = f"GET /rooms/soak/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {self.cursor}\r\n\r\n"
        await self.read_stream(head.encode(), n_messages)


class PollingVisitor(Visitor):
    """Asks for the next page, by the cursor of the page before."""

    async def visit(self, n_messages: int) -> None:
        cursor = self.cursor
        async with self.opened() as (reader, writer):
            for _ in range(5):
                path = f"/rooms/soak/messages?after={cursor}&limit={min(n_messages, 1_000)}"
                writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 "), head
                length = re.search(rb"content-length: (\d+)", head)
                assert length is not None
                body = await reader.readexactly(int(length[1]))
                self.see(body)
                cursor = json.loads(body)["cursor"]
                assert cursor == self.cursor
        await asyncio.sleep(self._chance.random() * 0.05)


KINDS: list[type[Visitor]] = [
    *[WebSocketVisitor] * 20, *[PlainVisitor] * 10, *[EventsVisitor] * 10, *[PollingVisitor] * 10,
]  # fmt: skip


async def publish_all(server: ServerProcess) -> None:
    async with Talk.open(server, "/ws?name=pub") as talk:
        n_acknowledged = 0
        for number in range(1, N_MESSAGES + 1):
            await talk.send(op="publish", room="soak", body=str(number), ref=number)
            while number - n_acknowledged >= WINDOW:
                n_acknowledged = (await talk.until("ack"))["seq"]
        while n_acknowledged < N_MESSAGES:
            n_acknowledged = (await talk.until("ack"))["seq"]


def test_reconnecting_clients_of_every_kind_receive_each_message_once_in_order(tmp_path: Path) -> None:
    async def test(server: ServerProcess) -> list[Visitor]:
        room: dict[str, Any] = call(server, "GET", "/rooms/soak").json
        epoch = room["cursor"].partition(":")[0]
        visitors = [kind(server, epoch, seed) for seed, kind in enumerate(KINDS)]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publish_all(server))
            for visitor in visitors:
                tasks.create_task(visitor.stay())
        return visitors

    with serve(tmp_path / "rooms.db", "--rate-limit", "0") as server:
        visitors = run(test(server), within_s=WITHIN_S)
        assert [visitor.n_seen for visitor in visitors] == [N_MESSAGES] * len(KINDS)
        assert min(visitor.n_visits for visitor in visitors) > 3
        eventually(lambda: [health(server)[name] for name in ("connections", "rooms", "subscriptions")] == [0, 0, 0])
        assert health(server)["status"] == "ok"
        assert "Traceback" not in server.log, server.log

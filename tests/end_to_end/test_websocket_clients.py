"""WebSockets with clients of other projects: Python's `aiohttp` and `websocket-client`, and Node's `ws`.

Each loses its connection and resumes by its cursor, in plain text and in `chatkit.v1`.
"""

import asyncio
import json
import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
import websocket
from raw_client import publish
from serving import ServerProcess, serve

from chatkit.wire.protocol import SUBPROTOCOL

TREE = Path(__file__).parents[2]
Texts = Iterator[str]


class Feed:
    """The messages that a client received, and the cursor from which it continues."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._epoch = ""
        self._cursor = ""

    @property
    def start(self) -> dict[str, Any]:
        return {"after": self._cursor} if self._cursor else {"history": 9}

    def read(self, texts: Texts, last: int) -> None:
        """Read up to the message `last`."""
        while last not in self.numbers:
            event = json.loads(next(texts))
            if event.get("type") == "joined":
                self._epoch = event["cursor"].partition(":")[0]
            elif "seq" in event:
                self.numbers.append(event["seq"])
                self._cursor = event.get("cursor") or f"{self._epoch}:{event['seq']}"


@contextmanager
def with_websocket_client(url: str, subprotocol: str | None, command: str | None) -> Iterator[Texts]:
    socket = websocket.create_connection(url, timeout=20, subprotocols=[subprotocol] if subprotocol else None)
    if command:
        socket.send(command)
    yield iter(lambda: str(socket.recv()), None)
    socket.shutdown()  # type: ignore[no-untyped-call]  # closes without a close frame


@contextmanager
def with_node(url: str, subprotocol: str | None, command: str | None) -> Iterator[Texts]:
    words = ["node", str(TREE / "tests/support/peers/websocket.mjs"), url, subprotocol or "", command or ""]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TREE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield map(json.loads, process.stdout)
        process.kill()


@contextmanager
def with_aiohttp(url: str, subprotocol: str | None, command: str | None) -> Iterator[Texts]:
    async def texts() -> AsyncGenerator[str, None]:
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(url, protocols=[subprotocol] if subprotocol else ())
            if command:
                await socket.send_str(command)
            try:
                while True:
                    yield await socket.receive_str(timeout=20)
            finally:
                assert session.connector is not None
                await session.connector.close()  # without a close frame

    with asyncio.Runner() as runner:
        received = texts()

        async def receive() -> str:
            return await anext(received)

        yield iter(lambda: runner.run(receive()), None)
        runner.run(received.aclose())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("clients") / "rooms.db") as started:
        yield started


@pytest.mark.parametrize("client", [with_websocket_client, with_node, with_aiohttp])
@pytest.mark.parametrize("is_json", [True, False], ids=["chatkit.v1", "text"])
def test_a_client_resumes_without_loss_or_repetition(server: ServerProcess, client: Any, is_json: bool) -> None:
    room = f"{client.__name__}-{is_json}"
    feed = Feed()
    for last in (3, 6, 9):
        for number in range(last - 2, last + 1):
            assert publish(server, room, f"m{number}").json["seq"] == number
        url = f"{server.ws_url}/ws" if is_json else f"{server.ws_url}/ws/{room}?{urlencode(feed.start)}&format=json"
        command = json.dumps({"op": "join", "room": room, **feed.start}) if is_json else None
        with client(url, SUBPROTOCOL if is_json else None, command) as texts:
            feed.read(texts, last)
            assert publish(server, f"{room}-other", "noise").status == 201
    assert feed.numbers == list(range(1, 10))

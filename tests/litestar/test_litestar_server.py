"""Channels on `chatkit serve`: the direct path, and clients that stall or disconnect."""

import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import stores
from raw_client import eventually
from serving import clean_environment, free_port
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_socket

LIMIT_S = 20.0  # only a hanging test takes this long


class Server:
    """The test application, served by `chatkit serve`."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self, path: str) -> ClientConnection:
        return open_socket(f"ws://127.0.0.1:{self.port}{path}", compression=None, max_size=None)

    def post(self, path: str) -> None:
        with urlopen(Request(f"http://127.0.0.1:{self.port}{path}", method="POST"), timeout=LIMIT_S):
            pass

    @property
    def state(self) -> dict[str, Any]:
        with urlopen(f"http://127.0.0.1:{self.port}/state", timeout=LIMIT_S) as response:
            found: dict[str, Any] = json.loads(response.read())
            return found

    def until(self, **expected: int) -> None:
        """Wait until the state is as expected."""
        deadline = time.monotonic() + LIMIT_S
        while (state := self.state) | expected != state:
            assert time.monotonic() < deadline, state
            time.sleep(0.01)


@pytest.fixture(scope="module", params=[str, stores.redis], ids=["memory", "redis"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log"
    port = free_port()
    url = request.param()
    env = clean_environment({"PYTHONPATH": str(Path(stores.__file__).parent), "CHANNELS": url})
    command = [sys.executable, "-m", "chatkit.cli", "serve", "channels_app:app", "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=env)
    try:
        while "Press Ctrl-C" not in log.read_text():
            assert process.poll() is None, log.read_text()
        yield Server(port)
    finally:
        process.terminate()
        assert process.wait(LIMIT_S) == 0
    assert "Traceback" not in log.read_text()


def numbers(count: int, size: int = 10) -> list[str]:
    return [f"{number:<{size}}" for number in range(count)]


def receive_events(client: ClientConnection, count: int) -> list[str | bytes]:
    return [client.recv(LIMIT_S) for _ in range(count)]


def test_events_in_the_background_use_the_direct_path(server: Server) -> None:
    with server.connect("/background/a") as one, server.connect("/background/a") as two:
        server.until(readers=2, direct=2)
        server.post("/publish/a?count=5000")
        assert receive_events(one, 5000) == receive_events(two, 5000) == numbers(5000)
        one.send("echo")
        assert receive_events(one, 1) == ["echo"]
    server.until(readers=0, rooms=0)


def test_payloads_that_are_not_text_are_sent_as_binary_messages(server: Server) -> None:
    with server.connect("/background/b") as client:
        server.until(direct=1)
        server.post("/publish-binary/b")
        assert receive_events(client, 2) == [b"\xff\x00\xfe", "text"]
    with server.connect("/bytes") as client:
        server.until(readers=1, direct=1)
        server.post("/publish-binary/bytes")
        assert receive_events(client, 2) == [b"\xff\x00\xfe", b"text"]


def test_a_middleware_sees_every_event(server: Server) -> None:
    with server.connect("/overheard") as client:
        server.until(readers=1, direct=0)
        server.post("/publish/overheard?count=3")
        assert receive_events(client, 3) == numbers(3)
    assert server.state["overheard"] == numbers(3)


def test_a_stalled_reader_delays_no_other_and_then_receives_everything(server: Server) -> None:
    stalled = _raw(server.port, "/background/c")
    with server.connect("/background/c") as client:
        server.until(readers=2, direct=2)
        server.post("/publish/c?count=3000&size=10000")
        assert receive_events(client, 3000) == numbers(3000, 10_000)
        assert _payloads(stalled, 3000) == [text.encode() for text in numbers(3000, 10_000)]
        assert server.state["missed"] == 0
    stalled.close()
    server.until(readers=0, rooms=0)


def test_a_client_cut_off_with_unsent_events_leaves_nothing_behind(server: Server) -> None:
    server.until(readers=0, rooms=0)
    n_tasks = server.state["tasks"]  # or fewer, if something of the tests before is still ending
    for _ in range(5):
        client = _raw(server.port, "/background/d")
        server.until(readers=1)
        server.post("/publish/d?count=2000&size=10000")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        client.close()
        server.until(readers=0)
    server.until(readers=0, rooms=0)
    eventually(lambda: server.state["tasks"] <= n_tasks)


def test_a_handler_that_only_sends_ends_after_its_client_disconnects(server: Server) -> None:
    with server.connect("/send-only/e"):
        server.until(readers=1, direct=1)
    deadline = time.monotonic() + LIMIT_S
    while server.state["readers"]:
        server.post("/publish/e?count=1")
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _raw(port: int, path: str) -> socket.socket:
    """Open a WebSocket that reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    client.settimeout(LIMIT_S)
    client.connect(("127.0.0.1", port))
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ]
    client.sendall("\r\n".join([*lines, "", ""]).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    assert head.startswith(b"HTTP/1.1 101")
    return client


def _payloads(client: socket.socket, count: int) -> list[bytes]:
    """Read this many text frames of 126 to 65535 bytes."""
    with client.makefile("rb") as file:
        found = []
        for _ in range(count):
            first, _, size = struct.unpack("!BBH", file.read(4))
            assert first == 0x81
            found.append(file.read(size))
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
    return found

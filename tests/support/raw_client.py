"""Minimal clients for tests of the server: HTTP calls, `chatkit.v1` sessions, streams, and raw bytes on a socket."""

import asyncio
import http.client
import itertools
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect

WITHIN_S = 20.0  # far beyond a working call, far below the limit of a test run


class Place(Protocol):
    """The address of a server."""

    @property
    def url(self) -> str: ...
    @property
    def ws_url(self) -> str: ...


class Answer(msgspec.Struct, frozen=True):
    """The response to an HTTP call; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> tuple[int, str]:
        """The status and code of an error, which has the form that all errors have."""
        assert self.headers["content-type"] == "application/problem+json", self
        found = self.json
        assert found["status"] == self.status
        assert found["title"]
        assert found["detail"] not in {"", found["title"]}  # a sentence that says more than the status
        return self.status, found["code"]


def call(place: Place, method: str, path: str, body: bytes | str | None = None, **headers: str) -> Answer:
    """Make one HTTP call. A header's name is given with underscores; `Host` and `Content-Type` only if given."""
    connection = http.client.HTTPConnection(str(urlsplit(place.url).netloc), timeout=WITHIN_S)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body.encode() if isinstance(body, str) else body, named)
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def get(place: Place, path: str, **headers: str) -> Answer:
    return call(place, "GET", path, **headers)


def publish(place: Place, room: str, body: str, **fields: Any) -> Answer:
    """Publish over HTTP as JSON."""
    sent = json.dumps({"body": body, **fields})
    return call(place, "POST", f"/rooms/{room}/messages", sent, Content_Type="application/json")


def health(place: Place, **headers: str) -> dict[str, Any]:
    return dict(call(place, "GET", "/health", **headers).json)


def whole_room(place: Place, room: str) -> list[dict[str, Any]]:
    """Read a room from its beginning to its end."""
    messages: list[dict[str, Any]] = []
    while page := call(place, "GET", f"/rooms/{room}/messages?limit=1000&after={len(messages)}").json["messages"]:
        messages += page
    assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))
    return messages


def is_idle(place: Place) -> bool:
    """Return whether no client is connected and nothing of earlier clients is left."""
    counts = health(place)
    return [counts[name] for name in ("connections", "rooms", "subscriptions")] == [0, 0, 0]


def eventually(condition: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """Wait until the condition holds; fail if it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        time.sleep(0.02)


def run(test: Coroutine[Any, Any, Any], within_s: float = 60.0) -> Any:
    """Run an asynchronous test to its end."""

    async def limited() -> Any:
        async with asyncio.timeout(within_s):
            return await test

    return asyncio.run(limited())


@asynccontextmanager
async def open_socket(place: Place, path: str, **options: Any) -> AsyncIterator[ClientConnection]:
    """Open a WebSocket without a subprotocol, unless one is asked for."""
    # A client with a full queue does not notice the end of its connection.
    options = {"compression": None, "max_size": None, "max_queue": None, **options}
    async with connect(f"{place.ws_url}{path}", proxy=None, open_timeout=WITHIN_S, **options) as opened:
        yield opened


class Talk:
    """A client session of `chatkit.v1`."""

    def __init__(self, opened: ClientConnection) -> None:
        self.socket = opened
        self._refs = itertools.count(1)

    @classmethod
    @asynccontextmanager
    async def open(cls, place: Place, path: str = "/ws", **options: Any) -> AsyncIterator[Self]:
        async with open_socket(place, path, subprotocols=["chatkit.v1"], **options) as opened:
            yield cls(opened)

    async def send(self, **command: Any) -> None:
        await self.socket.send(json.dumps(command))

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(WITHIN_S):
            return dict(json.loads(await self.socket.recv()))

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Receive until an event of this type with these fields arrives; return it."""
        while True:
            event = await self.receive()
            if event["type"] == kind and fields.items() <= event.items():
                return event

    async def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command and receive until its answer arrives; return the answer."""
        ref = next(self._refs)
        await self.send(**command, ref=ref)
        while True:
            event = await self.receive()
            if event.get("ref") == ref:
                return event

    async def bodies(self, count: int) -> list[str]:
        return [(await self.until("message"))["body"] for _ in range(count)]


@asynccontextmanager
async def bystander(place: Place, room: str = "square") -> AsyncIterator[None]:
    """Keep a client in a room, and check afterwards that it still sends and receives each message once."""
    async with Talk.open(place, f"/ws/{room}?name=bystander&history=0") as talk:
        before = (await talk.until("joined"))["last"]
        yield
        answer = await talk.ask(op="history", limit=1)
        last = answer["messages"][-1]["seq"] if answer["messages"] else before
        await talk.send(op="publish", body="still here")
        assert (await talk.until("message", body="still here"))["seq"] == last + 1


@contextmanager
def raw(place: Place, *, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    """Open a TCP connection to the server, with a small buffer for what comes if one is given."""
    at = urlsplit(place.url)
    with socket.socket() as opened:
        if receive_buffer is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        opened.settimeout(WITHIN_S)
        opened.connect((at.hostname, at.port))
        yield opened


def handshake(path: str, *headers: str) -> bytes:
    """Return a WebSocket's opening request."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def read_head(opened: socket.socket) -> tuple[bytes, bytes]:
    """Read up to the empty line that ends a head; return the head and the bytes after it."""
    got = b""
    while b"\r\n\r\n" not in got:
        chunk = opened.recv(4096)
        if not chunk:
            break
        got += chunk
    head, _, rest = got.partition(b"\r\n\r\n")
    return head, rest


def read_all(opened: socket.socket) -> bytes:
    """Read until the server closes or resets the connection."""
    got = b""
    try:
        while chunk := opened.recv(65_536):
            got += chunk
    except ConnectionResetError:
        pass
    return got


class Lines:
    """The lines of a streamed response, read as they arrive."""

    def __init__(self, opened: socket.socket, head: bytes) -> None:
        self.head = head
        self._file = opened.makefile("rb")

    def next(self) -> str:
        """Return the next line of the decoded body, without its line end."""
        return next(self._lines)

    @property
    def _lines(self) -> Iterator[str]:
        if not hasattr(self, "_iterator"):
            self._iterator = self._read()
        return self._iterator

    def _read(self) -> Iterator[str]:
        kept = b""
        while size := int(self._file.readline().strip() or b"0", 16):
            kept += self._file.read(size)
            self._file.readline()
            *whole, kept = kept.split(b"\n")
            for line in whole:
                yield line.decode()
        yield from ([kept.decode()] if kept else [])

    def close(self) -> None:
        """Release the socket; it closes with its last user."""
        self._file.close()

    def events(self) -> Iterator[dict[str, str]]:
        """Parse server-sent events, including comments. The keys are the field names."""
        event: dict[str, str] = {}
        for line in self._lines:
            if line:
                name, _, value = line.partition(":")
                event[name] = value.removeprefix(" ")
            else:
                yield event
                event = {}


@contextmanager
def stream(place: Place, path: str, *headers: str) -> Iterator[Lines]:
    """Open a streamed answer."""
    with raw(place) as opened:
        opened.sendall("\r\n".join([f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = opened.recv(1)
            assert byte, head
            head += byte
        lines = Lines(opened, head)
        try:
            yield lines
        finally:
            lines.close()

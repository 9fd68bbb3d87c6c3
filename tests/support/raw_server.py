"""A server on loopback that sends whatever bytes a test wants, and what it received; and an HTTP proxy in front of any.

Both run in the event loop of the test.
"""

import asyncio
import base64
import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from chatkit.pytest_plugin.accepting import accepting

WELCOME: dict[str, Any] = {
    "type": "welcome",
    "name": "ann",
    "server": "0.1",
    "limits": {"body": 65_536, "history": 1_000},
}
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class RawServer:
    """`respond` gets the head of each request and returns the bytes to answer; `heads` are the heads received.

    After a WebSocket's handshake, `replies` are sent, each behind the next bytes that the client sends. Then every
    connection is closed, a WebSocket after `lasts_s`.
    """

    def __init__(self, respond: Callable[[str], bytes], replies: Sequence[bytes] = (), lasts_s: float = 0.05) -> None:
        self.heads: list[str] = []
        self.port = 0
        self._respond = respond
        self._replies = replies
        self._lasts_s = lasts_s
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["RawServer"]:
        async with accepting(self._serve, ssl=tls) as self.port:
            yield self
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self.serve_request(reader, writer)
            writer.close()
        except asyncio.CancelledError:  # not raised again: Python 3.11's streams log it as an error
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def serve_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        length = header(head, "Content-Length")
        await reader.readexactly(int(length) if length else 0)
        answer = self._respond(head)
        writer.write(answer)
        await writer.drain()
        if not answer.startswith(b"HTTP/1.1 101"):
            return
        for reply in self._replies:
            if not await reader.read(65_536):
                return
            writer.write(reply)
            await writer.drain()
        await asyncio.sleep(self._lasts_s)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Copy in both directions between a client and a port of this machine."""
    server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer))


@asynccontextmanager
async def connect_proxy(target_port: int, refuse_with: int | None = None) -> AsyncIterator[tuple[int, list[str]]]:
    """Run an HTTP proxy that connects every CONNECT to one port; yield its own port and the heads it received."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
        if refuse_with is not None:
            writer.write(f"HTTP/1.1 {refuse_with} No\r\nContent-Length: 0\r\n\r\n".encode())
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await _join(reader, writer, target_port)

    async with accepting(serve) as port:
        yield port, heads


@asynccontextmanager
async def socks_proxy(target_port: int, reply: int = 0) -> AsyncIterator[tuple[int, list[Any]]]:
    """Run a SOCKS5 proxy (RFC 1928, 1929) that connects to one port, or replies with the number of an error.

    Yield its own port, and a list of the user name, password, host and port that each client asked for.
    """
    asked: list[Any] = []

    async def text(reader: asyncio.StreamReader) -> str:
        return (await reader.readexactly((await reader.readexactly(1))[0])).decode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, n_methods = await reader.readexactly(2)
        has_login = 2 in await reader.readexactly(n_methods)
        writer.write(bytes((5, 2 if has_login else 0)))
        user = password = None
        if has_login:
            await reader.readexactly(1)
            user, password = await text(reader), await text(reader)
            writer.write(b"\x01\x00")
        _, _, _, kind = await reader.readexactly(4)
        host = await text(reader) if kind == 3 else ".".join(map(str, await reader.readexactly(4)))
        asked.append((user, password, host, int.from_bytes(await reader.readexactly(2))))
        writer.write(bytes((5, reply, 0, 1)) + bytes(6))
        if reply:
            writer.close()
        else:
            await _join(reader, writer, target_port)

    async with accepting(serve) as port:
        yield port, asked


def header(head: str, name: str) -> str | None:
    """Return the value of a header of a request."""
    lines = (line.partition(":") for line in head.split("\r\n")[1:])
    return next((value.strip() for key, _, value in lines if key.lower() == name.lower()), None)


def answer(status: int, body: Any, *headers: str) -> bytes:
    """Return an HTTP answer with a body of JSON, or of the bytes given."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + content


def handshake(head: str, *events: Any) -> bytes:
    """Return the answer that accepts a WebSocket, and the first events behind it."""
    key = (header(head, "Sec-WebSocket-Key") or "") + _GUID
    accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
        "Sec-WebSocket-Protocol: chatkit.v1",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + b"".join(map(event_frame, events))


def event_frame(event: Any) -> bytes:
    """Return an event as a text frame; bytes are sent as they are."""
    payload = event if isinstance(event, bytes) else json.dumps(event).encode()
    size = len(payload)
    if size < 126:
        return bytes([0x81, size]) + payload
    if size < 65_536:
        return bytes([0x81, 126]) + size.to_bytes(2) + payload
    return bytes([0x81, 127]) + size.to_bytes(8) + payload

"""PostConnection: posts JSON to one address over a kept HTTP/1.1 connection, one request at a time.

It does as little as possible, so that the server sets the pace. All failures are raised as `ChatkitError`s;
`Unavailable` if a retry may help.
"""

import asyncio
import re
from typing import Final, cast

from chatkit.bench.load.websocket_client import OPEN_TIMEOUT_S, ServerAddress
from chatkit.client.connect import no_answer
from chatkit.client.errors import refusal_of_response
from chatkit.errors import ChatkitError, Unavailable

MAX_ANSWER_BYTES: Final = 1 << 20  # twice a message with the largest body, all of it escaped

_END_OF_HEAD: Final = b"\r\n\r\n"
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3})")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d{1,9})\r\n", re.IGNORECASE)


class PostConnection(asyncio.Protocol):
    """Posts to `path` of a server, with these query parameters. A lost connection is opened again by the next post."""

    def __init__(self, address: ServerAddress, path: str, **query: str) -> None:
        at = self._endpoint = address.endpoint
        self._address = address
        headers = {"Host": at.authority, **at.headers, "Content-Type": "application/json"}
        lines = [f"POST {at.target(path, **query)} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
        self._head = "\r\n".join([*lines, "Content-Length: "]).encode()
        self._transport: asyncio.Transport | None = None  # while it is connected
        self._answer: asyncio.Future[bytes] | None = None  # the body of the answer that `post` waits for
        self._received = b""

    async def post(self, body: bytes) -> bytes:
        """Post a body and return that of the answer. Raise the error with which the server refuses it."""
        if self._transport is None:
            await self._connect()
        if self._transport is None:
            raise Unavailable("the connection was lost")
        self._received = b""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        return await self._answer

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # The transports of uvloop have the same interface, but another class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Wait for the end of the answer."""
        self._received += data
        head, end, body = self._received.partition(_END_OF_HEAD)
        if not end:
            if len(head) > MAX_ANSWER_BYTES:
                self._fail(ChatkitError("the server's answer is too long"))
            return
        status, length = _STATUS.match(head), _LENGTH.search(head + b"\r\n")
        if status is None or length is None or int(length[1]) > MAX_ANSWER_BYTES:
            self._fail(
                ChatkitError("the server's answer is not one of HTTP/1.1 with a Content-Length of at most 1 MiB")
            )
        elif len(body) >= int(length[1]):
            self._on_answer(int(status[1]), body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the post in progress, which may be stored or not."""
        self._transport = None
        self._fail(no_answer(self._endpoint, exc or ConnectionError("the connection was lost")))

    async def _connect(self) -> None:
        at, loop = self._endpoint, asyncio.get_running_loop()
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await loop.create_connection(lambda: self, at.host, at.port, ssl=self._address.tls)
        except (OSError, TimeoutError) as error:
            raise no_answer(at, error) from error

    def _on_answer(self, status: int, body: bytes) -> None:
        if not 200 <= status < 300:
            self._fail(refusal_of_response(status, body))
        elif self._answer is not None and not self._answer.done():
            self._answer.set_result(body)

    def _fail(self, error: ChatkitError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

"""Opens one raw WebSocket: `websockets` does the handshake, and the given protocol everything after it.

All failures are raised as `ChatkitError`s; `Unavailable` and `RateLimited` if a retry may help.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import cast

import msgspec
from websockets.client import ClientProtocol
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from chatkit.client.connect import REDIRECT_STATUSES, no_answer, proxy_for, tls_context
from chatkit.client.endpoint import Endpoint
from chatkit.client.errors import refusal_of_response
from chatkit.errors import BadRequest, ChatkitError
from chatkit.wire.protocol import SUBPROTOCOL

OPEN_TIMEOUT_S = 30.0  # thousands connect at once, and the last one waits for all others

MAX_HEAD_BYTES = 65_536

_END_OF_HEAD = b"\r\n\r\n"


class ServerAddress(msgspec.Struct, frozen=True):
    """A server's address, prepared for many connections."""

    endpoint: Endpoint
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, endpoint: Endpoint) -> "ServerAddress":
        """Make the address of an endpoint. Raise `BadRequest` where it would be reached through a proxy."""
        proxy = proxy_for(endpoint)
        if proxy is not None:
            raise BadRequest(
                f"{endpoint.url} is reached through the proxy {proxy.public_url}, which the benchmark would measure:"
                " name the server in no_proxy"
            )
        return cls(endpoint, tls_context() if endpoint.is_secure else None)

    async def open(self, path: str, query: Mapping[str, str | int], protocol: asyncio.Protocol) -> None:
        """Connect, and pass the socket to the protocol once the server has agreed to `chatkit.v1`."""
        at = self.endpoint
        opening = ClientHandshake(at, at.target(path, **query), protocol)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                transport, _ = await loop.create_connection(lambda: opening, at.host, at.port, ssl=self.tls)
                try:
                    await opening.opened
                except BaseException:
                    transport.abort()
                    raise
        except (OSError, TimeoutError) as error:
            raise no_answer(at, error) from error


class ClientHandshake(asyncio.Protocol):
    """A connection during its handshake. `opened` is done when the other protocol takes over, or fails."""

    def __init__(self, endpoint: Endpoint, target: str, protocol: asyncio.Protocol) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._endpoint = endpoint
        self._protocol = protocol
        path, _, query = target.partition("?")
        uri = WebSocketURI(endpoint.is_secure, endpoint.host, endpoint.port, path, query)
        self._handshake = ClientProtocol(uri, subprotocols=[Subprotocol(SUBPROTOCOL)])
        self._received = b""
        self._has_head = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        # The transports of uvloop have the same interface, but another class.
        self._transport = cast("asyncio.Transport", transport)
        request = self._handshake.connect()
        request.headers.update(self._endpoint.headers)
        self._handshake.send_request(request)
        self._transport.write(b"".join(self._handshake.data_to_send()))

    def data_received(self, data: bytes) -> None:
        """Read the response; the bytes after it belong to the protocol that takes over."""
        if self._has_head:
            self._handshake.receive_data(data)  # the body of a rejection has the reason
        else:
            self._received += data
            head, end, rest = self._received.partition(_END_OF_HEAD)
            if not end and len(head) < MAX_HEAD_BYTES:
                return
            self._has_head = True
            self._handshake.receive_data(head + end)
            if self._handshake.state is State.OPEN:
                self._switch_protocol(rest)
                return
            self._handshake.receive_data(rest)
        self._check_response()

    def eof_received(self) -> None:
        """Handle the end of a rejection without a length."""
        self._handshake.receive_eof()
        self._check_response()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail, unless the outcome is known already."""
        self._fail(no_answer(self._endpoint, exc or ConnectionError("the connection was lost during the handshake")))

    def _switch_protocol(self, rest: bytes) -> None:
        if self._handshake.subprotocol != SUBPROTOCOL:
            self._fail(ChatkitError(f"the server at {self._endpoint.url} does not speak {SUBPROTOCOL}"))
        elif not self.opened.done():
            self._transport.set_protocol(self._protocol)
            self._protocol.connection_made(self._transport)
            self.opened.set_result(None)
            if rest:
                self._protocol.data_received(rest)

    def _check_response(self) -> None:
        for event in self._handshake.events_received():
            if isinstance(event, Response):
                self._fail(self._refusal(event))
        if self._handshake.handshake_exc is not None:
            self._fail(no_answer(self._endpoint, self._handshake.handshake_exc))

    def _refusal(self, response: Response) -> ChatkitError:
        if response.status_code in REDIRECT_STATUSES:
            return ChatkitError(f"{self._endpoint.url} redirects to another address: give the server's own address")
        # Only the first value: `Headers.get` raises where a server sends several.
        retry_after = next(iter(response.headers.get_all("Retry-After")), None)
        return refusal_of_response(response.status_code, bytes(response.body), retry_after)

    def _fail(self, error: ChatkitError) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)
            self._transport.abort()

"""Admission: checks each request and connection, counts connections, and applies the rate limits.

It holds the `AccessPolicy`, the `RateLimits` and the `SessionContext` that all sessions share. It neither reads nor
writes sockets.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from chatkit.core.model import ANONYMOUS
from chatkit.errors import BadRequest, RateLimited, Unavailable
from chatkit.server.access import SAFE_METHODS, AccessPolicy, bearer
from chatkit.server.client_address import client_address
from chatkit.server.connect_request import ConnectRequest
from chatkit.server.litestar_types import HttpRequest
from chatkit.server.rate_limit import RateLimits, SenderLimiter
from chatkit.server.room_list import EncodedRooms
from chatkit.session.session import SessionContext
from chatkit.wire.protocol import SUBPROTOCOL

MAX_CHARGE_S = 5.0  # the longest that a request waits until the allowance of its connection has paid for it


class TooManyConnections(Unavailable):
    """The server has as many connections as it accepts. A client can retry later."""


class ConnectionKind(StrEnum):
    """What a connection that is counted carries."""

    TEXT = "text"  # a WebSocket in plain text
    JSON = "json"  # a WebSocket of `chatkit.v1`
    STREAM = "stream"  # an HTTP response that does not end


class ConnectionCounter:
    """Counts the connections of one kind."""

    __slots__ = ("n_open", "n_opened")

    def __init__(self) -> None:
        self.n_open = 0
        self.n_opened = 0  # since the process started

    def add(self) -> None:
        """Count a connection, until `remove` is called for it."""
        self.n_open += 1
        self.n_opened += 1

    def remove(self) -> None:
        """Stop counting a connection. The caller ensures that this happens once for each."""
        self.n_open -= 1


class Admission:
    """Decides which requests and connections are served, and how much each may do."""

    def __init__(self, context: SessionContext, policy: AccessPolicy, rates: RateLimits, max_connections: int) -> None:
        self.context = context
        self.policy = policy
        self.rates = rates
        self.max_connections = max_connections
        self.connections = {kind: ConnectionCounter() for kind in ConnectionKind}
        self.responses: Counter[int] = Counter()  # HTTP responses by status
        self.rooms = EncodedRooms(context.hub)

    # Connections

    @property
    def n_connections(self) -> int:
        """The number of connections that are open."""
        return sum([counter.n_open for counter in self.connections.values()])

    @contextmanager
    def counted_stream(self) -> Iterator[None]:
        """Count a stream for the length of a block. Raise `TooManyConnections` if it is over the limit."""
        counter = self.connections[ConnectionKind.STREAM]
        counter.add()
        try:
            self.check_limit()
            yield
        finally:
            counter.remove()

    def check_limit(self) -> None:
        """Raise `TooManyConnections` if more connections are counted than the server accepts."""
        if self.n_connections > self.max_connections:
            raise self._full()

    def _full(self) -> TooManyConnections:
        return TooManyConnections(f"this server takes at most {self.max_connections} connections")

    # WebSockets

    def check_handshake(self, request: ConnectRequest) -> None:
        """Raise `Forbidden` for a wrong host or origin, `BadRequest` if every subprotocol on offer is unknown.

        A client whose subprotocols are all unknown would not understand plain text, and its commands would be published
        as messages.
        """
        self.policy.check_host(request.host)
        self.policy.check_origin(request.origin, request.host)
        if not request.has_known_subprotocol:
            raise BadRequest(f"the only subprotocol here is {SUBPROTOCOL}; without any, the conversation is plain text")

    def check_accepted(self, request: ConnectRequest) -> None:
        """Check a socket that was accepted and counted.

        Raise `TooManyConnections`, `Unauthorized` or `TooManyAttempts`. Such a socket is accepted and then
        closed, because a browser shows a page the close code, but not the status of a refused handshake.
        """
        if request.is_over_limit:
            raise self._full()
        self.check_limit()
        self.policy.check(request.token, request.cookie, request.client_address)

    # HTTP requests

    def limiter(self, request: HttpRequest, sender: str) -> SenderLimiter | None:
        """Return the limiter of a sender on the connection of an HTTP request; None if rates are not limited."""
        address, connection = self.client(request)
        return self.rates.of(address, sender, connection)

    @staticmethod
    def client(request: HttpRequest) -> tuple[str, object]:
        """Return the address and the connection that a request came from."""
        return (request.client.host, tuple(request.client)) if request.client else ("", "")

    async def charge(self, request: HttpRequest, cost: float) -> None:
        """Charge the request's connection for `cost` messages, and wait until its allowance has paid for them.

        Raise `RateLimited` if that would take longer than `MAX_CHARGE_S`.
        """
        limiter = self.limiter(request, ANONYMOUS)
        if limiter is not None and (wait_s := limiter.charge(cost)):
            if wait_s > MAX_CHARGE_S:
                raise RateLimited(wait_s)
            self.context.refusals.n_pauses += 1
            await asyncio.sleep(wait_s)


async def provide_admission(request: HttpRequest) -> Admission:
    """Return the application's admission, for handlers that depend on it."""
    admission: Admission = request.app.state.admission
    return admission


async def check_request(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Raise `Forbidden`, `Unauthorized` or `TooManyAttempts` for a request that is not allowed. A Litestar guard."""
    admission: Admission = connection.app.state.admission
    headers = connection.headers
    admission.policy.check_host(headers.get("host"))
    if isinstance(connection, Request) and connection.method not in SAFE_METHODS:
        admission.policy.check_origin(headers.get("origin"), headers.get("host"))
    admission.policy.check(*credentials(connection))


def credentials(connection: ASGIConnection[Any, Any, Any, Any]) -> tuple[str | None, str | None, str]:
    """Return the token of a request, its `Cookie` header and its client's address."""
    headers = connection.headers
    token = bearer(headers.get("authorization")) or connection.query_params.get("token")
    peer = connection.client.host if connection.client else ""
    return token, headers.get("cookie"), client_address(peer, headers.get("x-forwarded-for"))

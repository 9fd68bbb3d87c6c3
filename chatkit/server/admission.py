"""Admission: checks each request and connection, counts connections, and applies the rate limits.

It holds the `AccessPolicy`, the `Authenticator`, the `RateLimits` and the `SessionContext` that all sessions share. It
neither reads nor writes sockets.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from chatkit.core.access import Identity, Right
from chatkit.core.model import ANONYMOUS
from chatkit.core.name_range import NameRange
from chatkit.errors import BadRequest, NotFound, RateLimited, Unavailable
from chatkit.server.access import SAFE_METHODS, AccessPolicy
from chatkit.server.connect_request import ConnectRequest
from chatkit.server.identity import Authenticator, Credentials
from chatkit.server.litestar_types import HttpRequest, IdentifiedRequest
from chatkit.server.rate_limit import RateLimits, SenderLimiter
from chatkit.server.room_list import EncodedRooms, ReadableRooms, RoomRange
from chatkit.session.context import SessionContext
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

    def __init__(
        self,
        context: SessionContext,
        policy: AccessPolicy,
        authenticator: Authenticator,
        rates: RateLimits,
        max_connections: int,
    ) -> None:
        self.context = context
        self.local_context = context  # of sessions with programs on this machine, which may have another rate
        self.hub = context.hub
        self.policy = policy
        self.authenticator = authenticator
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
        self.check_origin(request.origin, request.host, request.peer, request.forwarded_host)
        if not request.has_known_subprotocol:
            raise BadRequest(f"the only subprotocol here is {SUBPROTOCOL}; without any, the conversation is plain text")

    def check_accepted(self, request: ConnectRequest, credentials: Credentials) -> Identity:
        """Check a socket that was accepted and counted, and return who opened it.

        Raise `TooManyConnections`, or as `Authenticator.identify` does. Such a socket is accepted and then closed,
        because a browser shows a page the close code, but not the status of a refused handshake.
        """
        if request.is_over_limit:
            raise self._full()
        self.check_limit()
        return self.authenticator.identify(credentials)

    def check_origin(self, origin: str | None, host: str | None, peer: str, forwarded_host: str | None) -> None:
        """Raise `Forbidden` for a request of a page from another site; see `AccessPolicy.check_origin`.

        A page is of this site if it has the host that a proxy reports, if `--trust-proxy` names the proxy. A program
        on this machine is not enough: it may be a browser, whose page wrote the header.
        """
        proxies = self.authenticator.proxies
        if forwarded_host and proxies.are_given and proxies.trusts(peer):
            host = forwarded_host.rpartition(",")[2].strip()
        self.policy.check_origin(origin, host)

    # Rights

    def check(self, identity: Identity, right: Right, room: str | None) -> None:
        """Raise unless an identity may use a right on a room now; see `AccessTable.check`."""
        self.hub.access.check(identity, right, room, self.hub.now_ms())

    def allows(self, identity: Identity, right: Right, room: str | None) -> bool:
        """Return whether an identity may use a right on a room now."""
        return self.hub.access.allows(identity, right, room, self.hub.now_ms())

    def readable_names(self, identity: Identity) -> Sequence[NameRange]:
        """Return the names of the rooms that the grants of an identity allow it to read now."""
        return self.hub.access.readable_names(identity, self.hub.now_ms())

    async def read_rooms(self, identity: Identity, asked: RoomRange) -> bytes:
        """Return a page of the list of the rooms that an identity may read, as JSON."""
        access, now_ms = self.hub.access, self.hub.now_ms()
        if access.reads_everything(identity, now_ms):
            return await (self.rooms.read() if asked == RoomRange() else self.rooms.read_some(asked))
        readable = ReadableRooms(
            access.readable_names(identity, now_ms),
            lambda room: access.allows(identity, Right.READ, room, now_ms),
        )
        return await self.rooms.read_some(asked, readable)

    # HTTP requests

    def limiter(self, request: IdentifiedRequest) -> SenderLimiter | None:
        """Return the limiter of the sender of an HTTP request; None if rates are not limited."""
        return self.rates.of(request.user, self.client(request), is_local=request.auth.is_local)

    @staticmethod
    def client(request: IdentifiedRequest) -> tuple[str, object]:
        """Return the address and the connection that a request came from: a proxy uses one for several clients."""
        return request.user.address, tuple(request.client) if request.client else ""

    async def charge(self, request: IdentifiedRequest, cost: float) -> None:
        """Charge the request's connection for `cost` messages, and wait until its allowance has paid for them.

        Raise `RateLimited` if that would take longer than `MAX_CHARGE_S`.
        """
        limiter = self.limiter(request)
        if limiter is not None and (wait_s := limiter.charge(cost)):
            if wait_s > MAX_CHARGE_S:
                raise RateLimited(wait_s)
            self.context.refusals.n_pauses += 1
            await asyncio.sleep(wait_s)

    def consume(self, request: IdentifiedRequest, n_bytes: int = 0) -> None:
        """Count a request that changes something, like a message of `n_bytes`, against the allowance of its sender.

        Raise `RateLimited` if that exceeds it.
        """
        limiter = self.limiter(request)
        if limiter is not None and (wait_s := limiter.consume(n_bytes)):
            raise RateLimited(wait_s)

    def current(self, request: IdentifiedRequest) -> Identity:
        """Return who sends a request, with the rights of this moment: its body may have taken long to arrive.

        Raise `Unauthorized`, `Banned` or `NameTaken` if the sender may not connect any more.
        """
        return self.hub.access.renew(request.user, self.hub.now_ms())


async def provide_admission(request: HttpRequest) -> Admission:
    """Return the application's admission, for handlers that depend on it."""
    admission: Admission = request.app.state.admission
    return admission


async def check_request(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Find who sends a request, which is then `request.user`, and how, which is `request.auth`. A Litestar guard.

    Raise `Forbidden` for a wrong host or origin, `NotFound` for a number of a message that is not written in digits,
    and as `Authenticator.identify` does.
    """
    admission: Admission = connection.app.state.admission
    credentials = check_site(connection, admission)
    seq = connection.path_params.get("seq")
    if seq is not None and str(seq) not in connection.scope["path"].split("/"):  # Litestar reads what `int` does: "1_0"
        raise NotFound("there is no such message: write its number in digits")
    connection.scope["user"] = admission.authenticator.identify(credentials)


async def check_visitor(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let everybody in, as a sender without rights: to sign in or out, or to redeem an invite. A Litestar guard.

    Raise `Forbidden` for a wrong host or origin.
    """
    admission: Admission = connection.app.state.admission
    credentials = check_site(connection, admission)
    connection.scope["user"] = Identity(ANONYMOUS, address=admission.authenticator.address(credentials))


def check_site(connection: ASGIConnection[Any, Any, Any, Any], admission: Admission) -> Credentials:
    """Return what a request says about its sender. Raise `Forbidden` for a wrong host, or a change by another site."""
    headers = connection.headers
    credentials = connection.scope["auth"] = admission.authenticator.read(connection.scope)
    host = headers.get("host")
    admission.policy.check_host(host)
    if isinstance(connection, Request) and connection.method not in SAFE_METHODS:
        admission.check_origin(headers.get("origin"), host, credentials.peer, headers.get("x-forwarded-host"))
    return credentials

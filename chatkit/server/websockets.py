"""WebSockets: a listener that holds its session, and with it its subscriptions, for the connection's lifespan.

Where the server offers a socket's direct path, the listener lends that to the session, which then has it for as long as
the connection lives; elsewhere the same session runs over plain ASGI messages (`messages.py`).
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, cast

from litestar import Request, WebSocket
from litestar.exceptions import PermissionDeniedException, WebSocketDisconnect
from litestar.handlers import websocket_listener

from chatkit.core.model import ANONYMOUS, Cursor, check_sender
from chatkit.errors import BadRequest, ChatkitError, Forbidden, RateLimited, Unavailable
from chatkit.server.access import AccessPolicy
from chatkit.server.asgi_socket import AsgiSocket, TextOnlySocket
from chatkit.server.connect_request import ConnectRequest
from chatkit.server.rates import RateLimits, SenderLimiter
from chatkit.server.room_list import EncodedRooms
from chatkit.session.json_session import JsonSession
from chatkit.session.session import Session, SessionContext, StartPosition
from chatkit.session.text_session import TextSession
from chatkit.websocket.codes import CloseCode
from chatkit.websocket.direct import DIRECT, DirectSocket
from chatkit.wire.codes import PrivateCloseCode, close_code_of
from chatkit.wire.http import PROBLEM_MEDIA_TYPE, Problem
from chatkit.wire.protocol import SUBPROTOCOL, encode

DENIAL = "websocket.http.response"  # ASGI's own, by which a handshake is answered with more than a bare 403
MAX_CHARGE_S = 5.0  # a request may wait for so long until its connection has paid


class TooManyConnections(Unavailable):
    """More connections than the server takes: another one may find a place later."""


class Admission:
    """What stands between the door and the rooms: the gate, the limits on rates, and how many connections there are."""

    def __init__(self, house: SessionContext, gate: AccessPolicy, rates: RateLimits, max_connections: int) -> None:
        self.house = house
        self.gate = gate
        self.rates = rates
        self.max_connections = max_connections
        self.n_connections = 0
        self.rooms = EncodedRooms(house.hub)

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Count a connection for as long as it lives."""
        self.n_connections += 1
        try:
            yield
        finally:
            self.n_connections -= 1

    def check_place(self, asked: ConnectRequest) -> None:
        """Raise what keeps a socket from being opened: `Forbidden` for its origin, `BadRequest` for its subprotocols.

        A client whose subprotocols are all unknown would not understand plain text, and its commands would be messages.
        """
        self.gate.check_host(asked.host)
        self.gate.check_origin(asked.origin, asked.host)
        if not asked.has_known_subprotocol:
            raise BadRequest(f"the only subprotocol here is {SUBPROTOCOL}; without any, the conversation is plain text")

    def leave(self) -> None:
        """Count a connection no more."""
        self.n_connections -= 1

    def check_load(self) -> None:
        """Raise `TooManyConnections` if the connection that was counted last is one too many."""
        if self.n_connections > self.max_connections:
            raise self._full

    @property
    def _full(self) -> TooManyConnections:
        return TooManyConnections(f"this server takes at most {self.max_connections} connections")

    def limiter(self, request: Request[Any, Any, Any], sender: str) -> SenderLimiter | None:
        """Return what limits a sender on the connection of an HTTP request."""
        address, connection = self.client(request)
        return self.rates.of(address, sender, connection)

    @staticmethod
    def client(request: Request[Any, Any, Any]) -> tuple[str, object]:
        """Return the address and the connection that a request came from."""
        return (request.client.host, tuple(request.client)) if request.client else ("", "")

    async def charge(self, request: Request[Any, Any, Any], cost: float) -> None:
        """Count a request against its connection's allowance, and wait until that is paid.

        Raise `RateLimited` where that would take long.
        """
        limiter = self.limiter(request, ANONYMOUS)
        if limiter is not None and (wait_s := limiter.charge(cost)):
            if wait_s > MAX_CHARGE_S:
                raise RateLimited(wait_s)
            await asyncio.sleep(wait_s)

    def admit(self, asked: ConnectRequest) -> None:
        """Raise what keeps an accepted socket out."""
        if asked.is_one_too_many:
            raise self._full
        self.check_load()
        self.gate.check(asked.token, asked.cookie, asked.client_address)

    def seat(self, asked: ConnectRequest, out: DirectSocket) -> Session:
        """Make the session that the client asked for. Raise `BadName` or `BadRequest`."""
        sender = check_sender(asked.name or ANONYMOUS)
        limiter = self.rates.of(asked.address, sender)
        if asked.is_json:
            return JsonSession(self.house, out, sender, limiter, address=asked.address)
        return TextSession(self.house, out, sender, limiter, asked.format, address=asked.address)


def read_start(after: str | None, history: str | None) -> StartPosition:
    """Read where a join begins. Raise `BadCursor` or `BadRequest`."""
    if history is not None and not (len(history) < 10 and history.isascii() and history.isdigit()):
        raise BadRequest("history is a number of messages")
    return StartPosition(Cursor.parse(after) if after else None, None if history is None else int(history))


@asynccontextmanager
async def conversation(socket: WebSocket[Any, Any, Any]) -> AsyncIterator[None]:
    """Hold a session for as long as the connection lives, or lend it the socket for so long."""
    lobby: Admission = socket.app.state.lobby
    asked = ConnectRequest.read(socket.scope)
    try:
        lobby.check_place(asked)
    except (Forbidden, BadRequest) as error:
        if not await deny(socket, error):
            raise PermissionDeniedException(str(error)) from error
        with suppress(WebSocketDisconnect):  # the listener is told that there is no connection, and ends
            yield
        return
    await socket.accept(subprotocols=SUBPROTOCOL if asked.is_json else None)
    lobby.n_connections += 1
    extension: Any = (socket.scope.get("extensions") or {}).get(DIRECT)
    talk = (
        _over_messages(socket, asked, lobby) if extension is None else _lend(socket, asked, lobby, extension["socket"])
    )
    with suppress(WebSocketDisconnect):
        async with talk:
            yield


@asynccontextmanager
async def _over_messages(
    socket: WebSocket[Any, Any, Any], asked: ConnectRequest, lobby: Admission
) -> AsyncIterator[None]:
    out = AsgiSocket(socket)
    sending = lobby.house.hub.spawn(out.send_all())
    session: Session | None = None
    try:
        session = await _start_session(asked, _path_room(socket), lobby, out)
        if session is not None:
            cast("TextOnlySocket", socket).seat(session, out)
            out.attach(session)
        yield
    finally:
        if session is not None:
            session.closed(CloseCode.NORMAL)
        sending.cancel()


@asynccontextmanager
async def _lend(
    socket: WebSocket[Any, Any, Any], asked: ConnectRequest, lobby: Admission, out: DirectSocket
) -> AsyncIterator[None]:
    """Give the session the socket itself, for as long as that lives: the listener's part ends here.

    A quiet connection is then a protocol, a session and a subscription; this call and its scope are forgotten.
    """
    session = await _start_session(asked, _path_room(socket), lobby, out)
    if session is not None:
        out.attach(session, outlives_handler=True)
    cast("TextOnlySocket", socket).lend()
    yield


async def deny(socket: WebSocket[Any, Any, Any], error: ChatkitError) -> bool:
    """Answer the handshake with the error, where the server can; say whether it could."""
    if DENIAL not in (socket.scope.get("extensions") or {}):
        return False
    await socket.receive()  # the request to connect
    problem = Problem.of(error)
    head: Any = {
        "type": f"{DENIAL}.start",
        "status": problem.status,
        "headers": [(b"content-type", PROBLEM_MEDIA_TYPE.encode())],
    }
    body: Any = {"type": f"{DENIAL}.body", "body": encode(problem)}
    await socket.send(head)
    await socket.send(body)
    return True


async def _start_session(
    asked: ConnectRequest, room: str | None, lobby: Admission, out: DirectSocket
) -> Session | None:
    """Start the session, or tell the client why there is none, and close. Whichever ends it, the lobby is left once."""
    try:
        lobby.admit(asked)
        session = lobby.seat(asked, out)
    except ChatkitError as error:
        lobby.leave()
        out.close(
            PrivateCloseCode.OVERLOADED if isinstance(error, TooManyConnections) else close_code_of(error), str(error)
        )
        return None
    session.on_end = lobby.leave
    try:
        await session.start(room, read_start(asked.after, asked.history))
    except ChatkitError as error:
        session.fail(error)
        session.closed(CloseCode.NORMAL)
        return None
    except BaseException:
        session.closed(CloseCode.NORMAL)
        raise
    return session


def _path_room(socket: WebSocket[Any, Any, Any]) -> str | None:
    # The parameter is a path, so that a name with a slash is told to be none; a path begins with its own slash.
    path: str | None = socket.path_params.get("room")
    return path and path.removeprefix("/")


@websocket_listener(["/ws", "/ws/{room:path}"], connection_lifespan=conversation, websocket_class=TextOnlySocket)
async def converse(data: str, socket: WebSocket[Any, Any, Any]) -> None:
    """Hand a text to the session; where that has the socket itself, none comes here."""
    await cast("TextOnlySocket", socket).hand_over(data)

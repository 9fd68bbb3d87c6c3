"""The WebSocket route: runs one session for as long as the connection lives.

If the ASGI server offers the direct path to a socket, the session uses it and the handler ends at once. Otherwise the
same session runs over ASGI messages (`asgi_socket.py`).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, cast

from litestar.exceptions import PermissionDeniedException, WebSocketDisconnect
from litestar.handlers import websocket_listener

from chatkit.errors import BadRequest, ChatkitError, Forbidden
from chatkit.server.admission import Admission
from chatkit.server.asgi_socket import AsgiSocket, TextOnlySocket
from chatkit.server.connect_request import ConnectRequest, direct_socket
from chatkit.server.identity import Credentials
from chatkit.server.litestar_types import ServerSocket
from chatkit.server.session_start import admit, start_session
from chatkit.websocket.codes import CloseCode
from chatkit.websocket.direct import DirectSocket
from chatkit.wire.codes import text_of
from chatkit.wire.http import PROBLEM_MEDIA_TYPE, Problem
from chatkit.wire.protocol import SUBPROTOCOL, encode

if TYPE_CHECKING:
    from litestar.types.asgi_types import WebSocketResponseBodyEvent, WebSocketResponseStartEvent

DENIAL_EXTENSION = "websocket.http.response"  # ASGI's extension to answer a handshake with more than a bare 403


@asynccontextmanager
async def session_lifespan(socket: ServerSocket) -> AsyncIterator[None]:
    """Run a session for as long as the connection lives, or hand it the socket's direct path."""
    admission: Admission = socket.app.state.admission
    scope = socket.scope
    request = ConnectRequest.read(scope)
    try:
        admission.check_handshake(request)
    except (Forbidden, BadRequest) as error:
        admission.context.refusals.errors[error.code] += 1
        if not await reject_handshake(socket, error):
            raise PermissionDeniedException(text_of(error)) from error
        with suppress(WebSocketDisconnect):  # the listener finds that there is no connection, and ends
            yield
        return
    await socket.accept(subprotocols=SUBPROTOCOL if request.is_json else None)
    credentials = admission.authenticator.read(scope)
    direct = direct_socket(scope)
    running = (
        _run_over_asgi(socket, request, credentials, admission)
        if direct is None
        else _run_over_direct_path(socket, request, credentials, admission, direct)
    )
    with suppress(WebSocketDisconnect):
        async with running:
            yield


@asynccontextmanager
async def _run_over_asgi(
    socket: ServerSocket, request: ConnectRequest, credentials: Credentials, admission: Admission
) -> AsyncIterator[None]:
    out = AsgiSocket(socket)
    sending = admission.context.hub.spawn(out.send_all())
    session = None
    try:
        session = admit(request, credentials, admission, out)
        if session is not None and await start_session(session, _room_of(socket), request):
            cast("TextOnlySocket", socket).attach(session, out)
            out.attach(session)
        yield
    finally:
        if session is not None:
            session.closed(CloseCode.NORMAL)
        sending.cancel()


@asynccontextmanager
async def _run_over_direct_path(
    socket: ServerSocket, request: ConnectRequest, credentials: Credentials, admission: Admission, out: DirectSocket
) -> AsyncIterator[None]:
    """Attach the session to the direct path, which outlives this handler, and end the listener.

    An idle connection then holds a protocol, a session and a subscription; this call and its scope are freed.
    """
    session = admit(request, credentials, admission, out)
    if session is not None and await start_session(session, _room_of(socket), request):
        out.attach(session, outlives_handler=True)
    cast("TextOnlySocket", socket).release()
    yield


async def reject_handshake(socket: ServerSocket, error: ChatkitError) -> bool:
    """Answer the handshake with the error as a problem; return False if the ASGI server cannot do that."""
    if DENIAL_EXTENSION not in (socket.scope.get("extensions") or {}):
        return False
    await socket.receive()  # websocket.connect, which has to come first
    problem = Problem.of(error)
    start: WebSocketResponseStartEvent = {
        "type": "websocket.http.response.start",
        "status": problem.status,
        "headers": [(b"content-type", PROBLEM_MEDIA_TYPE.encode())],
    }
    body: WebSocketResponseBodyEvent = {
        "type": "websocket.http.response.body",
        "body": encode(problem),
        "more_body": False,
    }
    await socket.send(start)
    await socket.send(body)
    return True


def _room_of(socket: ServerSocket) -> str | None:
    # The parameter is a path, so that a name with a slash is refused as a bad name. A path starts with its own slash.
    path: str | None = socket.path_params.get("room")
    return path and path.removeprefix("/")


@websocket_listener(["/ws", "/ws/{room:path}"], connection_lifespan=session_lifespan, websocket_class=TextOnlySocket)
async def rooms_socket(data: str, socket: ServerSocket) -> None:
    """Pass a text to the session. Texts on the direct path do not come through here."""
    await cast("TextOnlySocket", socket).deliver(data)

"""RoomOpener: opens a WebSocket to a room on a short path, without Litestar's routing and objects.

It handles the paths and hosts that nearly all clients send. Every other handshake takes the long path through
`middleware.py` and `websockets.py`, which gives the same answers.
"""

import re
from collections.abc import Coroutine
from typing import Any, Final

from chatkit.errors import BadRequest, ChatkitError, Forbidden
from chatkit.protocols.opener import OpeningRequest, OpeningSocket
from chatkit.server.address_limits import is_long_query
from chatkit.server.admission import Admission
from chatkit.server.connect_request import ConnectRequest, read_start
from chatkit.server.identity import read_query
from chatkit.server.session_start import admit, start_session
from chatkit.session.session import Session
from chatkit.wire.http import PROBLEM_MEDIA_TYPE, Problem
from chatkit.wire.protocol import SUBPROTOCOL, encode

_HOST: Final = re.compile(rb"[0-9A-Za-z.:\[\]-]+")  # of which Litestar refuses none


class RoomOpener:
    """The `SocketOpener` of the chat server."""

    def __init__(self, admission: Admission, path_prefix: str) -> None:
        self._admission = admission
        self._path = re.compile(rf"{re.escape(path_prefix)}/ws(?:/([0-9A-Za-z_-][0-9A-Za-z._-]*))?")

    def handles(self, request: OpeningRequest) -> bool:
        """Return whether the path is that of a room in its plain form, and host and query are nothing unusual."""
        if self._path.fullmatch(request.raw_path) is None or is_long_query(request.query.encode()):
            return False
        hosts = [value for name, value in request.headers if name == b"host"]
        return len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None

    def open(self, request: OpeningRequest, socket: OpeningSocket) -> Coroutine[Any, Any, None] | None:
        """Accept the socket, and start its session; see `SocketOpener`. The coroutine waits for the store."""
        admission, peer = self._admission, socket.peer
        query = read_query(request.query)
        asked = ConnectRequest.of(dict(request.headers), query, request.subprotocols, peer)
        try:
            admission.check_handshake(asked)
        except (Forbidden, BadRequest) as error:
            admission.context.refusals.errors[error.code] += 1
            problem = Problem.of(error)
            socket.deny(problem.status, PROBLEM_MEDIA_TYPE.encode(), encode(problem))
            return None
        socket.accept(SUBPROTOCOL if asked.is_json else None)
        session = admit(asked, admission.authenticator.read_parts(request.headers, query, peer), admission, socket)
        if session is None:
            return None
        path = self._path.fullmatch(request.raw_path)
        room = path and path[1]
        start = _start(session, room, asked, socket)
        if not _starts_at_once(session, room, asked):
            return start
        _run(start)
        return None


async def _start(session: Session, room: str | None, request: ConnectRequest, socket: OpeningSocket) -> None:
    if await start_session(session, room, request):
        socket.attach(session, outlives_handler=True)


def _starts_at_once(session: Session, room: str | None, request: ConnectRequest) -> bool:
    try:
        start = read_start(request.after, request.history)
    except ChatkitError:  # `start_session` closes the session with it
        return True
    return session.starts_at_once(room, start)


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that does not wait, without a task."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise RuntimeError("the session waited, although its room is in memory")

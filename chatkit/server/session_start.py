"""Starts the session of a WebSocket that was accepted, or closes the socket with the error that prevents it.

However the session ends, the connection is removed from the admission's count exactly once.
"""

from chatkit.core.access import Identity
from chatkit.errors import ChatkitError
from chatkit.server.admission import Admission, ConnectionKind, TooManyConnections
from chatkit.server.connect_request import ConnectRequest, read_start
from chatkit.server.identity import Credentials
from chatkit.session.json_session import JsonSession
from chatkit.session.session import Session
from chatkit.session.text_session import TextSession
from chatkit.websocket.codes import CloseCode
from chatkit.websocket.direct import DirectSocket
from chatkit.wire.codes import PrivateCloseCode, close_code_of, text_of


def admit(request: ConnectRequest, credentials: Credentials, admission: Admission, out: DirectSocket) -> Session | None:
    """Count the connection, and make its session. If it is refused, close the socket with the error and return None."""
    counter = admission.connections[ConnectionKind.JSON if request.is_json else ConnectionKind.TEXT]
    counter.add()
    try:
        identity = admission.check_accepted(request, credentials)
        session = _make_session(request, identity, admission, out, is_local=credentials.is_local)
    except ChatkitError as error:
        counter.remove()
        admission.context.refusals.errors[error.code] += 1
        is_full = isinstance(error, TooManyConnections)
        out.close(PrivateCloseCode.OVERLOADED if is_full else close_code_of(error), text_of(error))
        return None
    session.on_end = counter.remove
    return session


async def start_session(session: Session, room: str | None, request: ConnectRequest) -> bool:
    """Start the session, and return whether it did. If it fails, close it and its socket with the error."""
    try:
        await session.start(room, read_start(request.after, request.history))
    except ChatkitError as error:
        session.fail(error)
        session.closed(CloseCode.NORMAL)
        return False
    except BaseException:
        session.closed(CloseCode.NORMAL)
        raise
    return True


def _make_session(
    request: ConnectRequest, identity: Identity, admission: Admission, out: DirectSocket, *, is_local: bool
) -> Session:
    """Make a session of the kind that the client asked for. Raise `BadRequest`."""
    limiter = admission.rates.of(identity, is_local=is_local)
    context = admission.local_context if is_local else admission.context
    if request.is_json:
        return JsonSession(context, out, identity, limiter)
    return TextSession(context, out, identity, limiter, request.format)

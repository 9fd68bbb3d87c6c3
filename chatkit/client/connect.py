"""Opening one WebSocket to a server, up to its `welcome`. All that can go wrong comes out as an error of ours."""

import asyncio

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from chatkit.client.endpoint import Endpoint
from chatkit.client.errors import refusal_of_close, refusal_of_response
from chatkit.client.http import no_answer
from chatkit.errors import ChatkitError, Unavailable
from chatkit.wire.protocol import SUBPROTOCOL, WelcomeEvent, decode_event

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
MAX_FRAME_BYTES = 64 * 2**20  # a list of members or a message with data; the server's own limits are far below


async def dial(endpoint: Endpoint, ping_s: float) -> tuple[ClientConnection, WelcomeEvent]:
    """Connect and return the socket and its welcome. Raise `Unavailable` where trying again may help."""
    try:
        socket = await connect(
            endpoint.socket_url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers=endpoint.headers,
            compression=None,
            proxy=None if endpoint.is_loopback else True,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=ping_s,
            ping_timeout=ping_s,
            max_size=MAX_FRAME_BYTES,
            max_queue=256,
        )
    except InvalidStatus as error:
        response = error.response
        raise refusal_of_response(
            response.status_code, bytes(response.body), response.headers.get("Retry-After")
        ) from error
    except (OSError, InvalidHandshake) as error:
        raise no_answer(endpoint, error) from error
    try:
        return socket, await _welcome(socket, endpoint)
    except BaseException:
        await socket.close()
        raise


async def _welcome(socket: ClientConnection, endpoint: Endpoint) -> WelcomeEvent:

    if socket.subprotocol != SUBPROTOCOL:
        raise ChatkitError(f"what answers at {endpoint.url} does not speak {SUBPROTOCOL}")
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            event = decode_event(await socket.recv(decode=False))
    except ConnectionClosed as error:
        raise closed(error) from error
    except TimeoutError as error:
        raise no_answer(endpoint, error) from error
    if not isinstance(event, WelcomeEvent):
        raise ChatkitError(f"what answers at {endpoint.url} does not begin with a welcome")
    return event


def closed(error: ConnectionClosed) -> ChatkitError:
    """Say why a connection ended: `Unavailable` where trying again may help."""
    close = error.rcvd
    if close is None:
        return Unavailable("the connection was lost")
    fatal = refusal_of_close(close.code, close.reason)
    return fatal or Unavailable(close.reason or f"the server closed the connection with {close.code}")

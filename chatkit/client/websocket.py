"""Open one WebSocket to a server, up to its `welcome`, and report why it ended. Every error is a `ChatkitError`."""

import asyncio
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidProxyStatus, InvalidStatus, WebSocketException
from websockets.http11 import Response
from websockets.typing import Subprotocol

from chatkit.client.connect import (
    MAX_REDIRECTS,
    REDIRECT_STATUSES,
    no_answer,
    proxy_for,
    redirected,
    refused_by_proxy,
    tls_context,
    too_many_redirects,
)
from chatkit.client.endpoint import Endpoint
from chatkit.client.errors import refusal_of_close, refusal_of_response
from chatkit.client.validation import MAX_FRAME_BYTES, read_event
from chatkit.errors import ChatkitError, Unavailable
from chatkit.websocket.codes import CloseCode
from chatkit.wire.protocol import SUBPROTOCOL, WelcomeEvent

OPEN_TIMEOUT_S: Final = 10.0  # for the connection and the handshake of each address, and then for the welcome
CLOSE_TIMEOUT_S: Final = 2.0
MAX_QUEUED_FRAMES: Final = 256  # a burst of a busy room; when they are full, the socket is not read


async def open_websocket(endpoint: Endpoint, ping_s: float) -> tuple[ClientConnection, WelcomeEvent]:
    """Connect and return the socket and its welcome. Raise `Unavailable` where another attempt may succeed."""
    current = endpoint
    for _ in range(MAX_REDIRECTS + 1):
        try:
            socket = await _connect(current, ping_s)
        except InvalidStatus as error:
            response = error.response
            status = response.status_code
            if status not in REDIRECT_STATUSES:
                raise refusal_of_response(status, bytes(response.body), _header(response, "Retry-After")) from error
            current = redirected(current, current.socket_target, "GET", status, _header(response, "Location"))
            continue
        try:
            return socket, await _receive_welcome(socket, current)
        except BaseException:
            await socket.close()
            raise
    raise too_many_redirects(endpoint)


async def _connect(endpoint: Endpoint, ping_s: float) -> ClientConnection:
    proxy = proxy_for(endpoint)
    try:
        return await _Connect(
            endpoint.socket_url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers=endpoint.headers,
            compression=None,
            proxy=None if proxy is None else proxy.url,
            ssl=tls_context() if endpoint.is_secure else None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=ping_s,
            ping_timeout=ping_s,
            max_size=MAX_FRAME_BYTES,
            max_queue=MAX_QUEUED_FRAMES,
        )
    except InvalidStatus:
        raise
    except InvalidProxyStatus as error:
        if proxy is None:
            raise no_answer(endpoint, error) from error
        raise refused_by_proxy(endpoint, proxy, error.response.status_code) from error
    except (OSError, WebSocketException) as error:
        raise no_answer(endpoint, error) from error


class _Connect(connect):
    """`websockets.connect` without redirects: it would follow them by rules of its own."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


def _header(response: Response, name: str) -> str | None:
    """Return the first value of a header: `Headers.get` raises where a server sends several."""
    return next(iter(response.headers.get_all(name)), None)


async def _receive_welcome(socket: ClientConnection, endpoint: Endpoint) -> WelcomeEvent:
    if socket.subprotocol != SUBPROTOCOL:
        raise ChatkitError(f"the server at {endpoint.url} does not speak {SUBPROTOCOL}")
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            event = read_event(await socket.recv(decode=False))
    except ConnectionClosed as error:
        raise closed_error(error) from error
    except TimeoutError as error:
        raise no_answer(endpoint, TimeoutError("it sends no welcome")) from error
    if not isinstance(event, WelcomeEvent):
        raise ChatkitError(f"the server at {endpoint.url} does not begin with a welcome")
    return event


def closed_error(error: ConnectionClosed) -> ChatkitError:
    """Return why a connection ended: `Unavailable` where another attempt may succeed."""
    close = error.rcvd
    if close is None:
        if error.sent is not None and error.sent.code == CloseCode.MESSAGE_TOO_BIG:
            return ChatkitError(f"the server sent an event of more than {MAX_FRAME_BYTES} bytes")
        return Unavailable("the connection was lost")
    fatal = refusal_of_close(close.code, close.reason)
    return fatal or Unavailable(close.reason or f"the server closed the connection with {close.code}")

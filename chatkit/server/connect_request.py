"""What a client asks for when it opens a WebSocket, read from the ASGI scope, of which nothing is kept."""

from typing import Self, cast
from urllib.parse import parse_qsl

import msgspec
from litestar.types.asgi_types import WebSocketScope

from chatkit.core.model import Cursor
from chatkit.errors import BadRequest
from chatkit.session.session import StartPosition
from chatkit.websocket.direct import DIRECT, DirectSocket
from chatkit.wire.protocol import SUBPROTOCOL

MAX_HISTORY_DIGITS = 9

_HEADERS = {b"host": "host", b"origin": "origin", b"x-forwarded-host": "forwarded_host"}


class ConnectRequest(msgspec.Struct, frozen=True):
    """The headers and query parameters of a handshake, except those about who sends it; None if the client sent none.

    `is_over_limit` is true if the protocol has too many connections and leaves it to the application to close this.
    """

    host: str | None
    origin: str | None
    forwarded_host: str | None
    after: str | None
    history: str | None
    format: str
    peer: str
    is_json: bool
    has_known_subprotocol: bool
    is_over_limit: bool

    @classmethod
    def read(cls, scope: WebSocketScope) -> Self:
        """Read a handshake's scope."""
        headers = {_HEADERS[name]: value.decode("latin-1") for name, value in scope["headers"] if name in _HEADERS}
        query = dict(parse_qsl(scope["query_string"].decode(errors="replace"), keep_blank_values=True))
        client = scope.get("client")
        return cls(
            host=headers.get("host"),
            origin=headers.get("origin"),
            forwarded_host=headers.get("forwarded_host"),
            after=query.get("after"),
            history=query.get("history"),
            format=query.get("format", "text"),
            peer=client[0] if client else "",
            is_json=SUBPROTOCOL in scope["subprotocols"],
            has_known_subprotocol=SUBPROTOCOL in scope["subprotocols"] or not scope["subprotocols"],
            is_over_limit=bool(_direct_extension(scope).get("is_full")),
        )


def direct_socket(scope: WebSocketScope) -> DirectSocket | None:
    """Return the direct path to the client, if the ASGI server offers one."""
    return cast("DirectSocket | None", _direct_extension(scope).get("socket"))


def read_start(after: str | None, history: str | None) -> StartPosition:
    """Read where a reader starts from its two query parameters. Raise `BadCursor` or `BadRequest`."""
    if history is not None and not (len(history) <= MAX_HISTORY_DIGITS and history.isascii() and history.isdigit()):
        raise BadRequest("history must be a number of messages, with at most 9 digits")
    return StartPosition(Cursor.parse(after) if after else None, None if history is None else int(history))


def _direct_extension(scope: WebSocketScope) -> dict[object, object]:
    return (scope.get("extensions") or {}).get(DIRECT, {})

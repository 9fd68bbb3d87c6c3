"""What a client asks for when it opens a WebSocket, read from the ASGI scope, of which nothing is kept."""

from collections.abc import Mapping, Sequence
from typing import Self, cast

import msgspec
from litestar.types.asgi_types import WebSocketScope

from chatkit.core.model import Cursor
from chatkit.errors import BadRequest
from chatkit.server.identity import read_query
from chatkit.session.context import StartPosition
from chatkit.websocket.direct import DIRECT, DirectSocket
from chatkit.wire.protocol import SUBPROTOCOL

MAX_HISTORY_DIGITS = 9


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
        client = scope.get("client")
        return cls.of(
            dict(scope["headers"]),
            read_query(scope["query_string"].decode(errors="replace")),
            scope["subprotocols"],
            client[0] if client else "",
            is_over_limit=bool(_direct_extension(scope).get("is_full")),
        )

    @classmethod
    def of(
        cls,
        headers: Mapping[bytes, bytes],
        query: Mapping[str, str],
        subprotocols: Sequence[str],
        peer: str,
        *,
        is_over_limit: bool = False,
    ) -> Self:
        """Read the parts of a handshake: the last header of each name, and the query as `read_query` returns it."""
        is_json = SUBPROTOCOL in subprotocols
        return cls(
            host=_text(headers.get(b"host")),
            origin=_text(headers.get(b"origin")),
            forwarded_host=_text(headers.get(b"x-forwarded-host")),
            after=query.get("after"),
            history=query.get("history"),
            format=query.get("format", "text"),
            peer=peer,
            is_json=is_json,
            has_known_subprotocol=is_json or not subprotocols,
            is_over_limit=is_over_limit,
        )


def direct_socket(scope: WebSocketScope) -> DirectSocket | None:
    """Return the direct path to the client, if the ASGI server offers one."""
    return cast("DirectSocket | None", _direct_extension(scope).get("socket"))


def read_start(after: str | None, history: str | None) -> StartPosition:
    """Read where a reader starts from its two query parameters. Raise `BadCursor` or `BadRequest`."""
    if history is not None and not (len(history) <= MAX_HISTORY_DIGITS and history.isascii() and history.isdigit()):
        raise BadRequest("history must be a number of messages, with at most 9 digits")
    return StartPosition(Cursor.parse(after) if after else None, None if history is None else int(history))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _direct_extension(scope: WebSocketScope) -> dict[object, object]:
    return (scope.get("extensions") or {}).get(DIRECT, {})

"""What a client asks for when it opens a WebSocket, read from the ASGI scope. Keeps nothing of the scope."""

from typing import Any, Self
from urllib.parse import parse_qsl

import msgspec

from chatkit.protocols import DIRECT
from chatkit.server.access import bearer
from chatkit.server.token_attempts import client_address
from chatkit.wire.protocol import SUBPROTOCOL

_HEADERS = {
    b"host": "host",
    b"origin": "origin",
    b"authorization": "authorization",
    b"cookie": "cookie",
    b"x-forwarded-for": "forwarded_for",
}


class ConnectRequest(msgspec.Struct, frozen=True):
    """The parts of a request that a chat has use for; None for what was not given."""

    host: str | None
    origin: str | None
    token: str | None
    cookie: str | None
    forwarded_for: str | None
    name: str | None
    after: str | None
    history: str | None
    format: str
    address: str
    is_json: bool
    has_known_subprotocol: bool
    is_one_too_many: bool

    @classmethod
    def read(cls, scope: Any) -> Self:
        """Read a scope of type `websocket`."""
        headers = {_HEADERS[name]: value.decode("latin-1") for name, value in scope["headers"] if name in _HEADERS}
        query = dict(parse_qsl(scope["query_string"].decode(errors="replace"), keep_blank_values=True))
        return cls(
            host=headers.get("host"),
            origin=headers.get("origin"),
            token=bearer(headers.get("authorization")) or query.get("token"),
            cookie=headers.get("cookie"),
            forwarded_for=headers.get("forwarded_for"),
            name=query.get("name"),
            after=query.get("after"),
            history=query.get("history"),
            format=query.get("format", "text"),
            address=scope["client"][0] if scope.get("client") else "",
            is_json=SUBPROTOCOL in scope["subprotocols"],
            has_known_subprotocol=SUBPROTOCOL in scope["subprotocols"] or not scope["subprotocols"],
            is_one_too_many=bool((scope.get("extensions") or {}).get(DIRECT, {}).get("is_full")),
        )

    @property
    def client_address(self) -> str:
        """Where the client is, behind a proxy on this machine, too."""
        return client_address(self.address, self.forwarded_for)

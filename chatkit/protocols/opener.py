"""SocketOpener: how an application opens WebSockets itself, without a scope, a task and messages of ASGI for each.

The handshakes that it does not handle, and those over the limit, are passed to the ASGI application. Knows nothing of
any application.
"""

from collections.abc import Coroutine
from typing import Any, Protocol

import uvicorn

from chatkit.websocket.direct import DirectSocket


class OpeningRequest(Protocol):
    """A valid opening handshake. `raw_path` and `query` are ASCII, as sent; header names are in lower case."""

    raw_path: str
    query: str
    headers: list[tuple[bytes, bytes]]
    subprotocols: list[str]


class OpeningSocket(DirectSocket, Protocol):
    """A WebSocket whose handshake is not answered yet. Before anything is written, it is accepted or denied."""

    @property
    def peer(self) -> str:
        """The address of the other end; empty for a Unix socket. Raise `ClientDisconnected` if it has gone."""

    def accept(self, subprotocol: str | None) -> None:
        """Open the WebSocket."""

    def deny(self, status: int, content_type: bytes, body: bytes) -> None:
        """Answer with an HTTP response instead of a WebSocket."""


class SocketOpener(Protocol):
    """The application's side. It is called in the event loop, and never for a connection over the limit."""

    def handles(self, request: OpeningRequest) -> bool:
        """Return whether `open` answers this handshake. It MUST have no effect."""

    def open(self, request: OpeningRequest, socket: OpeningSocket) -> Coroutine[Any, Any, None] | None:
        """Answer the handshake, and attach a receiver unless that has to wait.

        The coroutine that is returned does the rest. It is run as the call of the ASGI application would be. If this
        raises, or the coroutine does, the error is logged and the connection closed.
        """


class OpenerConfig(uvicorn.Config):
    """uvicorn's configuration for an application that has a `SocketOpener`."""

    opener: SocketOpener | None = None

"""The first bytes of a connection: they say whether it is HTTP, or begins with an opening handshake of the usual kind.

Such a connection becomes a WebSocket at once, its head read once; all others, HTTP. Knows no more of either.
"""

import asyncio
import re
from typing import Any, Final, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from chatkit.protocols.handshake import HEAD_TIMEOUT_S
from chatkit.protocols.head import MAX_HEAD_BYTES, MAX_HEADERS
from chatkit.protocols.http import HttpConnection
from chatkit.protocols.shared import SharedState

_PLAIN_HEAD: Final = re.compile(rb"get /[!-~]* http/1\.1\r\n(?:[!#$%&'*+.^_`|~0-9a-z-]+:[\t -~\x80-\xff]*\r\n)+")


class HttpProtocol(asyncio.Protocol):
    """What uvicorn begins a connection with. It does what a conversation in HTTP does, or hands on to who does it."""

    __slots__ = ("_app_state", "_config", "_loop", "_server_state", "_share", "due_tick", "transport")

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.due_tick = 0
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop
        self._share = SharedState.of(config, server_state, _loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the first head its time."""
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own classes only
        self.transport = cast("asyncio.Transport", transport)
        self._share.wheel.set(self, HEAD_TIMEOUT_S)
        self._share.limit.open(self.transport)

    def data_received(self, data: bytes) -> None:
        """Hand the connection on to who can read this."""
        websocket: Any = self._config.ws_protocol_class
        if self._share.has_own_websocket and _is_plain_handshake(data):
            protocol = websocket(config=self._config, server_state=self._server_state, app_state=self._app_state)
            self._hand_over(protocol)
        else:
            protocol = self._become_http()
        protocol.data_received(data)

    def on_time(self) -> None:
        """End a connection on which nothing came."""
        self._become_http().on_time()

    def shutdown(self) -> None:
        """End, because the server does."""
        self._become_http().shutdown()

    def connection_lost(self, _exc: Exception | None) -> None:
        """End."""
        self._share.wheel.clear(self)
        self._share.limit.close(self.transport)
        self._server_state.connections.discard(self)

    def _become_http(self) -> HttpConnection:
        protocol = HttpConnection(self._config, self._server_state, self._app_state, self._loop)
        self._hand_over(protocol)
        return protocol

    def _hand_over(self, protocol: asyncio.Protocol) -> None:
        self._share.wheel.clear(self)
        self._server_state.connections.discard(self)
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)


def _is_plain_handshake(data: bytes) -> bool:
    """Say whether this begins with a whole opening handshake of the usual kind, without a body."""
    end = data.find(b"\r\n\r\n") + 2
    if not 2 <= end <= MAX_HEAD_BYTES or not data.startswith(b"GET "):
        return False
    head = data[:end].lower()
    return (
        b"\r\nupgrade: websocket\r\n" in head
        and b"\r\nconnection: upgrade\r\n" in head
        and b"\r\ncontent-length:" not in head
        and b"\r\ntransfer-encoding:" not in head
        and head.count(b"\n") <= MAX_HEADERS
        and _PLAIN_HEAD.fullmatch(head) is not None
    )

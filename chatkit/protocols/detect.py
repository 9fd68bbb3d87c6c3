"""HttpProtocol: decides by the first bytes of a connection whether it is HTTP or a WebSocket.

A connection that starts with a common opening handshake becomes a WebSocket at once, so that its head is parsed only
once; every other connection becomes HTTP. Knows nothing else of either protocol.
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
    """The protocol that uvicorn starts every connection with. It passes the connection on at the first bytes."""

    __slots__ = (
        "_app_state", "_config", "_first_data", "_is_waiting", "_loop", "_server_state", "_shared", "due_tick",
        "transport",
    )  # fmt: skip

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
        self._first_data = b""
        self._is_waiting = False  # for its turn to start
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop
        self._shared = SharedState.of(config, server_state, _loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the time limit of the first head."""
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn's type lists only its own classes
        self.transport = cast("asyncio.Transport", transport)
        self._shared.wheel.set(self, HEAD_TIMEOUT_S)
        self._shared.limit.open(self.transport)

    def data_received(self, data: bytes) -> None:
        """Wait for this connection's turn: many clients may connect at once."""
        self._first_data += data
        if self._is_waiting:
            return
        if self._shared.starts.start_now():
            self._start()
        else:
            self._is_waiting = True
            self.transport.pause_reading()
            self._shared.starts.add(self._start)

    def _start(self) -> None:
        """Choose the protocol, switch the transport to it, and pass the data on."""
        if self.transport.get_protocol() is not self or self.transport.is_closing():
            return
        self.transport.resume_reading()
        data, self._first_data = self._first_data, b""
        websocket: Any = self._config.ws_protocol_class
        if self._shared.has_own_websocket and _is_plain_handshake(data):
            protocol = websocket(config=self._config, server_state=self._server_state, app_state=self._app_state)
            self._hand_over(protocol)
        else:
            protocol = self._become_http()
        if not self.transport.is_closing():
            protocol.data_received(data)

    def on_timer(self) -> None:
        """Close a connection that sent nothing."""
        self._become_http().on_timer()

    def shutdown(self) -> None:
        self._become_http().shutdown()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._shared.wheel.clear(self)
        self._shared.limit.close(self.transport)
        self._server_state.connections.discard(self)

    def _become_http(self) -> HttpConnection:
        protocol = HttpConnection(self._config, self._server_state, self._app_state, self._loop)
        self._hand_over(protocol)
        return protocol

    def _hand_over(self, protocol: asyncio.Protocol) -> None:
        self._shared.wheel.clear(self)
        self._server_state.connections.discard(self)
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)


def _is_plain_handshake(data: bytes) -> bool:
    """Return whether the data start with a complete opening handshake of the common form, without a body."""
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

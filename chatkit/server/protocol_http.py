"""HTTP before the WebSocket: uvicorn's, with an end to heads that never end, and a short way to the handshake.

Knows the beginning of a connection alone; the handshake itself is read in `protocol_opening.py`.
"""

import asyncio
import re
from http import HTTPStatus
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from chatkit.server.protocol_opening import HEAD_TIMEOUT_S, MAX_HEAD_BYTES, Share, make_response

_REFUSED_TIMEOUT_S: Final = 2.0  # for a client to read why it was refused, and to leave
_PLAIN_HEAD: Final = re.compile(rb"get [!-~]+ http/1\.1\r\n(?:[!#$%&'*+.^_`|~0-9a-z-]+:[\t -~\x80-\xff]*\r\n)+")


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
        and _PLAIN_HEAD.fullmatch(head) is not None
    )


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP, with an end to heads that never end, and with nothing lost between HTTP and WebSocket.

    What a client sends behind its handshake without waiting for the answer reaches the WebSocket; uvicorn drops it. A
    connection that begins with an opening handshake of the usual kind becomes a WebSocket at once, its head read once.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.due_tick = 0
        self._wheel = Share.of(config, server_state, _loop).wheel
        self._head_bytes = 0
        self._is_in_head = True
        self._is_refused = False
        self._is_begun = False  # something came

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Give the first head its time. What it asks for decides how the connection begins."""
        self.connections.add(self)
        self.transport = transport
        self._wheel.set(self, HEAD_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._wheel.clear(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read HTTP; hand on what comes after an upgrade."""
        if self._is_refused:
            return
        if not self._is_begun:
            self._is_begun = True
            if self.ws_protocol_class is not None and _is_plain_handshake(data):
                self._become_websocket(data)
                return
            super().connection_made(self.transport)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._upgrade(data[upgrade.args[0] :])
            else:
                self._unsupported_upgrade_warning()
            return
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._is_in_head = True
        self._head_bytes = 0
        self._wheel.set(self, HEAD_TIMEOUT_S)

    def on_headers_complete(self) -> None:
        """End a request's head."""
        self._is_in_head = False
        self._wheel.clear(self)
        super().on_headers_complete()

    def on_time(self) -> None:
        """End a connection whose head does not come."""
        if self._is_refused or self.transport.is_closing():
            self.transport.abort()  # close() would wait for a client that reads no more
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer, and hear the client out: if it were cut off while it sends, it might not read the answer."""
        self._is_refused = True
        self._wheel.set(self, _REFUSED_TIMEOUT_S)
        self.transport.write(make_response(status))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _become_websocket(self, data: bytes) -> None:
        self._wheel.clear(self)
        self.connections.discard(self)
        websocket: Any = self.ws_protocol_class
        protocol = websocket(config=self.config, server_state=self.server_state, app_state=self.app_state)
        protocol.connection_made(self.transport)
        protocol.data_received(data)
        self.transport.set_protocol(protocol)
        self.parser = None  # type: ignore[assignment]  # as uvicorn ends it: it and this object hold each other

    def _upgrade(self, early: bytes) -> None:
        if self.scope.get("http_version") != "1.1":
            self._refuse(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
            return
        self.handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        if early and isinstance(protocol, asyncio.Protocol):
            protocol.data_received(early)
        self.parser = None  # type: ignore[assignment]  # as uvicorn ends it: it and this object hold each other

"""HTTP before the WebSocket: uvicorn's request-response cycle, with a bound on all that a client can make it keep.

One request is read and answered at a time. Bytes behind it stay unread: at most one read of the loop per connection,
and the rest in the kernel. Knows only the beginning of a WebSocket; the handshake is read in `protocol_opening.py`.
"""

import asyncio
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from chatkit.protocols.body import RequestBody
from chatkit.protocols.handshake import HEAD_TIMEOUT_S, make_response
from chatkit.protocols.head import MASKED_UPGRADE, MAX_HEAD_BYTES, MAX_HEADERS, find_head_end, prepare_head
from chatkit.protocols.response import Flow, PacedApplication
from chatkit.protocols.shared import SharedState
from chatkit.protocols.unchunked import UnchunkedResponse

_LINGER_S: Final = 2.0  # for a client to read why it was refused, and to leave
_DRAIN_S: Final = 5.0  # for the rest of a body that the application has answered without
_MAX_DRAINED_BYTES: Final = 4_194_304  # of such a rest: four times the longest body that chatkit reads
_STALL_TIMEOUT_S: Final = 120.0  # to read some 100 KiB of a response; the kernel may report that in megabytes
_LINE_ENDS: Final = b"\r\n"


class _Phase(Enum):
    HEAD = auto()  # a request's head is awaited, the connection's first or one that has begun
    BODY = auto()  # a request's body is awaited, and its response
    RESPONSE = auto()  # the application's response is awaited
    DRAIN = auto()  # the response is complete, and the rest of the body is dropped
    IDLE = auto()  # another request may come
    ENDING = auto()  # nothing more is read


class HttpConnection(HttpToolsProtocol):
    """uvicorn's HTTP, one request at a time, with a limit in bytes and in time for each part of it.

    Bytes behind an opening handshake reach the WebSocket; uvicorn drops them.
    """

    flow: Flow

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.limit_concurrency = None  # the share's `ConnectionLimit` counts in its place
        self.due_tick = 0
        self._share = SharedState.of(config, server_state, _loop)
        self._phase = _Phase.HEAD
        self._timed_phase: _Phase | None = None  # the one that `_due_at` belongs to
        self._due_at: float | None = None
        self._cut_at = 0.0  # when a connection that ends does not wait for its client any more
        self._unread = bytearray()
        self._n_searched = 0  # bytes of it in which a head does not end
        self._body = RequestBody([], 0.0)
        self._n_drained = 0
        self._has_to_close = False  # behind the response

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Start to wait for the first head."""
        super().connection_made(transport)
        self.flow = Flow(transport, self._application_reads)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the request that is being answered, and release everything."""
        self._phase = _Phase.ENDING
        self._share.wheel.clear(self)
        self._share.limit.close(self.transport)
        self._unread.clear()
        super().connection_lost(exc)
        self.flow.disconnect()

    def eof_received(self) -> None:
        """End the connection: a client that stops sending has left, as far as anyone can see."""
        self.transport.close()
        self._end()

    def data_received(self, data: bytes) -> None:
        """Read as far as the request that is being answered, or its application, allows."""
        if self._phase is not _Phase.ENDING:
            self._unread += data
            self._read_on()

    def _application_reads(self) -> None:
        self._body.wait_for_application(self.loop.time())
        self._read_on_soon()

    def _read_on_soon(self) -> None:
        self.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        while self._unread and not self.flow.read_paused and self.parser is not None:
            match self._phase:
                case _Phase.HEAD | _Phase.IDLE:
                    is_whole = self._read_head()
                case _Phase.BODY | _Phase.DRAIN:
                    is_whole = self._read_body()
                case _:
                    break
            if not is_whole:
                break
        if self.parser is not None:
            self._watch()

    def _read_head(self) -> bool:
        """Parse the next head; return whether it was whole."""
        if not self._n_searched and self._unread[0] in _LINE_ENDS:  # allowed before a request: RFC 9112, section 2.2
            self._unread = self._unread.lstrip(_LINE_ENDS)
            return bool(self._unread)
        if not self._n_searched and not self._unread[:1].isalpha():  # no method: the rest would be awaited in vain
            self._refuse(HTTPStatus.BAD_REQUEST, "this is not a request of HTTP/1.1")
            return False
        end = find_head_end(self._unread, self._n_searched)
        if (end or len(self._unread)) > MAX_HEAD_BYTES:
            self._refuse_head()
            return False
        if not end:
            self._n_searched = len(self._unread)
            self._phase = _Phase.HEAD
            return False
        head = bytes(self._unread[:end])
        del self._unread[:end]
        self._n_searched = 0
        self._parse(prepare_head(head, has_websocket=self._should_upgrade_to_ws()))
        return True

    def _refuse_head(self) -> None:
        is_long_target = self._unread.find(b"\n", 0, MAX_HEAD_BYTES) < 0
        status = HTTPStatus.REQUEST_URI_TOO_LONG if is_long_target else HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        self._refuse(status, f"a request's head has at most {MAX_HEAD_BYTES} bytes")

    def _read_body(self) -> bool:
        """Parse the next piece of a body; return whether there was one."""
        size = self._body.next_piece(self._unread)
        if not size:
            return False
        piece = bytes(self._unread[:size])
        del self._unread[:size]
        self._body.parse(size)
        is_drained = self._phase is _Phase.DRAIN
        self._parse(piece)
        if is_drained:
            self._n_drained += size
        if self._body.is_padded:
            self._refuse(HTTPStatus.BAD_REQUEST, "the body has more framing than content")
        elif self._phase is _Phase.DRAIN and self._n_drained > _MAX_DRAINED_BYTES:
            self._hang_up()
        return True

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade()
        except httptools.HttpParserError:
            if self._phase is not _Phase.ENDING:
                self.logger.warning("Invalid HTTP request received.")
                self._refuse(HTTPStatus.BAD_REQUEST, "this is not a request of HTTP/1.1")

    # What the parser finds

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._phase in (_Phase.HEAD, _Phase.IDLE):
            super().on_message_begin()
        else:  # behind a body whose end the parser and `RequestBody` do not agree on
            self._refuse(HTTPStatus.BAD_REQUEST, "the body does not end where it should")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header field; drop a trailer field, which no application asks for."""
        if self._phase in (_Phase.HEAD, _Phase.IDLE):
            name = name.lower()
            super().on_header(b"upgrade" if name == MASKED_UPGRADE else name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        """Start to answer the request, or refuse it."""
        if self._phase not in (_Phase.HEAD, _Phase.IDLE):
            return
        version = self.parser.get_http_version()
        is_upgrade = self.parser.should_upgrade()
        if version not in ("1.0", "1.1") or (is_upgrade and self._should_upgrade() and version != "1.1"):
            self._refuse(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1")
        elif len(self.headers) > MAX_HEADERS:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self._refuse(status, f"a request has at most {MAX_HEADERS} header fields")
        elif not self._names_one_host(version):
            self._refuse(HTTPStatus.BAD_REQUEST, "a request names one host")
        elif is_upgrade and not self._should_upgrade():
            self._refuse(HTTPStatus.BAD_REQUEST, "this server is no tunnel, and upgrades to WebSocket alone")
        elif is_upgrade and self._share.has_own_websocket:
            super().on_headers_complete()  # it counts the connection itself
        elif not self._share.limit.serve(self.transport, self.loop.time()):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, self._share.limit.sentence)
        else:
            if not is_upgrade:
                self._phase = _Phase.BODY
                self._body = RequestBody(self.headers, self.loop.time())
                self._has_to_close = False
            super().on_headers_complete()

    def _names_one_host(self, version: str) -> bool:
        """Return whether the request may be answered (RFC 9112 section 3.2); HTTP/1.0 need not name any host."""
        n_hosts = sum([name == b"host" for name, _ in self.headers])
        return n_hosts == 1 or (n_hosts == 0 and version == "1.0")

    def on_body(self, body: bytes) -> None:
        """Keep a part of a request's body for the application."""
        if self._phase in (_Phase.BODY, _Phase.DRAIN):
            self._body.add(len(body), self.loop.time())
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        if self._phase is _Phase.BODY:
            self._phase = _Phase.RESPONSE
            super().on_message_complete()
        elif self._phase is _Phase.DRAIN:
            self._rest()

    # Responses

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["http_version"] != "1.1":
            app = UnchunkedResponse(app, cycle)
        super()._start_asgi_task(cycle, PacedApplication(app, cycle, self._ends_with))

    def _ends_with(self, has_to_close: bool) -> None:  # noqa: FBT001 - a callback of one value
        self._has_to_close = has_to_close

    def on_response_complete(self) -> None:
        """Read the rest of the request, or the next one."""
        self.server_state.total_requests += 1
        self.cycle.body.clear()
        self.flow.read_paused = False
        if self.transport.is_closing():
            self._end()
        elif self._phase is _Phase.BODY:
            self._n_drained = 0
            self._phase = _Phase.DRAIN
            if self._has_to_close:
                self._hang_up()
        elif self._has_to_close:
            self.transport.close()
            self._end()
        else:
            self._rest()
        self._watch()
        self._read_on_soon()

    def _rest(self) -> None:
        self._phase = _Phase.IDLE
        self._share.limit.rest(self.transport, self.loop.time())

    # Back-pressure and time

    def pause_writing(self) -> None:
        """Make the application wait until the client has read."""
        super().pause_writing()
        self._set_timer()

    def resume_writing(self) -> None:
        """Let the application go on."""
        super().resume_writing()
        self._set_timer()

    def shutdown(self) -> None:
        """End the connection, or let it end behind its response."""
        super().shutdown()
        if self.transport.is_closing():
            self._end()

    def _watch(self) -> None:
        """Read from the client or not, and give it the time that the phase allows."""
        # While a response is awaited, a little is read: without reading, nobody would notice that the client left.
        is_waiting = self.flow.read_paused or len(self._unread) > MAX_HEAD_BYTES
        if is_waiting == self.transport.is_reading() and not self.transport.is_closing():
            (self.transport.pause_reading if is_waiting else self.transport.resume_reading)()
        if self._phase is not self._timed_phase:
            self._timed_phase = self._phase
            allowed_s = self._allowed_s()
            self._due_at = None if allowed_s is None else self.loop.time() + allowed_s
            self._set_timer()

    def _allowed_s(self) -> float | None:
        match self._phase:
            case _Phase.HEAD:
                return HEAD_TIMEOUT_S
            case _Phase.BODY:
                return self._body.due_at - self.loop.time()
            case _Phase.DRAIN:
                return _DRAIN_S
            case _Phase.IDLE:
                return self.timeout_keep_alive
            case _Phase.ENDING:
                return _LINGER_S
            case _Phase.RESPONSE:
                return None

    def _set_timer(self) -> None:
        if self.flow.write_paused:
            self._share.wheel.set(self, _STALL_TIMEOUT_S)
        elif self._due_at is None:
            self._share.wheel.clear(self)
        else:
            self._share.wheel.set(self, self._due_at - self.loop.time())

    def on_time(self) -> None:
        """End a connection whose client does not do its part."""
        if self._phase is _Phase.ENDING:
            self._cut()
        elif self.flow.write_paused:
            self.transport.abort()  # close() would wait for a client that does not read
        elif self._phase is _Phase.IDLE:
            self.transport.close()
            self._end()
        elif self._phase is _Phase.DRAIN:
            self._hang_up()
        elif self._phase is _Phase.HEAD:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the request's head did not arrive in time")
        else:
            self._check_body()

    def _cut(self) -> None:
        if self.transport.get_write_buffer_size() and self.loop.time() < self._cut_at:
            self._share.wheel.set(self, _LINGER_S)  # it has not read everything
        else:
            self.transport.abort()

    def _check_body(self) -> None:
        now = self.loop.time()
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._body.wait_for_application(now)
        if now < self._body.due_at:
            self._due_at = self._body.due_at
            self._set_timer()
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the request's body did not arrive in time")

    # The end

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer the request that cannot be served, unless it has its response already, and read no more."""
        if self._phase is _Phase.ENDING:
            return
        response = make_response(status, detail)
        if self._phase is _Phase.DRAIN:
            response = b""
        elif self._phase in (_Phase.BODY, _Phase.RESPONSE):
            self.cycle.disconnected = True
            self.cycle.waiting_for_100_continue = False  # nothing may be written behind the refusal
            self.cycle.message_event.set()
            response = b"" if self.cycle.response_started else response
        self._hang_up(response)

    def _hang_up(self, response: bytes = b"") -> None:
        """End the writing side, and drop what still comes: a client that is cut off while it sends may miss this."""
        self.transport.write(response)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
        self._end()

    def _end(self) -> None:
        self._phase = _Phase.ENDING
        self._cut_at = self.loop.time() + _STALL_TIMEOUT_S
        self._unread.clear()
        self.flow.read_paused = False
        self._watch()

    # The way to the WebSocket

    def _upgrade(self) -> None:
        if self._phase is _Phase.ENDING:
            return
        if not self.transport.is_reading():
            self.transport.resume_reading()
        self._share.wheel.clear(self)
        early, self._unread = bytes(self._unread), bytearray()
        self.handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        if early and isinstance(protocol, asyncio.Protocol):
            protocol.data_received(early)
        self._phase = _Phase.ENDING
        self.flow.disconnect()
        self.parser = None  # type: ignore[assignment]  # it and this object hold each other

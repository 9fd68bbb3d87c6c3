"""HttpConnection: uvicorn's HTTP protocol, with a bound on everything that a client can make it keep.

One request is read and answered at a time. The bytes after it stay unparsed: at most one read of the event loop for
each connection, and the rest in the kernel. Knows only how a WebSocket begins; `handshake.py` reads the handshake.
"""

import asyncio
from http import HTTPStatus
from math import inf
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from chatkit.protocols import head as heads
from chatkit.protocols.body import RequestBody
from chatkit.protocols.handshake import make_response
from chatkit.protocols.peer import is_of_network
from chatkit.protocols.phase import LINGER_S, TIMES_S, Phase
from chatkit.protocols.response import Flow, PacedApplication, UnchunkedResponse
from chatkit.protocols.shared import SharedState

_MAX_DRAINED_BYTES: Final = 4_194_304  # of that rest; four times the longest body that chatkit reads
_STALL_TIMEOUT_S: Final = 120.0  # to read about 100 KiB of a response; the kernel may report progress in megabytes
_TURN_PARTS: Final = 128  # chunks and trailer fields that are parsed before other connections have their turn
_LINE_ENDS: Final = b"\r\n"


class HttpConnection(HttpToolsProtocol):
    """uvicorn's HTTP protocol, one request at a time, with limits in bytes and time for each part of a request.

    Bytes after an opening handshake are passed on to the WebSocket; uvicorn drops them.
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
        self.limit_concurrency = None  # the shared `ConnectionLimit` replaces it
        self.due_tick = 0
        self._shared = SharedState.of(config, server_state, _loop)
        self._phase = Phase.HEAD
        self._timed_phase: Phase | None = None  # the phase that `_due_at` was set for
        self._due_at: float | None = None
        self._abort_at = -inf  # deadline for the client to read the rest; set when the connection ends
        self._unread = bytearray()
        self._n_searched = 0  # leading bytes that contain no end of a head
        self._body = RequestBody([], 0.0)
        self._n_drained = 0
        self._has_to_close = False  # after the response
        self._n_parts = 0  # chunks and trailer fields parsed in this turn
        self._is_turn_over = False

    # Transport callbacks

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        if self.client is None and is_of_network(transport):  # it has gone; the data that it sent are not read
            transport.abort()
        self.flow = Flow(transport, self._application_resumed)
        self._apply_phase()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the request that is being answered, and release everything."""
        self._phase = Phase.ENDING
        self._shared.wheel.clear(self)
        self._shared.limit.close(self.transport)
        self._unread.clear()
        super().connection_lost(exc)
        self.flow.disconnect()

    def eof_received(self) -> None:
        """Close the connection: a client that stops sending is assumed to have left."""
        self.transport.close()
        self._end()

    def data_received(self, data: bytes) -> None:
        """Parse as much as the current request and its application allow."""
        if self._phase is not Phase.ENDING:
            self._unread += data
            self._read_available()

    def _application_resumed(self) -> None:
        self._body.wait_for_application(self.loop.time())
        self.loop.call_soon(self._read_available)

    def _end_turn(self) -> None:
        self._is_turn_over = True
        self._shared.turns.add(self._read_available)

    def _read_available(self) -> None:
        self._n_parts = 0
        self._is_turn_over = False
        while self._unread and not self.flow.read_paused and self.parser is not None:
            match self._phase:
                case Phase.HEAD | Phase.IDLE:
                    is_whole = self._read_head()
                case Phase.BODY | Phase.DRAIN:
                    is_whole = self._read_body()
                case _:
                    break
            if not is_whole:
                break
            if self._n_parts > _TURN_PARTS and self._unread:
                self._end_turn()
                break
        if self.parser is not None:
            self._apply_phase()

    def _read_head(self) -> bool:
        """Parse the next head; return whether it was complete."""
        if not self._n_searched and self._unread[0] in _LINE_ENDS:  # RFC 9112, section 2.2 allows them here
            self._unread = self._unread.lstrip(_LINE_ENDS)
            return bool(self._unread)
        if not self._n_searched and not self._unread[:1].isalpha():  # not a method: do not wait for the rest
            self._reject(HTTPStatus.BAD_REQUEST, "this is not a request of HTTP/1.1")
            return False
        end = heads.find_head_end(self._unread, self._n_searched)
        if (end or len(self._unread)) > heads.MAX_HEAD_BYTES:
            self._reject_head()
            return False
        if not end:
            self._n_searched = len(self._unread)
            self._phase = Phase.HEAD
            return False
        head = bytes(self._unread[:end])
        del self._unread[:end]
        self._n_searched = 0
        if heads.has_costly_escapes(head):
            self._reject(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, heads.TOO_MANY_ESCAPES)
            return False
        self._parse(heads.prepare_head(head, has_websocket=self._should_upgrade_to_ws()))
        return True

    def _reject_head(self) -> None:
        is_long_target = self._unread.find(b"\n", 0, heads.MAX_HEAD_BYTES) < 0
        status = HTTPStatus.REQUEST_URI_TOO_LONG if is_long_target else HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        self._reject(status, f"a request's head has at most {heads.MAX_HEAD_BYTES} bytes")

    def _read_body(self) -> bool:
        """Parse the next piece of the body; return whether there was one."""
        size = self._body.next_piece(self._unread)
        if not size:
            return False
        piece = bytes(self._unread[:size])
        del self._unread[:size]
        self._body.parse(size)
        is_drained = self._phase is Phase.DRAIN
        self._parse(piece)
        content = self._body.read_chunks(self.loop.time())
        if content and self.parser is not None:
            super().on_body(content)
        if is_drained:
            self._n_drained += size
        if self._body.has_excess_framing:
            self._reject(HTTPStatus.BAD_REQUEST, "the body has more framing than content")
        elif self._phase is Phase.DRAIN and self._n_drained > _MAX_DRAINED_BYTES:
            self._half_close()
        return True

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade()
        except httptools.HttpParserError:
            if self._phase is not Phase.ENDING:
                self.logger.warning("Invalid HTTP request received.")
                self._reject(HTTPStatus.BAD_REQUEST, "this is not a request of HTTP/1.1")

    # Parser callbacks

    def on_message_begin(self) -> None:
        if self._phase in (Phase.HEAD, Phase.IDLE):
            super().on_message_begin()
        else:  # the parser and `RequestBody` disagree on where the body ends
            self._reject(HTTPStatus.BAD_REQUEST, "the body does not end where it should")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header field. Trailer fields are dropped, because no application reads them."""
        self._n_parts += 1
        if self._phase is Phase.IDLE or self._phase is Phase.HEAD:
            name, value = name.lower(), value.rstrip(b" \t")
            if name == b"expect":
                self.expect_100_continue = self.expect_100_continue or value.lower() == b"100-continue"
            elif name == heads.MASKED_UPGRADE:
                name = b"upgrade"
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start to answer the request, or reject it."""
        if self._phase not in (Phase.HEAD, Phase.IDLE):
            return
        version = self.parser.get_http_version()
        is_upgrade = self.parser.should_upgrade()
        if version not in ("1.0", "1.1") or (is_upgrade and self._should_upgrade() and version != "1.1"):
            self._reject(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1")
        elif fault := heads.find_fault(self.headers, version):
            self._reject(*fault)
        elif is_upgrade and not self._should_upgrade():
            self._reject(HTTPStatus.BAD_REQUEST, "this server is not a tunnel; it upgrades to WebSocket only")
        elif is_upgrade and self._shared.has_own_websocket:
            super().on_headers_complete()  # the WebSocket protocol counts the connection
        elif not self._shared.limit.serve(self.transport, self.loop.time()):
            self._reject(HTTPStatus.SERVICE_UNAVAILABLE, self._shared.limit.sentence)
        else:
            if not is_upgrade:
                self._phase = Phase.BODY
                self._body = RequestBody(self.headers, self.loop.time())
                self._has_to_close = False
            try:
                super().on_headers_complete()
            except Exception:  # the target is not a URL: no cycle was made, so this is rejected like a head
                self._phase = Phase.HEAD
                raise

    def on_body(self, body: bytes) -> None:
        """Store a chunk until the piece is parsed: each alone would cost several times as much."""
        self._n_parts += 1
        self._body.add_chunk(body)

    def on_message_complete(self) -> None:
        if self._phase is Phase.BODY:
            self._phase = Phase.RESPONSE
            super().on_message_complete()
        elif self._phase is Phase.DRAIN:
            self._become_idle()

    # Responses

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["http_version"] != "1.1":
            cycle.waiting_for_100_continue = False  # a client of HTTP/1.0 would take "100 Continue" for the answer
            app = UnchunkedResponse(app, cycle)
        super()._start_asgi_task(cycle, PacedApplication(app, cycle, self._set_has_to_close))

    def _set_has_to_close(self, has_to_close: bool) -> None:  # noqa: FBT001 - a callback of one value
        self._has_to_close = has_to_close

    def on_response_complete(self) -> None:
        """Read the rest of the request, or the next one."""
        self.server_state.total_requests += 1
        self.cycle.body.clear()
        self.flow.read_paused = False
        if self.transport.is_closing():
            self._end()
        elif self._phase is Phase.BODY:
            self._n_drained = 0
            self._phase = Phase.DRAIN
            if self._has_to_close:
                self._half_close()
        elif self._has_to_close:
            self.transport.close()
            self._end()
        else:
            self._become_idle()
        if self._unread:
            self._end_turn()  # for requests that a client sends without waiting for the responses
        self._apply_phase()

    def _become_idle(self) -> None:
        self._phase = Phase.IDLE
        self._shared.limit.mark_idle(self.transport, self.loop.time())

    # Back-pressure and time

    def pause_writing(self) -> None:
        """Make the application wait until the client has read."""
        super().pause_writing()
        self._set_timer()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._set_timer()

    def shutdown(self) -> None:
        """Close the connection now, or after its response."""
        super().shutdown()
        if self.transport.is_closing():
            self._end()

    def _apply_phase(self) -> None:
        """Pause or resume reading, and set the time limit of the current phase."""
        # While a response is awaited, a little is read: without reading, a disconnect would go unnoticed.
        is_waiting = self.flow.read_paused or self._is_turn_over or len(self._unread) > heads.MAX_HEAD_BYTES
        if is_waiting == self.transport.is_reading() and not self.transport.is_closing():
            (self.transport.pause_reading if is_waiting else self.transport.resume_reading)()
        if self._phase is not self._timed_phase:
            self._timed_phase = self._phase
            allowed_s = self._allowed_s()
            self._due_at = None if allowed_s is None else self.loop.time() + allowed_s
            self._set_timer()

    def _allowed_s(self) -> float | None:
        match self._phase:
            case Phase.BODY:
                return self._body.due_at - self.loop.time()
            case Phase.IDLE:
                return self.timeout_keep_alive
            case phase:
                return TIMES_S.get(phase)

    def _set_timer(self) -> None:
        if self.flow.write_paused:
            self._shared.wheel.set(self, _STALL_TIMEOUT_S)
        elif self._due_at is None:
            self._shared.wheel.clear(self)
        else:
            self._shared.wheel.set(self, self._due_at - self.loop.time())

    def on_timer(self) -> None:
        """Close a connection whose client exceeded its time limit."""
        if self._phase is Phase.ENDING:
            self._abort_unless_draining()
        elif self.flow.write_paused:
            self.transport.abort()  # close() would wait for a client that does not read
        elif self._phase is Phase.IDLE:
            self.transport.close()
            self._end()
        elif self._phase is Phase.DRAIN:
            self._half_close()
        elif self._phase is Phase.HEAD:
            self._reject(HTTPStatus.REQUEST_TIMEOUT, "the request's head did not arrive in time")
        else:
            self._check_body()

    def _abort_unless_draining(self) -> None:
        if self.transport.get_write_buffer_size() and self.loop.time() < self._abort_at:
            self._shared.wheel.set(self, LINGER_S)  # the client has not read everything
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
            self._reject(HTTPStatus.REQUEST_TIMEOUT, "the request's body did not arrive in time")

    # Closing

    def _reject(self, status: HTTPStatus, detail: str) -> None:
        """Answer a request that cannot be served, unless its response has started, and stop reading."""
        if self._phase is Phase.ENDING:
            return
        response = make_response(status, detail)
        if self._phase is Phase.DRAIN:
            response = b""
        elif self._phase in (Phase.BODY, Phase.RESPONSE):
            self.cycle.disconnected = True
            self.cycle.waiting_for_100_continue = False  # nothing may be written after the rejection
            self.cycle.message_event.set()
            response = b"" if self.cycle.response_started else response
        self._half_close(response)

    def _half_close(self, response: bytes = b"") -> None:
        """Close the write side and discard incoming data: a client that is reset could miss the response."""
        self.transport.write(response)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
        self._end()

    def _end(self) -> None:
        self._phase = Phase.ENDING
        self._abort_at = self.loop.time() + _STALL_TIMEOUT_S
        self._unread.clear()
        self.flow.read_paused = False
        self._apply_phase()

    # Upgrading to WebSocket

    def _upgrade(self) -> None:
        if self._phase is Phase.ENDING:
            return
        if not self.transport.is_reading():
            self.transport.resume_reading()
        self._shared.wheel.clear(self)
        early, self._unread = bytes(self._unread), bytearray()
        self.handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        if early and isinstance(protocol, asyncio.Protocol):
            protocol.data_received(early)
        self._phase = Phase.ENDING
        self.flow.disconnect()
        self.parser = None  # type: ignore[assignment]  # break the reference cycle between the parser and this object

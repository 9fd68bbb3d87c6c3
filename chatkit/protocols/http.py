"""HTTP before the WebSocket: uvicorn's, with an end to what never ends.

Knows the beginning of a connection alone; the handshake itself is read in `protocol_opening.py`.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from chatkit.protocols.handshake import HEAD_TIMEOUT_S, MAX_HEAD_BYTES, make_response
from chatkit.protocols.shared import SharedState
from chatkit.protocols.unchunked import UnchunkedResponse

_REFUSED_TIMEOUT_S: Final = 2.0  # for a client to read why it was refused, and to leave
_BODY_TIMEOUT_S: Final = 30.0  # without a byte of a body that is awaited: a phone is in its next network by then
_STALL_TIMEOUT_S: Final = 120.0  # without progress in sending an answer: the system may tell of it in megabytes

# What is awaited of the client: a request's head, its body, or, while it is answered and after, nothing.
_HEAD, _BODY, _NOTHING = range(3)


class HttpConnection(HttpToolsProtocol):
    """uvicorn's HTTP, with an end to clients that stop in the middle, and with nothing lost on the way to a WebSocket.

    What a client sends behind its handshake without waiting for the answer reaches the WebSocket; uvicorn drops it.
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
        self._wheel = SharedState.of(config, server_state, _loop).wheel
        self._awaited = _HEAD
        self._head_bytes = 0
        self._is_new_head = True  # it began with what was read last
        self._is_refused = False
        self._early: bytearray | None = None  # behind a handshake whose turn has not come; None without one
        self._n_unsent_bytes = 0  # when it was last looked at
        self._running: RequestResponseCycle | None = None  # what is being answered, or was last

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Give the first head its time."""
        super().connection_made(transport)
        self._wheel.set(self, HEAD_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._wheel.clear(self)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # after an error, uvicorn leaves it
        if self._running is not None and not self._running.response_complete:
            _tell_left(self._running)  # uvicorn tells but the newest, which may not have begun

    def data_received(self, data: bytes) -> None:
        """Read HTTP; hand on what comes after an upgrade."""
        if self._is_refused:
            return
        self._unset_keepalive_if_required()
        if self._early is None:
            self._read(data)
        else:
            self._early += data
            if len(self._early) > MAX_HEAD_BYTES:
                self.flow.pause_reading()

    def _read(self, data: bytes) -> None:
        self._is_new_head = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self._refuse(HTTPStatus.BAD_REQUEST)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._upgrade(data[upgrade.args[0] :])
                return
            self._unsupported_upgrade_warning()
        if self._awaited != _HEAD:
            self._wait()
        elif not self._is_new_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    # What the parser finds

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        if self._is_refused:
            return
        self._awaited = _HEAD
        self._is_new_head = True
        self._head_bytes = 0
        self._wheel.set(self, HEAD_TIMEOUT_S)

    def on_headers_complete(self) -> None:
        """End a request's head."""
        if self._is_refused:
            return
        self._wheel.clear(self)
        n_bytes = len(self.url) + sum([len(name) + len(value) for name, value in self.headers])
        if len(self.url) > MAX_HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG)
        elif n_bytes > MAX_HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif not self._names_one_host():
            self._refuse(HTTPStatus.BAD_REQUEST, b"A request names one host.\n")
        else:
            super().on_headers_complete()
            self._awaited = _BODY

    def _names_one_host(self) -> bool:
        """Say whether the request may be answered (RFC 9112 section 3.2); HTTP/1.0 need not name any."""
        n_hosts = sum([name == b"host" for name, _ in self.headers])
        return n_hosts == 1 or (n_hosts == 0 and self.parser.get_http_version() == "1.0")

    def on_body(self, body: bytes) -> None:
        """Take a part of a request's body."""
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        if not self._is_refused:
            self._awaited = _NOTHING
            super().on_message_complete()

    # Answers

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app if cycle.scope["http_version"] == "1.1" else UnchunkedResponse(app, cycle))

    def on_response_complete(self) -> None:
        """Go on with what the client sent meanwhile."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._wait()
        elif self._early is not None and self._is_answered:
            self._unset_keepalive_if_required()
            self._hand_over(bytes(self._early))

    @property
    def _is_answered(self) -> bool:
        """Say whether every request has had its answer."""
        return self.cycle is None or self.cycle.response_complete

    # Those who stop in the middle

    def pause_writing(self) -> None:
        """Hear that the client does not keep up."""
        super().pause_writing()
        self._wait()

    def resume_writing(self) -> None:
        """Hear that the client does again."""
        super().resume_writing()
        self._wait()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection on which nothing was asked for a while."""
        super().timeout_keep_alive_handler()
        self._wait()

    def _wait(self) -> None:
        """Give the client the time for what it has to do next."""
        is_ending = self._is_refused or self.transport.is_closing()
        if self.flow.write_paused or (is_ending and self.transport.get_write_buffer_size()):
            self._n_unsent_bytes = self.transport.get_write_buffer_size()
            self._wheel.set(self, _STALL_TIMEOUT_S)
        elif is_ending:
            self._wheel.set(self, _REFUSED_TIMEOUT_S)
        elif self._awaited == _HEAD:
            self._wheel.set(self, HEAD_TIMEOUT_S)
        elif self._awaited == _BODY:
            self._wheel.set(self, _BODY_TIMEOUT_S)
        elif self._is_answered:
            self._wheel.set(self, self.timeout_keep_alive)
        else:
            self._wheel.clear(self)

    def on_time(self) -> None:
        """End a connection whose client does not do its part."""
        if self._is_refused or self.transport.is_closing() or self.flow.write_paused:
            if self.transport.get_write_buffer_size() < self._n_unsent_bytes:
                self._wait()  # it reads on, however slowly
            else:
                self.transport.abort()  # close() would wait for a client that reads no more
        elif self._awaited == _HEAD:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif self._is_answered:
            self.timeout_keep_alive_handler()
        elif self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._wait()  # it is the application that does not take the body
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus, sentence: bytes = b"") -> None:
        """Answer, behind what is being answered, and read no more."""
        if self._is_refused:
            return
        self._is_refused = True
        if self._is_answered:
            self._say_last(make_response(status, sentence))
        elif self._awaited == _BODY and self.cycle is self._running:
            self._break_off(make_response(status, sentence))
        else:
            self._end_behind_answers()

    def _break_off(self, response: bytes) -> None:
        """End a request whose body does not come, or is none."""
        _tell_left(self.cycle)
        self._say_last(b"" if self.cycle.response_started else response)

    def _end_behind_answers(self) -> None:
        """End the connection behind the last answer that is due: one in the middle of it would be read as its part."""
        if self._awaited == _BODY:  # that request is none, and is not even answered
            self.pipeline.popleft()
        self.cycle = self.pipeline[0][0] if self.pipeline else self._running or self.cycle
        self.cycle.keep_alive = False

    def _say_last(self, response: bytes) -> None:
        """End the connection, and hear the client out: if it were cut off while it sends, it might not read this."""
        self._wheel.set(self, _REFUSED_TIMEOUT_S)
        self.transport.write(response)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    # The way to the WebSocket

    def _upgrade(self, early: bytes) -> None:
        if self._is_refused:
            return
        self._awaited = _NOTHING
        if self.scope.get("http_version") != "1.1":
            self._refuse(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        elif self._is_answered:
            self._hand_over(early)
        else:  # the answers to what was asked before come first
            self._early = bytearray(early)
            self.flow.pause_reading()

    def _hand_over(self, early: bytes) -> None:
        self._wheel.clear(self)
        self.handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        if early and isinstance(protocol, asyncio.Protocol):
            protocol.data_received(early)
        self.parser = None  # type: ignore[assignment]  # as uvicorn ends it: it and this object hold each other


def _tell_left(cycle: RequestResponseCycle) -> None:
    """Tell an application that its client is there no more."""
    cycle.disconnected = True
    cycle.message_event.set()

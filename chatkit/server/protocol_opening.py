"""How a connection becomes a WebSocket: the opening handshake after RFC 6455, section 4.

Owns the limits of what has not become a WebSocket yet (how long a head may be, and may take), and what the connections
of one server share, from their first byte on: its settings and one clock. Knows neither frames nor what a handler does.
"""

import asyncio
import logging
from collections.abc import Iterable
from email.utils import formatdate
from heapq import heappop, heappush
from http import HTTPStatus
from typing import Any, ClassVar, Final, Protocol
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from uvicorn.config import Config
from uvicorn.protocols.utils import get_client_addr, get_local_addr, get_path_with_query_string, get_remote_addr, is_ssl
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake, InvalidHeader
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

HeaderList = list[tuple[bytes, bytes]]

MAX_HEAD_BYTES: Final = 65_536  # a request's line and headers; cookies rarely reach 8 KiB
HEAD_TIMEOUT_S: Final = 10.0  # for a request's head to arrive whole

_TICK_S: Final = 0.05
_STALL_S: Final = 0.1  # a timer so late says that the process stood still, or had much to do
_WINDOW_BITS: Final = 12  # 4 KiB: what a chat's messages need, at an eighth of the memory of 15

_log = logging.getLogger("uvicorn.error")


class Refused(Exception):
    """The handshake is refused; `response` is the whole HTTP answer."""

    def __init__(self, response: bytes) -> None:
        super().__init__(response)
        self.response = response


class Timed(Protocol):
    """What a `Wheel` calls back. `due_tick` is the wheel's own: 0 while nothing is set."""

    due_tick: int

    def on_time(self) -> None:
        """Hear that the time is over."""


class Wheel:
    """The timers of all connections of one server as one timer of the loop. A connection has at most one at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[int, set[Timed]] = {}
        self._ticks: list[int] = []  # a heap of the keys of `_due`, and of some that were there
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def set(self, timed: Timed, delay_s: float) -> None:
        """Call `on_time` once, in `delay_s` or a tick later, in place of what was set before."""
        self.clear(timed)
        tick = int((self._loop.time() + delay_s) / _TICK_S) + 1
        due = self._due.get(tick)
        if due is None:
            due = self._due[tick] = set()
            heappush(self._ticks, tick)
            if self._timer is None or tick * _TICK_S < self._timer_at:
                self._wake_at(tick * _TICK_S)
        due.add(timed)
        timed.due_tick = tick

    def clear(self, timed: Timed) -> None:
        """Forget what was set."""
        due = self._due.get(timed.due_tick)
        timed.due_tick = 0
        if due is not None:
            due.discard(timed)

    def _wake_at(self, time: float, *, is_late: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = time
        self._timer = self._loop.call_at(time, self._turn, is_late)

    def _turn(self, is_late: bool) -> None:  # noqa: FBT001 - call_at passes no keywords
        self._timer = None
        now = self._loop.time()
        if now - self._timer_at > _STALL_S and not is_late:
            # Nothing was read meanwhile, and timers may run before reads: first hear who lives, then judge.
            self._wake_at(now + _STALL_S, is_late=True)
            return
        while self._ticks and self._ticks[0] * _TICK_S <= now:
            tick = heappop(self._ticks)
            for timed in self._due.pop(tick, ()):
                if timed.due_tick == tick:  # else it was set or cleared by one before it
                    timed.due_tick = 0
                    timed.on_time()
        if self._ticks:  # in place of what those called may have set: something else may be due before theirs
            self._wake_at(self._ticks[0] * _TICK_S)


class Share:
    """What the connections of one server have in common, so that none has to carry it."""

    _of: ClassVar["WeakKeyDictionary[ServerState, Share]"] = WeakKeyDictionary()

    def __init__(self, config: Config, loop: asyncio.AbstractEventLoop) -> None:
        self.config = config
        self.loop = loop
        self.wheel = Wheel(loop)
        # Neither side takes its context over: a message compressed once is good for every client with the same window,
        # no connection keeps a window in memory, and a client's block marked final does no harm to what follows.
        deflate = ServerPerMessageDeflateFactory(
            server_no_context_takeover=True,
            client_no_context_takeover=True,
            server_max_window_bits=_WINDOW_BITS,
            client_max_window_bits=_WINDOW_BITS,
        )
        # One for all: it only ever judges a request, and what it thinks of the last is read at once.
        self.negotiator = ServerProtocol(extensions=[deflate] if config.ws_per_message_deflate else [])

    @classmethod
    def of(cls, config: Config, state: ServerState, loop: asyncio.AbstractEventLoop | None) -> "Share":
        """Return the server's, made by its first connection."""
        share = cls._of.get(state)
        if share is None:
            share = cls._of[state] = cls(config, loop or asyncio.get_event_loop())
        return share


class Opening:
    """A client's side of the opening handshake: what it asked for, and what the answer has to hold."""

    def __init__(self, request: Request, answer: HeaderList, deflate: PerMessageDeflate | None) -> None:
        self.answer = answer
        self.headers = [(name.lower().encode("ascii"), v.encode("latin-1")) for name, v in request.headers.raw_items()]
        offered = request.headers.get_all("Sec-WebSocket-Protocol")
        self.subprotocols = [token.strip() for value in offered for token in value.split(",")]
        target = request.path
        if not target.startswith("/"):  # a request to a proxy names the whole URL, and servers must take it too
            url = urlsplit(target)
            target = f"{url.path or '/'}?{url.query}"
        self.raw_path, _, self.query = target.partition("?")
        self.deflate_bits = deflate.local_max_window_bits if deflate else 0
        self.inflate_bits = deflate.remote_max_window_bits if deflate else 0

    @classmethod
    def read(cls, head: bytes, share: Share) -> "Opening":
        """Read the head of a request; raise `Refused` where it opens no WebSocket."""
        request = _parse_head(head)
        hosts = request.headers.get_all("Host")
        if len(hosts) != 1 or not hosts[0]:
            raise Refused(make_response(HTTPStatus.BAD_REQUEST, b"A request names one host.\n"))
        negotiator = share.negotiator
        try:
            accept, extensions, _ = negotiator.process_request(request)
        except InvalidHandshake as error:
            response = negotiator.accept(request)  # refuses it again, and knows how to say so
            negotiator.handshake_exc = None
            raise Refused(_refusal(response, error)) from error
        answer = [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Accept", accept.encode())]
        deflate = None
        if extensions is not None:
            answer.append((b"Sec-WebSocket-Extensions", extensions.encode()))
            deflate = next(one for one in negotiator.extensions if isinstance(one, PerMessageDeflate))
        return cls(request, answer, deflate)

    def make_scope(self, share: Share, transport: asyncio.Transport, state: dict[str, Any]) -> dict[str, Any]:
        """Make the ASGI scope, but for the extensions that the connection offers."""
        config = share.config
        return {
            "type": "websocket",
            "asgi": {"version": config.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if is_ssl(transport) else "ws",
            "server": get_local_addr(transport),
            "client": get_remote_addr(transport),
            "root_path": config.root_path,
            "path": config.root_path + unquote(self.raw_path),
            "raw_path": (config.root_path + self.raw_path).encode("ascii"),
            "query_string": self.query.encode("ascii"),
            "headers": self.headers,
            "subprotocols": self.subprotocols,
            "state": state.copy(),
        }

    def accept(self, defaults: HeaderList, headers: Iterable[tuple[bytes, bytes]], subprotocol: str | None) -> bytes:
        """Make the answer that opens the WebSocket."""
        chosen: HeaderList = []
        if subprotocol:
            if subprotocol not in self.subprotocols:
                raise RuntimeError(f"The client did not offer the subprotocol {subprotocol!r}.")
            chosen = [(b"Sec-WebSocket-Protocol", subprotocol.encode("ascii"))]
        return make_head(HTTPStatus.SWITCHING_PROTOCOLS, [*defaults, *self.answer, *chosen, *headers])


class Pending:
    """What a connection keeps until its handshake is answered."""

    __slots__ = ("app_state", "buffer", "denial", "is_denial_begun", "opening", "scope")

    def __init__(self, app_state: dict[str, Any]) -> None:
        self.app_state = app_state
        self.buffer = bytearray()  # the head, then what came behind it
        self.opening: Opening | None = None
        self.scope: dict[str, Any] = {}
        self.denial: tuple[int, HeaderList] | None = None
        self.is_denial_begun = False

    def deny(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Begin to answer with an HTTP response in place of a WebSocket."""
        if not 200 <= status < 600:
            raise RuntimeError(f"{status} is not the status of a response.")
        kept = [(name, value) for name, value in headers if name.lower() not in (b"connection", b"transfer-encoding")]
        self.denial = status, [*kept, (b"connection", b"close")]
        self.log(str(status))

    def deny_with(self, message: dict[str, Any], defaults: HeaderList) -> bytes:
        """Make the next part of that response: its head first, whose length is known if there is but one part."""
        body: bytes = message.get("body", b"")
        if self.is_denial_begun or self.denial is None:
            return body
        self.is_denial_begun = True
        status, headers = self.denial
        if not message.get("more_body") and not any(name.lower() == b"content-length" for name, _ in headers):
            headers = [*headers, (b"content-length", b"%d" % len(body))]
        return make_head(status, [*defaults, *headers]) + body

    def log(self, outcome: str) -> None:
        """Log how the handshake ended."""
        if _log.isEnabledFor(logging.INFO):
            scope: Any = self.scope
            _log.info('%s - "WebSocket %s" %s', get_client_addr(scope), get_path_with_query_string(scope), outcome)


def _parse_head(head: bytes) -> Request:
    """Parse what uvicorn's HTTP protocol read, checked and wrote anew."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    headers = Headers()
    try:
        method, target, version = first.decode("ascii").split(" ")
        for line in lines:
            name, _, value = line.partition(b":")
            headers[name.decode("ascii")] = value.strip(b" \t").decode("latin-1")
    except ValueError as error:
        raise Refused(make_response(HTTPStatus.BAD_REQUEST)) from error
    if headers.get_all("Content-Length") not in ([], ["0"]) or "Transfer-Encoding" in headers:
        raise Refused(make_response(HTTPStatus.BAD_REQUEST, b"An opening handshake has no body.\n"))
    return Request(target, headers, method, version)


def _refusal(response: Response, error: InvalidHandshake) -> bytes:
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.headers.raw_items()]
    status = response.status_code
    if isinstance(error, InvalidHeader) and error.name == "Sec-WebSocket-Version":
        headers.append((b"Sec-WebSocket-Version", b"13"))
        status = HTTPStatus.UPGRADE_REQUIRED
    return make_head(status, headers) + response.body


def make_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Make the head of an HTTP response; raise `ValueError` where a header would begin another."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:  # a number that HTTP leaves to its users
        phrase = ""
    lines = [b"HTTP/1.1 %d %s\r\n" % (status, phrase.encode())]
    for name, value in headers:
        line = b"%s: %s" % (name, value)
        if b"\r" in line or b"\n" in line or b"\0" in line:
            raise ValueError(f"a header holds a line break: {line!r}")
        lines.append(line + b"\r\n")
    return b"".join((*lines, b"\r\n"))


def make_response(status: int, body: bytes = b"") -> bytes:
    """Make a whole HTTP response after which the connection ends."""
    headers = [
        (b"Date", formatdate(usegmt=True).encode()),
        (b"Connection", b"close"),
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", b"%d" % len(body)),
    ]
    return make_head(status, headers) + body

"""Handshake: the opening handshake of RFC 6455, section 4, on the server.

Owns the limit on how long a head may take. Knows neither frames nor what a handler does.
"""

import asyncio
import json
import logging
import re
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from uvicorn.protocols.utils import get_client_addr, get_local_addr, get_path_with_query_string, is_ssl
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake, InvalidHeader
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from chatkit.protocols.peer import peer_of
from chatkit.protocols.shared import Agreement, SharedState, agreement

HeaderList = list[tuple[bytes, bytes]]

HEAD_TIMEOUT_S: Final = 10.0  # for a request's head to arrive completely

_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")  # sixteen bytes in Base64
_SUBPROTOCOLS: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:, ?[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
_BAD_TARGET: Final = "the request's target is neither a path nor a URL"
_MAX_REASON_CHARS: Final = 200  # of a rejection: it repeats what the client sent
_UNUSUAL: Final = {b"content-length", b"transfer-encoding"}
_NOTHING: Final = Agreement(None, 0, 0)

_CODES: Final = {
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.REQUEST_TIMEOUT: "timeout",
    HTTPStatus.REQUEST_URI_TOO_LONG: "head-too-large",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "head-too-large",
    HTTPStatus.INTERNAL_SERVER_ERROR: "internal",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}  # of problems that are answered before the application is called; every other status is `bad-request`

_log = logging.getLogger("uvicorn.error")


class HandshakeRejected(Exception):
    """The handshake is rejected; `response` is the complete HTTP response."""

    def __init__(self, response: bytes) -> None:
        super().__init__(response)
        self.response = response


class Handshake:
    """A client's opening handshake: the request, and the headers of the response that accepts it."""

    def __init__(self, head: "_RequestHead", accept: str, agreed: Agreement) -> None:
        self.headers = head.headers
        offered = [value.decode("latin-1") for name, value in head.headers if name == b"sec-websocket-protocol"]
        self.subprotocols = [token.strip() for value in offered for token in value.split(",")]
        target = head.target if head.target.startswith("/") else _origin_form(head.target)
        self.raw_path, _, self.query = target.partition("?")
        self.deflate_bits = agreed.deflate_bits
        self.inflate_bits = agreed.inflate_bits
        self._accept = accept.encode()
        self._extensions = agreed.header

    @classmethod
    def read(cls, data: bytes, shared: SharedState) -> "Handshake":
        """Parse a request's head. Raise `HandshakeRejected` if it does not open a WebSocket."""
        head = _parse_head(data)
        simple = _read_simple(head, shared)
        return cls(head, *(simple or _negotiate(head.as_request(), shared.negotiator)))

    def make_scope(self, shared: SharedState, transport: asyncio.Transport, state: dict[str, Any]) -> dict[str, Any]:
        """Make the ASGI scope, without the extensions. Raise `ClientDisconnected` if the client has gone."""
        config = shared.config
        return {
            "type": "websocket",
            "asgi": {"version": config.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if is_ssl(transport) else "ws",
            "server": get_local_addr(transport),
            "client": peer_of(transport),
            "root_path": config.root_path,
            "path": config.root_path + unquote(self.raw_path),
            "raw_path": (config.root_path + self.raw_path).encode("ascii"),
            "query_string": self.query.encode("ascii"),
            "headers": self.headers,
            "subprotocols": self.subprotocols,
            "state": state.copy(),
        }

    def accept(self, defaults: HeaderList, headers: Iterable[tuple[bytes, bytes]], subprotocol: str | None) -> bytes:
        """Make the response that opens the WebSocket."""
        chosen: HeaderList = []
        if self._extensions is not None:
            chosen.append((b"Sec-WebSocket-Extensions", self._extensions.encode()))
        if subprotocol:
            if subprotocol not in self.subprotocols:
                raise RuntimeError(f"The client did not offer the subprotocol {subprotocol!r}.")
            chosen.append((b"Sec-WebSocket-Protocol", subprotocol.encode("ascii")))
        chosen.extend(headers)
        return _acceptance(tuple(defaults)) + self._accept + b"\r\n" + _make_lines(chosen) + b"\r\n"


class PendingHandshake:
    """The data of a connection whose handshake is not answered yet."""

    __slots__ = ("_is_logged", "app_state", "buffer", "denial", "handshake", "is_denial_begun", "scope")

    def __init__(self, app_state: dict[str, Any], *, is_logged: bool) -> None:
        self._is_logged = is_logged
        self.app_state = app_state
        self.buffer = bytearray()  # the head, then the bytes that arrive after it
        self.handshake: Handshake | None = None
        self.scope: dict[str, Any] = {}
        self.denial: tuple[int, HeaderList] | None = None
        self.is_denial_begun = False

    def deny(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Start an HTTP response instead of a WebSocket."""
        if not 200 <= status < 600:
            raise RuntimeError(f"{status} is not the status of a response.")
        kept = [(name, value) for name, value in headers if name.lower() not in (b"connection", b"transfer-encoding")]
        self.denial = status, [*kept, (b"connection", b"close")]
        self.log(str(status))

    def deny_with(self, message: dict[str, Any], defaults: HeaderList) -> bytes:
        """Make the next part of that response. The first part begins with the head.

        The head has a content length if there is only one part.
        """
        body: bytes = message.get("body", b"")
        if self.is_denial_begun or self.denial is None:
            return body
        self.is_denial_begun = True
        status, headers = self.denial
        if not message.get("more_body") and not any(name.lower() == b"content-length" for name, _ in headers):
            headers = [*headers, (b"content-length", b"%d" % len(body))]
        return make_head(status, [*defaults, *headers]) + body

    def log(self, outcome: str) -> None:
        """Log the outcome of the handshake."""
        if self._is_logged and _log.isEnabledFor(logging.INFO):
            scope: Any = self.scope
            _log.info('%s - "WebSocket %s" %s', get_client_addr(scope), get_path_with_query_string(scope), outcome)


class _RequestHead(NamedTuple):
    """A request's first line and headers; header names are in lower case."""

    method: str
    target: str
    version: str
    headers: HeaderList

    def as_request(self) -> Request:
        """Return the request as an object of the websockets library."""
        headers = Headers()
        for name, value in self.headers:
            headers[name.decode("ascii")] = value.decode("latin-1")
        return Request(self.target, headers, self.method, self.version)


def _parse_head(data: bytes) -> _RequestHead:
    """Parse a head that uvicorn's HTTP parser, or the detection by first bytes, found to be well-formed."""
    first, *lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    try:
        method, target, version = first.decode("ascii").split(" ")
    except ValueError as error:
        raise HandshakeRejected(make_response(HTTPStatus.BAD_REQUEST, _BAD_TARGET)) from error
    fields = [line.partition(b":") for line in lines]
    return _RequestHead(method, target, version, [(name.lower(), value.strip(b" \t")) for name, _, value in fields])


def _origin_form(target: str) -> str:
    """Return the path and query of an absolute URL.

    Such targets are meant for proxies, but servers must accept them too (RFC 9112, section 3.2.2).
    """
    try:
        url = urlsplit(target)
    except ValueError as error:  # brackets that do not contain an IPv6 address
        raise HandshakeRejected(make_response(HTTPStatus.BAD_REQUEST, _BAD_TARGET)) from error
    if not url.netloc:
        raise HandshakeRejected(make_response(HTTPStatus.BAD_REQUEST, _BAD_TARGET))
    return f"{url.path or '/'}?{url.query}"


def _read_simple(head: _RequestHead, shared: SharedState) -> tuple[str, Agreement] | None:
    """Judge a handshake of the form that nearly all clients send; return None if websockets has to judge it."""
    fields = dict(head.headers)
    key = fields.get(b"sec-websocket-key", b"")
    is_usual = (
        len(fields) == len(head.headers)
        and (head.method, head.version) == ("GET", "HTTP/1.1")
        and fields.get(b"upgrade", b"").lower() == b"websocket"
        and fields.get(b"connection", b"").lower() == b"upgrade"
        and fields.get(b"sec-websocket-version") == b"13"
        and _KEY.fullmatch(key) is not None
        and _SUBPROTOCOLS.fullmatch(fields.get(b"sec-websocket-protocol", b"none")) is not None
        and fields.get(b"host")
        and fields.keys().isdisjoint(_UNUSUAL)
    )
    if not is_usual:
        return None
    offer = fields.get(b"sec-websocket-extensions")
    try:
        agreed = _NOTHING if offer is None else shared.agree(offer.decode("latin-1"))
    except InvalidHandshake:
        return None
    return accept_key(key.decode()), agreed


def _negotiate(request: Request, negotiator: ServerProtocol) -> tuple[str, Agreement]:
    """Return the accept header and the agreement on extensions; raise `HandshakeRejected`."""
    headers = request.headers
    if headers.get_all("Content-Length") not in ([], ["0"]) or "Transfer-Encoding" in headers:
        raise HandshakeRejected(make_response(HTTPStatus.BAD_REQUEST, "an opening handshake has no body"))
    hosts = headers.get_all("Host")
    if len(hosts) != 1 or not hosts[0]:
        raise HandshakeRejected(make_response(HTTPStatus.BAD_REQUEST, "a request names one host"))
    try:
        accept, extensions, _ = negotiator.process_request(request)
    except InvalidHandshake as error:
        response = negotiator.accept(request)  # rejects it again, and makes the response
        negotiator.handshake_exc = None
        raise HandshakeRejected(_rejection(response, error)) from error
    return accept, agreement(extensions, negotiator.extensions if extensions else ())


def _rejection(response: Response, error: InvalidHandshake) -> bytes:
    status = HTTPStatus(response.status_code)
    headers: HeaderList = []
    if isinstance(error, InvalidHeader) and error.name == "Sec-WebSocket-Version":
        status = HTTPStatus.UPGRADE_REQUIRED
        headers += [(b"Sec-WebSocket-Version", b"13"), (b"Upgrade", b"websocket")]
    if allow := response.headers.get("Allow"):
        headers.append((b"Allow", allow.encode("ascii")))
    return make_response(status, f"not an opening handshake of a WebSocket: {str(error)[:_MAX_REASON_CHARS]}", headers)


def make_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Make the head of an HTTP response. Raise `ValueError` for a header that contains a line break."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:  # a status that HTTP does not define
        phrase = ""
    return b"HTTP/1.1 %d %s\r\n%s\r\n" % (status, phrase.encode(), _make_lines(headers))


def _make_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines: list[bytes] = []
    for name, value in headers:
        line = b"%s: %s" % (name, value)
        if b"\r" in line or b"\n" in line or b"\0" in line:
            raise ValueError(f"a header holds a line break: {line!r}")
        lines.append(line + b"\r\n")
    return b"".join(lines)


@lru_cache(maxsize=4)  # the default headers have the time, so they change every second
def _acceptance(defaults: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Return the beginning of a response that accepts a handshake, up to the value of `Sec-WebSocket-Accept`."""
    headers = [*defaults, (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Accept", b"")]
    return make_head(HTTPStatus.SWITCHING_PROTOCOLS, headers).removesuffix(b"\r\n\r\n")


def make_response(status: HTTPStatus, detail: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """Make a complete HTTP response that closes the connection. Its body is a problem as in RFC 9457."""
    problem = {"code": _CODES.get(status, "bad-request"), "title": status.phrase, "status": status, "detail": detail}
    body = json.dumps(problem, separators=(",", ":")).encode()
    fields = [
        (b"Date", formatdate(usegmt=True).encode()),
        (b"Connection", b"close"),
        (b"Content-Type", b"application/problem+json"),
        (b"Content-Length", b"%d" % len(body)),
        *headers,
    ]
    return make_head(status, fields) + body

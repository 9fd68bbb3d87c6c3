"""ASGI middleware around the routes: what is the same for every request.

It removes the path prefix, if the proxy has not done so, and refuses addresses that are too long. It adds headers to
HTTP answers that prevent caching and content sniffing, unless the handler sets others. It lists every allowed method in
`Allow`, for 405 and for OPTIONS, and answers HEAD as GET without the body. A WebSocket at an unknown path is accepted
and then closed with 4404, because a browser does not show a page the status of a refused handshake.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final, TypeVar

from litestar import WebSocket
from litestar.enums import ScopeType
from litestar.types.asgi_types import (
    ASGIApp,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    HTTPScope,
    Message,
    Receive,
    Scope,
    Send,
    WebSocketScope,
)

from chatkit.errors import BadRequest, Forbidden, NotFound
from chatkit.server.address_limits import check_path, check_query
from chatkit.server.admission import Admission
from chatkit.server.connect_request import ConnectRequest
from chatkit.server.litestar_types import ServerSocket
from chatkit.server.settings import Settings
from chatkit.server.websockets import reject_handshake
from chatkit.wire.codes import close_code_of, text_of
from chatkit.wire.http import PROBLEM_MEDIA_TYPE, Problem
from chatkit.wire.protocol import SUBPROTOCOL, encode

SOCKET_PATH: Final = "/ws"  # WebSockets are at this path and below it
HEADERS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
NO_METHOD: Final = "NONE"  # no route has it, so that the router's 405 lists the methods that a route has
METHODS: Final = (b"allow", b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")  # of the whole server, for `OPTIONS *`
NEEDS_UPGRADE: Final = Problem(
    "bad-request", "Upgrade Required", HTTPStatus.UPGRADE_REQUIRED, "this is the address of a WebSocket"
)
EMPTY_BODY: Final[HTTPResponseBodyEvent] = {"type": "http.response.body", "body": b"", "more_body": False}

ScopeT = TypeVar("ScopeT", HTTPScope, WebSocketScope)


class RequestMiddleware:
    """An ASGI application in front of the routes."""

    def __init__(self, routes: ASGIApp, admission: Admission, settings: Settings) -> None:
        self._routes = routes
        self._admission = admission
        self._prefix = settings.path_prefix
        self._below = f"{self._prefix}/"
        self._has_cors = bool(settings.origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to the routes, or answer it here."""
        if scope["type"] == ScopeType.HTTP:
            await self._handle_http(self._without_prefix(scope), receive, self._with_headers(send))
        else:
            await self._handle_websocket(self._without_prefix(scope), receive, send)

    async def _handle_websocket(self, scope: WebSocketScope, receive: Receive, send: Send) -> None:
        if error := _excess(scope):
            await self._reject_handshake(WebSocket(scope, receive, send), error)
        elif _is_socket_path(scope["path"]):
            await self._routes(scope, receive, send)
        else:
            await self._reject_path(WebSocket(scope, receive, send))

    async def _handle_http(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        if error := _excess(scope):
            self._admission.context.refusals.errors[error.code] += 1
            await _answer_problem(_head_only(send) if scope["method"] == "HEAD" else send, Problem.of(error))
        elif scope["path"] == self._prefix != "":  # the page's links are relative to the path with a slash at its end
            await self._redirect_below(scope, send)
        elif (scope["method"], scope["path"]) == ("OPTIONS", "*"):
            await send(_start(HTTPStatus.NO_CONTENT, [METHODS]))
            await send(EMPTY_BODY)
        elif scope["method"] in ("GET", "HEAD") and _is_socket_path(scope["path"]):
            upgrade = [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]  # RFC 9110, section 15.5.22
            await _answer_problem(_head_only(send) if scope["method"] == "HEAD" else send, NEEDS_UPGRADE, upgrade)
        elif scope["method"] == "HEAD":
            await self._routes(_with_method(scope, "GET"), receive, _head_only(send))
        elif scope["method"] == "OPTIONS" and not (self._has_cors and _is_preflight(scope)):
            await self._routes(_with_method(scope, NO_METHOD), receive, _with_allow(send, is_options=True))
        else:
            await self._routes(scope, receive, _with_allow(send))

    def _without_prefix(self, scope: ScopeT) -> ScopeT:
        if not (self._prefix and scope["path"].startswith(self._below)):
            return scope
        n_removed = len(self._prefix)
        raw = scope.get("raw_path") or b""
        shortened = scope.copy()
        shortened["path"] = scope["path"][n_removed:]
        shortened["raw_path"] = raw[n_removed:] if raw.startswith(self._below.encode()) else raw
        return shortened

    def _with_headers(self, send: Send) -> Send:
        """Count the response by its status, and add the headers that it lacks."""
        responses = self._admission.responses

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                responses[message["status"]] += 1
                given = list(message["headers"])
                names = {name for name, _ in given}
                message["headers"] = [*given, *(header for header in HEADERS if header[0] not in names)]
            await send(message)

        return send_with_headers

    async def _redirect_below(self, scope: HTTPScope, send: Send) -> None:
        query = scope["query_string"]
        location = self._below.encode() + (b"?" + query if query else b"")
        await send(_start(HTTPStatus.PERMANENT_REDIRECT, [(b"location", location)]))
        await send(EMPTY_BODY)

    async def _reject_path(self, socket: ServerSocket) -> None:
        request = ConnectRequest.read(socket.scope)
        try:
            self._admission.check_handshake(request)
        except (BadRequest, Forbidden) as error:
            await self._reject_handshake(socket, error)
            return
        not_found = NotFound(f"there is no WebSocket at this address: rooms are at {SOCKET_PATH}/ROOM")
        await socket.accept(subprotocols=SUBPROTOCOL if request.is_json else None)
        await socket.close(close_code_of(not_found), str(not_found))

    async def _reject_handshake(self, socket: ServerSocket, error: BadRequest | Forbidden) -> None:
        self._admission.context.refusals.errors[error.code] += 1
        if not await reject_handshake(socket, error):
            await socket.close(close_code_of(error), text_of(error))


def _excess(scope: HTTPScope | WebSocketScope) -> BadRequest | None:
    """Return the error for an address that is too long, or None."""
    try:
        check_path(scope["path"])
        check_query(scope["query_string"])
    except BadRequest as error:
        return error
    return None


def _is_socket_path(path: str) -> bool:
    return f"/{path.lstrip('/')}/".startswith(f"{SOCKET_PATH}/")


async def _answer_problem(send: Send, problem: Problem, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    body = encode(problem)
    type_and_length = [(b"content-type", PROBLEM_MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
    await send(_start(problem.status, [*type_and_length, *headers]))
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _start(status: int, headers: Iterable[tuple[bytes, bytes]]) -> HTTPResponseStartEvent:
    return {"type": "http.response.start", "status": status, "headers": headers}


def _with_method(scope: HTTPScope, method: str) -> HTTPScope:
    changed = scope.copy()
    changed["method"] = method  # type: ignore[typeddict-item]  # `NO_METHOD` is deliberately not a method
    return changed


def _with_allow(send: Send, *, is_options: bool = False) -> Send:
    """Add OPTIONS, and HEAD where there is GET, to the `Allow` of a 405. For OPTIONS, answer 204 in its place."""
    is_answered = False

    async def send_with_allow(message: Message) -> None:
        nonlocal is_answered
        if message["type"] == "http.response.start" and message["status"] == HTTPStatus.METHOD_NOT_ALLOWED:
            given = list(message["headers"])
            allow = _allow_header(given)
            if is_options:
                is_answered = True
                await send(_start(HTTPStatus.NO_CONTENT, [allow]))
                await send(EMPTY_BODY)
                return
            message["headers"] = [*(header for header in given if header[0] != b"allow"), allow]
        if not is_answered:
            await send(message)

    return send_with_allow


def _allow_header(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    named = next((value.decode() for name, value in headers if name == b"allow"), "")
    # A WebSocket is no method: it is opened by GET.
    methods = {method.strip().replace("websocket", "GET") for method in named.split(",")} - {""} | {"OPTIONS"}
    return b"allow", ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set()))).encode()


def _is_preflight(scope: HTTPScope) -> bool:
    return any(name == b"access-control-request-method" for name, _ in scope["headers"])


def _head_only(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send(EMPTY_BODY)  # at once: the answer to GET may be an endless stream

    return send_head

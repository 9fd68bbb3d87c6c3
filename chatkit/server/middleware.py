"""Entrance: what comes before the routes, and is the same for all of them.

A path prefix is removed, where the proxy has not done so. Every HTTP answer gets the headers that keep it out of caches
and from being sniffed, unless its handler sets others. `Allow` names every method, for 405 and for OPTIONS. HEAD is
answered as GET is, without the body. A WebSocket to an address where there is none is opened and then closed with 4404:
a browser does not show a page the status of a refused handshake.
"""

from http import HTTPStatus
from typing import Any, Final

from litestar import WebSocket

from chatkit.errors import BadRequest, Forbidden, NotFound
from chatkit.server.connect_request import ConnectRequest
from chatkit.server.settings import Settings
from chatkit.server.websockets import Admission, deny
from chatkit.wire.codes import close_code_of
from chatkit.wire.protocol import SUBPROTOCOL

SOCKETS: Final = "/ws"  # where WebSockets are: here, and at every address below
HEADERS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class RequestMiddleware:
    """An ASGI application before another one."""

    def __init__(self, routes: Any, lobby: Admission, settings: Settings) -> None:
        self._routes = routes
        self._lobby = lobby
        self._prefix = settings.path_prefix
        self._below = f"{self._prefix}/"
        self._has_cors = bool(settings.origins)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request to the routes, or answer it here."""
        if self._prefix and scope["type"] in {"http", "websocket"}:
            scope = self._without_prefix(scope)
        if scope["type"] == "http":
            await self._http(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket" and not f"/{scope['path'].lstrip('/')}/".startswith(f"{SOCKETS}/"):
            await self._turn_away(WebSocket(scope, receive, send))
        else:
            await self._routes(scope, receive, send)

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == self._prefix != "":  # the page's addresses are relative to the folder
            await self._to_folder(scope, send)
        elif scope["method"] == "HEAD":
            await self._routes({**scope, "method": "GET"}, receive, _head_only(send))
        elif scope["method"] == "OPTIONS" and not (self._has_cors and _is_preflight(scope)):
            # No route has this method, so that the refusal names those that it has.
            await self._routes({**scope, "method": "NONE"}, receive, _with_allow(send, is_options=True))
        else:
            await self._routes(scope, receive, _with_allow(send))

    def _without_prefix(self, scope: Any) -> Any:
        if not scope["path"].startswith(self._below):
            return scope
        raw: bytes = scope.get("raw_path") or b""
        return {
            **scope,
            "path": scope["path"][len(self._prefix) :],
            "raw_path": raw[len(self._prefix) :] if raw.startswith(self._below.encode()) else raw,
        }

    async def _to_folder(self, scope: Any, send: Any) -> None:
        query = scope["query_string"]
        location = self._below.encode() + (b"?" + query if query else b"")
        await send({"type": "http.response.start", "status": 308, "headers": [(b"location", location)]})
        await send({"type": "http.response.body"})

    async def _turn_away(self, socket: WebSocket[Any, Any, Any]) -> None:
        asked = ConnectRequest.read(socket.scope)
        try:
            self._lobby.check_place(asked)
        except (BadRequest, Forbidden) as error:
            if not await deny(socket, error):
                await socket.close(close_code_of(error), str(error))
            return
        nowhere = NotFound(f"there is no WebSocket at this address: rooms are at {SOCKETS}/ROOM")
        await socket.accept(subprotocols=SUBPROTOCOL if asked.is_json else None)
        await socket.close(close_code_of(nowhere), str(nowhere))


def _with_headers(send: Any) -> Any:
    async def send_with_headers(message: Any) -> None:
        if message["type"] == "http.response.start":
            names = {name for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(header for header in HEADERS if header[0] not in names)]
        await send(message)

    return send_with_headers


def _with_allow(send: Any, *, is_options: bool = False) -> Any:
    """Name HEAD where there is GET; make the refusal of a method the answer to OPTIONS."""
    is_answered = False

    async def send_with_allow(message: Any) -> None:
        nonlocal is_answered
        if message["type"] == "http.response.start" and message["status"] == HTTPStatus.METHOD_NOT_ALLOWED:
            allow = _allowed(message["headers"])
            if is_options:
                is_answered = True
                await send({"type": "http.response.start", "status": 204, "headers": [allow]})
                await send({"type": "http.response.body"})
                return
            kept = [header for header in message["headers"] if header[0] != b"allow"]
            message["headers"] = [*kept, allow]
        if not is_answered:
            await send(message)

    return send_with_allow


def _allowed(headers: Any) -> tuple[bytes, bytes]:
    named = next((value.decode() for name, value in headers if name == b"allow"), "")
    methods = {method.strip() for method in named.split(",")} - {""} | {"OPTIONS"}
    return b"allow", ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set()))).encode()


def _is_preflight(scope: Any) -> bool:
    return any(name == b"access-control-request-method" for name, _ in scope["headers"])


def _head_only(send: Any) -> Any:
    async def send_head(message: Any) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body"})  # at once: an answer may have no end

    return send_head

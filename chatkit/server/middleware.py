"""Entrance: what comes before the routes, and is the same for all of them.

HEAD is answered as GET is, without the body. A WebSocket to an address where there is none is opened and then closed
with 4404: a browser does not show a page the status of a refused handshake.
"""

from typing import Any, Final

from litestar import WebSocket

from chatkit.errors import BadRequest, Forbidden, NotFound
from chatkit.server.connect_request import ConnectRequest
from chatkit.server.websockets import Admission, deny
from chatkit.wire.codes import close_code_of
from chatkit.wire.protocol import SUBPROTOCOL

SOCKETS: Final = "/ws"  # where WebSockets are: here, and at every address below


class RequestMiddleware:
    """An ASGI application before another one."""

    def __init__(self, routes: Any, lobby: Admission) -> None:
        self._routes = routes
        self._lobby = lobby

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let in, by way of the routes, or answer."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self._routes({**scope, "method": "GET"}, receive, _head_only(send))
        elif scope["type"] == "websocket" and not f"/{scope['path'].lstrip('/')}/".startswith(f"{SOCKETS}/"):
            await self._turn_away(WebSocket(scope, receive, send))
        else:
            await self._routes(scope, receive, send)

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


def _head_only(send: Any) -> Any:
    async def send_head(message: Any) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body"})  # at once: an answer may have no end

    return send_head

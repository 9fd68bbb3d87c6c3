"""One exchange of MCP over HTTP: a request's headers and body in, an answer out. Nothing is kept between requests.

The SDK's transport runs in here as an ASGI application, so it reads and writes no socket. Who may connect, from where
and how often was decided before.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from chatkit.mcp.room_access import RoomAccess
from chatkit.mcp.sdk_server import make_server

HEADERS: Final = (b"accept", b"content-type", b"mcp-")  # the beginnings of the headers that MCP reads; no credentials

logging.getLogger("mcp").setLevel(logging.WARNING)  # at a lower level, the SDK logs lines for each request


class HttpAnswer(NamedTuple):
    """The answer to a request."""

    status: int
    media_type: str
    body: bytes


async def answer(access: RoomAccess, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> HttpAnswer:
    """Answer a request, whose headers have names in small letters."""
    manager = StreamableHTTPSessionManager(
        make_server(access), json_response=True, stateless=True, max_request_body_size=len(body) + 1
    )
    exchange = _Exchange(body)
    async with manager.run():
        await manager.handle_request(_scope(headers), exchange.receive, exchange.send)
    return HttpAnswer(exchange.status, exchange.media_type, bytes(exchange.body))


def _scope(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/mcp",
        "raw_path": b"/mcp",
        "root_path": "",
        "query_string": b"",
        "headers": [(name, value) for name, value in headers if name.startswith(HEADERS)],
        "client": None,
        "server": None,
    }


class _Exchange:
    """The two callables of an ASGI application: they give it the request, and gather its answer."""

    def __init__(self, body: bytes) -> None:
        self.status = 500
        self.media_type = "application/json"
        self.body = bytearray()
        self._request: bytes | None = body

    async def receive(self) -> dict[str, Any]:
        body, self._request = self._request, None
        if body is None:  # the caller cancels the exchange when the client disconnects
            await asyncio.Event().wait()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, event: Any) -> None:
        if event["type"] == "http.response.start":
            self.status = event["status"]
            self.media_type = dict(event["headers"]).get(b"content-type", b"application/json").decode("latin-1")
        elif event["type"] == "http.response.body":
            self.body += event.get("body", b"")

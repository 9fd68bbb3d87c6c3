"""Unchunked: answers to HTTP/1.0, which has no chunks: one of no known length ends with its connection (RFC 9112, 6.3).

uvicorn would send chunks to such a client all the same, which takes their sizes for a part of what it is told.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class UnchunkedResponse:
    """An application as one request of HTTP/1.0 needs it. uvicorn ends the connection behind the answer."""

    def __init__(self, application: Any, cycle: RequestResponseCycle) -> None:
        self._application = application
        self._cycle = cycle
        self._has_length = False

    async def __call__(self, scope: Any, receive: Any, _: Any) -> None:
        """Have the application answer."""
        await self._application(scope, receive, self._send)

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._has_length = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            self._cycle.chunked_encoding = None if self._has_length else False
        elif not self._has_length:
            self._cycle.expected_content_length = len(message.get("body", b""))  # a part is as long as it is
        await self._cycle.send(message)

"""Unchunked: responses to HTTP/1.0, which has no chunks. A body of no known length ends with the connection.

See RFC 9112, section 6.3. uvicorn would send chunks to such a client, which would take their sizes for content.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class UnchunkedResponse:
    """An application as one request of HTTP/1.0 needs it. The connection ends behind the response."""

    def __init__(self, application: Any, cycle: RequestResponseCycle) -> None:
        self._application = application
        self._cycle = cycle
        self._has_length = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let the application answer."""
        self._send_to_cycle = send
        await self._application(scope, receive, self._send)

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._has_length = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            self._cycle.chunked_encoding = None if self._has_length else False
        elif not self._has_length:
            self._cycle.expected_content_length = len(message.get("body", b""))  # each part by itself
        await self._send_to_cycle(message)

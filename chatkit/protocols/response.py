"""The application side of an HTTP response: sent in parts that the client reads, and ended as its HTTP version needs.

Knows uvicorn's request-response cycle; `http.py` has the connection.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

PART_BYTES: Final = 65_536  # written at once, before the transport pauses writing; it would copy a whole body


class Flow(FlowControl):
    """Flow control between the application and the connection.

    Only the application pauses this; the connection decides whether its transport reads.
    """

    def __init__(self, transport: asyncio.Transport, reading_resumed: Callable[[], None]) -> None:
        super().__init__(transport)
        self._reading_resumed: Callable[[], None] | None = reading_resumed

    def pause_reading(self) -> None:
        self.read_paused = True

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            if self._reading_resumed is not None:
                self._reading_resumed()

    def disconnect(self) -> None:
        """Release everything that waits: the connection is lost."""
        self._reading_resumed = None
        self.resume_writing()


class PacedApplication:
    """Wraps an application to send large bodies part by part, each after the client has read the previous ones.

    The connection closes itself after the response, because a client that still sends its body might not read a
    response if the connection were closed at once. `end` is called with whether uvicorn's cycle would have closed it.
    """

    def __init__(self, application: Any, cycle: RequestResponseCycle, end: Callable[[bool], None]) -> None:
        self._application = application
        self._cycle = cycle
        self._end = end

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._send_to_cycle = send
        await self._application(scope, receive, self._send)

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            if len(message.get("body", b"")) > PART_BYTES:
                message = await self._send_first_parts(message)
            if not message.get("more_body", False):
                self._end(not self._cycle.keep_alive)
                self._cycle.keep_alive = True
        elif message["type"] == "http.response.start" and self._cycle.waiting_for_100_continue:
            self._cycle.keep_alive = False  # the client may or may not send its body, so the next bytes are ambiguous
        await self._send_to_cycle(message)

    async def _send_first_parts(self, message: Any) -> Any:
        """Send all parts of a large body but the last, and return that."""
        body = message["body"]
        for at in range(0, len(body) - PART_BYTES, PART_BYTES):
            await self._send_to_cycle({**message, "body": body[at : at + PART_BYTES], "more_body": True})
        return {**message, "body": body[(len(body) - 1) // PART_BYTES * PART_BYTES :]}


class UnchunkedResponse:
    """Wraps an application for one HTTP/1.0 request: a body of unknown length ends with the connection.

    HTTP/1.0 has no chunks (RFC 9112, section 6.3). uvicorn would send them anyway, and the client would read the
    chunk sizes as content.
    """

    def __init__(self, application: Any, cycle: RequestResponseCycle) -> None:
        self._application = application
        self._cycle = cycle
        self._has_length = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._send_to_cycle = send
        await self._application(scope, receive, self._send)

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._has_length = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            self._cycle.chunked_encoding = None if self._has_length else False
        elif not self._has_length:
            self._cycle.expected_content_length = len(message.get("body", b""))  # so that uvicorn accepts each part
        await self._send_to_cycle(message)

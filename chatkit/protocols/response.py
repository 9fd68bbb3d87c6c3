"""How an application's response is sent: in parts that the client reads, over a connection that ends in order.

Knows the request-response cycle of uvicorn; the connection itself is in `protocol_http.py`.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

PART_BYTES: Final = 65_536  # given to the transport at once, which then asks to wait; it would copy a whole body


class Flow(FlowControl):
    """What the application and the connection tell each other: whether to go on reading, and writing.

    Reading is paused by the application alone; the connection decides whether its transport reads.
    """

    def __init__(self, transport: asyncio.Transport, reading_resumed: Callable[[], None]) -> None:
        super().__init__(transport)
        self._reading_resumed: Callable[[], None] | None = reading_resumed

    def pause_reading(self) -> None:
        """Read no more of the body."""
        self.read_paused = True

    def resume_reading(self) -> None:
        """Go on reading the body."""
        if self.read_paused:
            self.read_paused = False
            if self._reading_resumed is not None:
                self._reading_resumed()

    def disconnect(self) -> None:
        """Let go of the connection, which is lost: nobody waits any more."""
        self._reading_resumed = None
        self.resume_writing()


class PacedApplication:
    """An application whose large bodies are sent part by part: each waits until the client has read those before.

    The connection ends the response itself, because a client that still sends its body would not read a response from
    a connection that is closed at once. `has_to_close` is what the cycle would have done.
    """

    def __init__(self, application: Any, cycle: RequestResponseCycle, end: Callable[[bool], None]) -> None:
        self._application = application
        self._cycle = cycle
        self._end = end

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let the application answer."""
        self._send_to_cycle = send
        await self._application(scope, receive, self._send)

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start" and self._cycle.waiting_for_100_continue:
            self._cycle.keep_alive = False  # the client may send its body or not: what comes next is not known
        body = message.get("body", b"") if message["type"] == "http.response.body" else b""
        for at in range(0, len(body) - PART_BYTES, PART_BYTES):
            await self._send_to_cycle({**message, "body": body[at : at + PART_BYTES], "more_body": True})
        if len(body) > PART_BYTES:
            message = {**message, "body": body[(len(body) - 1) // PART_BYTES * PART_BYTES :]}
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._end(not self._cycle.keep_alive)
            self._cycle.keep_alive = True
        await self._send_to_cycle(message)

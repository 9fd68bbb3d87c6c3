"""LoadConnection: one client connection that can be aborted and connected again any number of times.

Subclasses define its purpose. It knows only itself; its owner connects it, and is notified when it is lost.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol, cast

from chatkit.bench.load.frame_parser import ControlFrame, ParsedChunk
from chatkit.bench.load.websocket_client import OPEN_TIMEOUT_S, ServerAddress
from chatkit.client.errors import refusal_of_close
from chatkit.errors import ChatkitError, Unavailable
from chatkit.websocket.frames import CLOSE, PING, PONG, TEXT, client_frame
from chatkit.wire.protocol import AnyEvent, decode_event


class ConnectionOwner(Protocol):
    """Receives a connection's notifications. The methods neither wait nor raise."""

    def disconnected(self, connection: "LoadConnection") -> None:
        """Handle the loss of an open connection."""

    def fail(self, error: ChatkitError) -> None:
        """Handle an error that makes continuing pointless."""


class LoadConnection(asyncio.Protocol):
    """One client connection. `transport` is None while it is not connected."""

    def __init__(self, name: str, owner: ConnectionOwner, parse: Callable[[bytes], ParsedChunk]) -> None:
        self.name = name
        self.transport: asyncio.Transport | None = None
        self._owner = owner
        self._parse = parse
        self._partial_frame = b""  # the start of an incomplete frame
        self._close_error: ChatkitError | None = None  # the reason for which the server closes the connection
        self._ready_future: asyncio.Future[None] | None = None  # done when the connection is ready, or fails
        self._is_ready = False

    async def connect(self, address: ServerAddress) -> None:
        """Try once to connect; return when the connection is ready. Raise the error that prevents it."""
        ready = self._ready_future = asyncio.get_running_loop().create_future()
        try:
            await address.open(self._path(), {"name": self.name, **self._query()}, self)
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await ready
        except TimeoutError as error:
            raise Unavailable("the server accepts connections, but does not answer on them") from error
        finally:
            if not self._is_ready:
                self.abort()

    def abort(self) -> None:
        """Abort the connection, as a lost network does."""
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Reset the state for a new connection."""
        # The transports of uvloop have the same interface, but another class.
        self.transport = cast("asyncio.Transport", transport)
        self._partial_frame = b""
        self._close_error = None

    def data_received(self, data: bytes) -> None:
        """Parse the data, up to the last complete frame."""
        try:
            chunk = self._parse(self._partial_frame + data if self._partial_frame else data)
            self._partial_frame = chunk.rest
            self._on_chunk(chunk)
        except (ChatkitError, ValueError) as error:
            self._owner.fail(error if isinstance(error, ChatkitError) else ChatkitError(f"no chatkit server: {error}"))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the cause does not matter
        """Notify the waiting `connect`, or else the owner."""
        self.transport = None
        if self._is_ready:
            self._is_ready = False
            if self._close_error is not None and not isinstance(self._close_error, Unavailable):
                self._owner.fail(self._close_error)
            self._owner.disconnected(self)
        elif self._ready_future is not None and not self._ready_future.done():
            self._ready_future.set_exception(self._close_error or Unavailable("the connection was lost"))
            self._ready_future.exception()  # mark it as retrieved: it may not be awaited yet

    @abstractmethod
    def _path(self) -> str:
        """Return the path to connect to."""

    @abstractmethod
    def _query(self) -> dict[str, str | int]:
        """Return the query parameters."""

    @abstractmethod
    def _on_chunk(self, chunk: ParsedChunk) -> None:
        """Handle parsed frames."""

    @abstractmethod
    def _on_event(self, event: AnyEvent) -> None:
        """Handle an event other than a message."""

    def _mark_ready(self) -> None:
        self._is_ready = True
        if self._ready_future is not None and not self._ready_future.done():
            self._ready_future.set_result(None)

    def _on_control_frame(self, frame: ControlFrame) -> None:
        """Handle a frame other than a message."""
        if frame.opcode == TEXT:
            event = decode_event(frame.payload)
            if event is not None:
                self._on_event(event)
        elif frame.opcode == PING:
            self._write(client_frame(PONG, frame.payload))
        elif frame.opcode == CLOSE:
            code, reason = int.from_bytes(frame.payload[:2]), frame.payload[2:].decode(errors="replace")
            self._close_error = refusal_of_close(code, reason) or Unavailable(
                reason or f"the server closed with {code}"
            )
            self._write(client_frame(CLOSE, frame.payload[:2]))
            if self.transport is not None:
                self.transport.close()

    def _write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

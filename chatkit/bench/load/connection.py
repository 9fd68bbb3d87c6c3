"""Peer: one end of a connection, cut off and connected again as often as need be. What it is for, its kinds know.

A peer hears of its own connection alone; its owner connects it, and is told when the connection is gone.
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
    """What a peer tells. Nothing here waits or raises."""

    def disconnected(self, peer: "LoadConnection") -> None:
        """Hear that a connection that stood is gone."""

    def fail(self, error: ChatkitError) -> None:
        """Hear that going on makes no sense."""


class LoadConnection(asyncio.Protocol):
    """A connection's end. `transport` is None while there is none."""

    def __init__(self, name: str, owner: ConnectionOwner, cut: Callable[[bytes], ParsedChunk]) -> None:
        self.name = name
        self.transport: asyncio.Transport | None = None
        self._owner = owner
        self._cut = cut
        self._rest = b""  # of a frame that has begun
        self._why: ChatkitError | None = None  # the connection ends, as the server said
        self._ready: asyncio.Future[None] | None = None  # done when the server has said what a peer waits for
        self._is_at_work = False

    async def connect(self, door: ServerAddress) -> None:
        """Try once; return when the peer is at work. Raise why it is not."""
        ready = self._ready = asyncio.get_running_loop().create_future()
        try:
            await door.open(self._path(), {"name": self.name, **self._query()}, self)
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await ready
        except TimeoutError as error:
            raise Unavailable("the server takes connections, but says nothing on them") from error
        finally:
            if not self._is_at_work:
                self.cut_off()

    def cut_off(self) -> None:
        """End the connection abruptly, as a lost network does."""
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with a new connection."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are not of that class, but do the same
        self._rest = b""
        self._why = None

    def data_received(self, data: bytes) -> None:
        """Take what came, up to the last whole frame."""
        try:
            cut = self._cut(self._rest + data if self._rest else data)
            self._rest = cut.rest
            self._take(cut)
        except (ChatkitError, ValueError) as error:
            self._owner.fail(error if isinstance(error, ChatkitError) else ChatkitError(f"no chatkit server: {error}"))
            self.cut_off()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - lost is lost, whatever the system calls it
        """Tell who waits for this connection, or else the owner."""
        self.transport = None
        if self._is_at_work:
            self._is_at_work = False
            if self._why is not None and not isinstance(self._why, Unavailable):
                self._owner.fail(self._why)
            self._owner.disconnected(self)
        elif self._ready is not None and not self._ready.done():
            self._ready.set_exception(self._why or Unavailable("the connection was lost"))
            self._ready.exception()  # it may be that nobody has come to wait for it yet

    @abstractmethod
    def _path(self) -> str:
        """Return where to connect to."""

    @abstractmethod
    def _query(self) -> dict[str, str | int]:
        """Return what to ask for there."""

    @abstractmethod
    def _take(self, cut: ParsedChunk) -> None:
        """Take what was cut."""

    @abstractmethod
    def _event(self, event: AnyEvent) -> None:
        """Take an event that is no message."""

    def _begin_work(self) -> None:
        self._is_at_work = True
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def _control(self, frame: ControlFrame) -> None:
        """Take a frame that is no message."""
        if frame.opcode == TEXT:
            event = decode_event(frame.payload)
            if event is not None:
                self._event(event)
        elif frame.opcode == PING:
            self._write(client_frame(PONG, frame.payload))
        elif frame.opcode == CLOSE:
            code, reason = int.from_bytes(frame.payload[:2]), frame.payload[2:].decode(errors="replace")
            self._why = refusal_of_close(code, reason) or Unavailable(reason or f"the server closed with {code}")
            self._write(client_frame(CLOSE, frame.payload[:2]))
            if self.transport is not None:
                self.transport.close()

    def _write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

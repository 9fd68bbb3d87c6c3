"""A transport without a socket: it keeps what a protocol writes, for tests that compare bytes."""

import asyncio
from typing import Any


class MemoryTransport(asyncio.Transport):
    """A connection from a client at `peer`. `written` is what the server sent; if `is_ended`, it closed its side."""

    def __init__(self, peer: tuple[str, int] = ("127.0.0.1", 50_000)) -> None:
        super().__init__({"peername": peer, "sockname": ("127.0.0.1", 8000)})
        self.written = b""
        self.is_ended = False
        self._is_closing = False
        self._is_reading = True
        self._protocol: Any = None

    def connect(self, protocol: Any) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    def receive(self, data: bytes) -> None:
        """Pass bytes of the client to the protocol of this moment."""
        if not self._is_closing:
            self._protocol.data_received(data)

    def lose(self) -> None:
        """Close the connection, as if the client had left."""
        self._is_closing = True
        self._protocol.connection_lost(None)

    def write(self, data: Any) -> None:
        assert not self.is_ended or not data
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_ended = True

    def close(self) -> None:
        self.is_ended = self._is_closing = True

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True

    def is_reading(self) -> bool:
        return self._is_reading

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

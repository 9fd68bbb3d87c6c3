"""The direct path: an application reads and writes one WebSocket without an ASGI message for each frame.

A server that supports it offers a `DirectSocket` in `scope["extensions"][DIRECT]["socket"]`; the application attaches
its `Receiver` after `websocket.accept`. Everything happens in the event loop, and nothing here waits.
"""

from typing import Final, Protocol

DIRECT: Final = "chatkit.direct"
"""The extension's name in an ASGI scope."""


class Receiver(Protocol):
    """The application's side of the direct path. The server calls it in the event loop. It MUST NOT raise."""

    def received_texts(self, texts: list[bytes]) -> int:
        """Handle whole text messages that arrived together. Each is valid UTF-8; there is at least one.

        Return how many were handled. The others, if there are any, are delivered again, before later messages.
        A receiver handles at least one, and leaves some only if it has paused reading or closed the connection.
        """

    def received_binary(self) -> None:
        """Handle the arrival of a binary message."""

    def writable_again(self) -> None:
        """Continue to write: the buffer towards the client was full and has space again."""

    def closed(self, code: int) -> None:
        """Handle the end of the connection, by the client, an error, a shutdown or `DirectSocket.close`."""


class DirectSocket(Protocol):
    """The server's side of the direct path: writes to one client, and pauses reading from it.

    `deflate` is the window, in bits, of the compression that the client agreed to, or None. A frame compressed with
    that window can be written to every socket with the same `deflate`.
    """

    @property
    def deflate(self) -> int | None: ...

    @property
    def is_writable(self) -> bool:
        """False while the buffer towards the client is full. Frames that are written then are buffered nevertheless."""

    def attach(self, receiver: Receiver, *, outlives_handler: bool = False) -> None:
        """Start the direct path, after `websocket.accept`. Earlier messages are delivered at once, in order.

        With `outlives_handler`, the connection stays open when the handler returns, and its call is released.
        """

    def write(self, frames: bytes, /) -> None:
        """Write whole frames, made by `chatkit.websocket.frames`. After the end of the connection they are dropped."""

    def send_text(self, payload: bytes) -> None:
        """Write one text message, given as UTF-8."""

    def pause_reading(self) -> None:
        """Stop delivering text. Pings and the client's close are answered until too many bytes wait."""

    def resume_reading(self) -> None:
        """Deliver the waiting text, and continue reading."""

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame and drop the client's messages. `closed` is called after this returns."""

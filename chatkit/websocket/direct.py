"""The direct path: how an application reads and writes one WebSocket without an ASGI message for each frame.

A server that has it offers a `DirectSocket` in `scope["extensions"][DIRECT]["socket"]`; the application attaches its
`Receiver` after `websocket.accept`. Everything happens in the event loop, and nothing here waits.
"""

from typing import Final, Protocol

DIRECT: Final = "chatkit.direct"
"""The extension's name in an ASGI scope."""


class Receiver(Protocol):
    """The application's side of the direct path. The server calls it in the event loop; it MUST NOT raise."""

    def received_text(self, text: bytes) -> None:
        """Handle one whole text message, which is valid UTF-8."""

    def received_binary(self) -> None:
        """Handle the arrival of a binary message."""

    def writable_again(self) -> None:
        """Continue to write: the buffer towards the client was full and has room."""

    def closed(self, code: int) -> None:
        """Handle, once, the end of the connection: by the client, an error, a shutdown or our own close."""


class DirectSocket(Protocol):
    """The server's side of the direct path: the way out to one client, and how to hold the client back.

    `deflate` is the window, in bits, of the compression that the client agreed to, or None. A frame compressed with
    that window can be written to every socket with the same `deflate`.
    """

    deflate: int | None

    @property
    def is_writable(self) -> bool:
        """False while the buffer towards the client is full. What is written then is kept all the same."""

    def attach(self, receiver: Receiver, *, outlives_handler: bool = False) -> None:
        """Start the direct path, after `websocket.accept`. Messages that came before are delivered at once, in order.

        With `outlives_handler`, the connection lives on when the handler returns, and nothing of its call is kept.
        """

    def write(self, frames: bytes, /) -> None:
        """Write whole frames, as `chatkit.websocket.frames` makes them. Once the connection ends they are dropped."""

    def send_text(self, payload: bytes) -> None:
        """Write one text message of UTF-8 bytes."""

    def pause_reading(self) -> None:
        """Deliver no more text. Pings and the client's close are still answered until too much waits."""

    def resume_reading(self) -> None:
        """Deliver what waits, and continue."""

    def close(self, code: int, reason: str = "") -> None:
        """Send a close and wait for the client's answer; drop its messages. `closed` is called after this returns."""

"""A socket that records what a session writes to it."""

from typing import Any

import msgspec

from chatkit.websocket.direct import Receiver
from chatkit.websocket.reader import payloads


class RecordingSocket:
    """A socket that records what is written to it. Tests set `is_writable`."""

    def __init__(self) -> None:
        self.deflate: int | None = None
        self.is_writable = True
        self.texts: list[bytes] = []
        self.n_writes = 0
        self.is_paused = False
        self.pauses = 0
        self.closed: list[tuple[int, str]] = []
        self.room_for: int | None = None  # bytes until it is full; None if it never is

    def write(self, frames: bytes, /) -> None:
        self.n_writes += 1
        self.texts += payloads(frames)
        if self.room_for is not None:
            self.room_for -= len(frames)
            self.is_writable = self.room_for > 0

    def send_text(self, payload: bytes) -> None:
        self.texts.append(payload)

    def pause_reading(self) -> None:
        self.is_paused = True
        self.pauses += 1

    def resume_reading(self) -> None:
        self.is_paused = False

    def close(self, code: int, reason: str = "") -> None:
        self.closed.append((code, reason))

    def attach(self, receiver: Receiver, *, outlives_handler: bool = False) -> None:
        raise AssertionError("a session does not attach itself to a socket")

    @property
    def events(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(text) for text in self.texts]

    def pop_events(self) -> list[dict[str, Any]]:
        """Return the events so far, and remove them."""
        events = self.events
        self.texts.clear()
        return events

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

"""RequestBody: how much of a request's body may come, in which pieces it is parsed, and by when it has to be there."""

from typing import Final

from chatkit.protocols.head import MAX_HEAD_BYTES

TIMEOUT_S: Final = 30.0  # for a body to begin, and for its last chunk and its trailer fields
MIN_BYTES_PER_S: Final = 1_024  # of a body: a phone at the edge of its network sends more
MAX_PIECE_BYTES: Final = 65_536  # parsed at once: what the application has not read grows by one piece at most
MAX_OVERHEAD: Final = 8  # bytes of framing for one of the body; chunks of one byte need five

_BOUNDARY: Final = b"\r\n\r\n"


class RequestBody:
    """One request's body. `n_left` is None for a body in chunks. Time is the caller's, in seconds."""

    __slots__ = ("due_at", "n_bytes", "n_left", "n_parsed")

    def __init__(self, headers: list[tuple[bytes, bytes]], now: float) -> None:
        lengths = [int(value) for name, value in headers if name == b"content-length"]  # the parser has checked it
        is_chunked = any(name == b"transfer-encoding" for name, _ in headers)
        self.n_left = None if is_chunked else sum(lengths)
        self.n_bytes = 0  # of the body itself
        self.n_parsed = 0  # with chunk lines and trailer fields
        self.due_at = now + TIMEOUT_S

    def next_piece(self, unread: bytearray) -> int:
        """Return how many bytes to parse next; 0 where more have to come first.

        A piece never holds the end of the body and more: what follows is another request, whose turn comes later. The
        end of a body in chunks is an empty line, so that a piece ends behind the first one. An empty line that is not
        whole yet waits.
        """
        size = min(len(unread), MAX_PIECE_BYTES)
        if self.n_left is not None:
            return min(size, self.n_left)
        end = unread.find(_BOUNDARY, 0, size)
        if end >= 0:
            return end + len(_BOUNDARY)
        begun = next((n for n in (3, 2, 1) if unread.endswith(_BOUNDARY[:n], 0, size)), 0)
        return size - begun

    def parse(self, n_bytes: int) -> None:
        """Count a piece that the parser gets."""
        self.n_parsed += n_bytes
        if self.n_left is not None:
            self.n_left -= n_bytes

    def add(self, n_bytes: int, now: float) -> None:
        """Count bytes of the body itself: only these earn time."""
        self.n_bytes += n_bytes
        self.due_at = min(self.due_at + n_bytes / MIN_BYTES_PER_S, now + TIMEOUT_S)

    def wait_for_application(self, now: float) -> None:
        """Give the client its whole time again: it was the application that did not read."""
        self.due_at = now + TIMEOUT_S

    @property
    def is_padded(self) -> bool:
        """Return whether chunk extensions and trailer fields are out of proportion to the body."""
        return self.n_parsed - self.n_bytes > MAX_HEAD_BYTES + MAX_OVERHEAD * self.n_bytes

"""RequestBody: the limits of a request's body in size and time, and the pieces in which it is parsed."""

from typing import Final

from chatkit.protocols.head import MAX_HEAD_BYTES

TIMEOUT_S: Final = 30.0  # until the body begins, and for its last chunk and trailer fields
MIN_BYTES_PER_S: Final = 1_024  # of a body; a phone with poor reception sends more
MAX_PIECE_BYTES: Final = 65_536  # parsed at once: the application's unread data grows by at most one piece
MAX_CHUNKED_BYTES: Final = 1_024  # the same for a chunked body: 170 chunks of one byte, in half a millisecond
MAX_OVERHEAD: Final = 8  # bytes of framing per byte of content; chunks of one byte need five

_BOUNDARY: Final = b"\r\n\r\n"


class RequestBody:
    """The body of one request. `n_left` is None for a chunked body. The caller passes the time, in seconds."""

    __slots__ = ("_chunks", "due_at", "n_bytes", "n_left", "n_parsed")

    def __init__(self, headers: list[tuple[bytes, bytes]], now: float) -> None:
        fields = dict(headers)
        # The parser has checked the length, and that there is only one.
        self.n_left = None if b"transfer-encoding" in fields else int(fields.get(b"content-length", 0))
        self.n_bytes = 0  # content only
        self.n_parsed = 0  # content, chunk lines and trailer fields
        self.due_at = now + TIMEOUT_S
        self._chunks: list[bytes] = []  # of the piece that is being parsed

    def next_piece(self, unread: bytearray) -> int:
        """Return how many bytes to parse next, or 0 if more bytes must arrive first.

        A piece never extends beyond the end of the body, because the bytes behind it belong to the next request. A
        chunked body ends with an empty line, so a piece ends after the first empty line; an incomplete empty line waits
        for its rest.
        """
        if self.n_left is not None:
            return min(len(unread), MAX_PIECE_BYTES, self.n_left)
        size = min(len(unread), MAX_CHUNKED_BYTES)
        end = unread.find(_BOUNDARY, 0, size)
        if end >= 0:
            return end + len(_BOUNDARY)
        n_partial = next((n for n in (3, 2, 1) if unread.endswith(_BOUNDARY[:n], 0, size)), 0)
        return size - n_partial

    def parse(self, n_bytes: int) -> None:
        """Count a piece that is about to be parsed."""
        self.n_parsed += n_bytes
        if self.n_left is not None:
            self.n_left -= n_bytes

    def add_chunk(self, chunk: bytes) -> None:
        """Keep a part of the content until the piece is parsed."""
        self._chunks.append(chunk)

    def read_chunks(self, now: float) -> bytes:
        """Return the content of a piece, and count it, without framing: only content extends the deadline."""
        content = b"".join(self._chunks)
        self._chunks.clear()
        self.n_bytes += len(content)
        self.due_at = min(self.due_at + len(content) / MIN_BYTES_PER_S, now + TIMEOUT_S)
        return content

    def wait_for_application(self, now: float) -> None:
        """Restart the client's time limit, because the application was not reading."""
        self.due_at = now + TIMEOUT_S

    @property
    def has_excess_framing(self) -> bool:
        """Return whether chunk extensions and trailer fields are out of proportion to the content."""
        return self.n_parsed - self.n_bytes > MAX_HEAD_BYTES + MAX_OVERHEAD * self.n_bytes

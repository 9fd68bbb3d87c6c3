"""Segment: a run of one room's messages, read by position, and encoded once per format for all readers.

A room's tail is a segment that grows; a page of history is one that does not. Knows no I/O and no clock.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from chatkit.core.model import Head, Message

Encode: TypeAlias = Callable[[Message], bytes]
"""Encodes a message in one format. The function object identifies the format: pass the same one each time."""

MAX_MESSAGES = 512  # a minute of a busy room: a client that reconnects after a short break reads from memory
MAX_CHARS = 1 << 20  # of the bodies in a tail, so that long bodies do not use much more memory than short ones
MAX_CHUNK_MESSAGES = 256  # a chunk is written at once: this bounds its share of the socket's buffer
MAX_CHUNK_BYTES = 1 << 18
MAX_CACHED_CHUNKS = 8  # most readers are at the head or one turn before it; the few others join their chunks again


class Segment:
    """The messages `first` to `last` of the log with this `epoch`, at most a bounded number of them.

    It has every number from `first` to `last`, so a reader that has read up to `after` can continue here if and only
    if `reaches(after)`. `generation` counts the restarts.
    """

    __slots__ = (
        "_chunks",
        "_encoded",
        "_max_messages",
        "_messages",
        "epoch",
        "first",
        "generation",
        "last",
        "log_first",
        "n_chars",
    )

    def __init__(self, head: Head, messages: Sequence[Message], max_messages: int | None = None) -> None:
        self._max_messages = MAX_MESSAGES if max_messages is None else max_messages
        self._encoded: dict[Encode, _EncodedRun] = {}
        self._chunks: dict[tuple[Encode, int], tuple[bytes, int]] = {}
        self.generation = 0
        self.restart(head, messages)

    def restart(self, head: Head, messages: Sequence[Message]) -> None:
        """Replace the content by messages that the backend returned. They end at `head.last`; there may be none."""
        self.generation += 1
        self.epoch = head.epoch
        self.first = head.last - len(messages) + 1  # the oldest number in the segment; `last + 1` while it is empty
        self.last = head.last
        self.log_first = head.first
        self._messages = list(messages)
        self.n_chars = _n_chars(messages)
        self._encoded.clear()
        self._chunks.clear()

    @property
    def head(self) -> Head:
        """The head of the log, as far as this process knows."""
        return Head(self.epoch, self.log_first, self.last)

    def reaches(self, after: int) -> bool:
        """Return whether every message after `after` is in the segment."""
        return self.first - 1 <= after <= self.last

    def extend(self, messages: Sequence[Message]) -> int:
        """Add the messages that follow `last`, without holes; return the number of characters of their bodies."""
        if messages[0].seq != self.last + 1:
            raise ValueError(f"message {messages[0].seq} does not follow {self.last}")
        self._messages += messages
        self.last = messages[-1].seq
        n_chars = _n_chars(messages)
        self.n_chars += n_chars
        self._chunks.clear()
        self._keep_bounds()
        return n_chars

    def _keep_bounds(self) -> None:
        # At twice the bound, half is dropped, so that each message pays for the drop of only one other.
        if len(self._messages) <= 2 * self._max_messages and self.n_chars <= 2 * MAX_CHARS:
            return
        keep = self._max_messages
        while keep > 1 and _n_chars(self._messages[-keep:]) > MAX_CHARS:
            keep //= 2
        self.n_chars -= _n_chars(self._messages[:-keep])
        del self._messages[:-keep]
        self.first = self.last - len(self._messages) + 1
        for encode, encoded in list(self._encoded.items()):
            if not encoded.drop_before(self.first):
                del self._encoded[encode]

    def read(self, after: int, limit: int) -> list[Message]:
        """Return at most `limit` messages after `after`, which the segment must reach."""
        start = after - self.first + 1
        return self._messages[start : start + limit]

    def chunk(self, encode: Encode, after: int) -> tuple[bytes, int]:
        """Encode and join the messages after `after`, which the segment must reach; return bytes and new position.

        A chunk is bounded in messages and bytes, and has at least one message.
        """
        chunk = self._chunks.get((encode, after))
        if chunk is None:
            chunk = self._join(encode, after)
            if len(self._chunks) < MAX_CACHED_CHUNKS:
                self._chunks[encode, after] = chunk
        return chunk

    def _join(self, encode: Encode, after: int) -> tuple[bytes, int]:
        encoded = self._encode_from(encode, after + 1)
        start = after + 1 - encoded.first
        frames = encoded.frames[start : start + MAX_CHUNK_MESSAGES]
        while len(frames) > 1 and sum(map(len, frames)) > MAX_CHUNK_BYTES:
            del frames[len(frames) // 2 :]
        return b"".join(frames), after + len(frames)

    def _encode_from(self, encode: Encode, first: int) -> "_EncodedRun":
        """Return the encoded messages from `first` on, after encoding those that are missing."""
        encoded = self._encoded.get(encode)
        if encoded is None:
            encoded = self._encoded[encode] = _EncodedRun(first)
        if first < encoded.first:
            older = self._messages[first - self.first : encoded.first - self.first]
            encoded.frames[:0] = [encode(message) for message in older]
            encoded.first = first
        newer = self._messages[encoded.first + len(encoded.frames) - self.first :]
        encoded.frames += [encode(message) for message in newer]
        return encoded

    def redact(self, seq: int) -> None:
        """Remove a message's body and data in every format, if the message is in the segment."""
        if self.first <= seq <= self.last:
            message = self._messages[seq - self.first]
            self.n_chars -= len(message.body)
            redacted = self._messages[seq - self.first] = message.tombstone()
            for encode, encoded in self._encoded.items():
                if 0 <= seq - encoded.first < len(encoded.frames):
                    encoded.frames[seq - encoded.first] = encode(redacted)
            self._chunks.clear()


class _EncodedRun:
    """A run of messages in one format, from the number `first` on, without holes."""

    __slots__ = ("first", "frames")

    def __init__(self, first: int) -> None:
        self.first = first
        self.frames: list[bytes] = []

    def drop_before(self, first: int) -> bool:
        """Drop the messages before `first`. Return false if the run would have a hole before `first`."""
        if first > self.first:
            if first > self.first + len(self.frames):
                return False
            del self.frames[: first - self.first]
            self.first = first
        return True


def _n_chars(messages: Sequence[Message]) -> int:
    return sum([len(message.body) for message in messages])

"""The recent tail of one room's log, read by cursor, and encoded once per format however many readers there are.

Knows no I/O and no clock. What lies before the tail is the backend's.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from msgspec.structs import replace

from chatkit.core.model import Head, Message

Encode: TypeAlias = Callable[[Message], bytes]
"""A message in one format. The function's identity is the format's: pass the same object for the same bytes."""

MAX_MESSAGES = 512  # a minute of a lively room: whoever reconnects after a short break reads from memory
MAX_CHARS = 1 << 20  # bodies of a tail, so that a room of pastes costs about as much as one of chat
MAX_CHUNK_MESSAGES = 256  # a chunk is written whole: it bounds what one reader adds to its socket's buffer at once
MAX_CHUNK_BYTES = 1 << 18
MAX_CACHED_CHUNKS = 8  # readers stand at the head or a turn behind it; others are few and pay their own join


class Segment:
    """Messages `first` to `last` of the room's life `epoch`, at most a bounded number of them.

    It is never partly wrong: it holds every number from `first` to `last`, so a reader at `after` can read on here if
    and only if `reaches(after)`.
    """

    __slots__ = (
        "_chunks",
        "_encoded",
        "_max_messages",
        "_messages",
        "epoch",
        "first",
        "last",
        "life",
        "log_first",
        "n_chars",
    )

    def __init__(self, head: Head, messages: Sequence[Message], max_messages: int | None = None) -> None:
        self._max_messages = MAX_MESSAGES if max_messages is None else max_messages
        self._encoded: dict[Encode, _EncodedRun] = {}
        self._chunks: dict[tuple[Encode, int], tuple[bytes, int]] = {}
        self.life = 0
        self.restart(head, messages)

    def restart(self, head: Head, messages: Sequence[Message]) -> None:
        """Begin anew from what the backend says; `messages` end at `head.last`, or are none."""
        self.life += 1
        self.epoch = head.epoch
        self.first = head.last - len(messages) + 1  # the oldest number held; `last + 1` while nothing is
        self.last = head.last
        self.log_first = head.first
        self._messages = list(messages)
        self.n_chars = _n_chars(messages)
        self._encoded.clear()
        self._chunks.clear()

    @property
    def head(self) -> Head:
        """Where the log stands, as far as this process knows."""
        return Head(self.epoch, self.log_first, self.last)

    def reaches(self, after: int) -> bool:
        """Say whether everything behind `after` is here."""
        return self.first - 1 <= after <= self.last

    def extend(self, messages: Sequence[Message]) -> int:
        """Add the messages that follow `last`, without a hole; return how many characters their bodies have."""
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
        # Twice the bound, then back to it: the cost of dropping is spread over as many messages.
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
        """Return at most `limit` messages behind `after`, which the feed must reach."""
        start = after - self.first + 1
        return self._messages[start : start + limit]

    def chunk(self, encode: Encode, after: int) -> tuple[bytes, int]:
        """Encode and join what is behind `after`, which the feed must reach; return it and the position it leads to.

        A chunk is bounded in messages and bytes, and holds one message at least.
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
        """Have everything from `first` on encoded, and keep it."""
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
        """Take away a message's body and data, in every format, if it is here."""
        if self.first <= seq <= self.last:
            message = self._messages[seq - self.first]
            self.n_chars -= len(message.body)
            redacted = self._messages[seq - self.first] = replace(message, body="", data=None, redacted=True)
            for encode, encoded in self._encoded.items():
                if 0 <= seq - encoded.first < len(encoded.frames):
                    encoded.frames[seq - encoded.first] = encode(redacted)
            self._chunks.clear()


class _EncodedRun:
    """A run of messages in one format, from the number `first` on, without a hole."""

    __slots__ = ("first", "frames")

    def __init__(self, first: int) -> None:
        self.first = first
        self.frames: list[bytes] = []

    def drop_before(self, first: int) -> bool:
        """Forget what is older; say whether the run still reaches to what is kept."""
        if first > self.first:
            if first > self.first + len(self.frames):
                return False
            del self.frames[: first - self.first]
            self.first = first
        return True


def _n_chars(messages: Sequence[Message]) -> int:
    return sum([len(message.body) for message in messages])

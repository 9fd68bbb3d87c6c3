"""FrameParser: parses the data that a server sends to a reader into message numbers and other frames.

Readers of a room receive the same bytes, so a chunk is parsed once for all of them. This makes readers cheap enough for
thousands in one process. Knows nothing of sockets, and of `chatkit.v1` only where the number is.
"""

from typing import Final, NamedTuple

from chatkit.errors import ChatkitError
from chatkit.websocket.frames import FIN, TEXT
from chatkit.websocket.reader import FrameError, cut_frames

STAMP: Final = b'"@@'  # the start of a body in its JSON; the time in nanoseconds follows
STAMP_DIGITS: Final = 19
MAX_REMEMBERED_BYTES: Final = 4 << 20  # enough for the chunks of one turn of the event loop

_UNREADABLE: Final = "the server sends frames in fragments, compressed or masked: the benchmark cannot read those"
_MESSAGE: Final = b'{"type":"message",'
_SEQ: Final = b'"seq":'


class ControlFrame(NamedTuple):
    """A complete frame that is not a message: its opcode and payload."""

    opcode: int
    payload: bytes


class ParsedChunk(NamedTuple):
    """The complete frames of a chunk in order, with messages as ranges of numbers, and the start of the next frame.

    `stamps` are the times at which the messages were sent, and `oldest` is the earliest.
    """

    items: tuple[range | ControlFrame, ...]
    rest: bytes
    stamps: tuple[int, ...] = ()
    oldest: int = 0


def parse_frames(data: bytes) -> ParsedChunk:
    """Parse joined server frames. Raise `ChatkitError` for frames that chatkit's server does not send."""
    items: list[range | ControlFrame] = []
    stamps: list[int] = []
    first = end = at = 0  # `first` and `end` bound the current run of numbers: it is empty while they are equal
    try:
        for head, start, stop in cut_frames(data):
            opcode = head ^ FIN
            if opcode > 0xF:
                raise ChatkitError(_UNREADABLE)
            if opcode == TEXT and data.startswith(_MESSAGE, start):
                seq_at = data.index(_SEQ, start, stop) + len(_SEQ)
                seq = int(data[seq_at : data.index(b",", seq_at, stop)])
                if seq != end:
                    if first != end:
                        items.append(range(first, end))
                    first = seq
                end = seq + 1
                stamp_at = data.find(STAMP, seq_at, stop) + len(STAMP)
                if stamp_at >= len(STAMP):
                    stamps.append(int(data[stamp_at : stamp_at + STAMP_DIGITS]))
            else:
                if first != end:
                    items.append(range(first, end))
                    first = end
                items.append(ControlFrame(opcode, data[start:stop]))
            at = stop
    except FrameError as error:
        raise ChatkitError(_UNREADABLE) from error
    if first != end:
        items.append(range(first, end))
    return ParsedChunk(tuple(items), data[at:], tuple(stamps), min(stamps, default=0))


class FrameParser:
    """Parses a chunk once, however many readers receive it."""

    def __init__(self) -> None:
        self._known: dict[bytes, ParsedChunk] = {}
        self._size = 0

    def parse(self, data: bytes) -> ParsedChunk:
        """Return the result of `parse_frames`."""
        known = self._known.get(data)
        if known is not None:
            return known
        if self._size > MAX_REMEMBERED_BYTES:
            self._known.clear()
            self._size = 0
        made = self._known[data] = parse_frames(data)
        self._size += len(data)
        return made

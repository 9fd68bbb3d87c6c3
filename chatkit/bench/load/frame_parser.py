"""Cutting what a server sends to a reader into messages' numbers and everything else.

Readers of a room are sent the same bytes, so a chunk is cut once for all of them who get it: that makes a reader cheap
enough for thousands in one process. Knows nothing of sockets, and of `chatkit.v1` no more than where the number stands.
"""

from typing import Final, NamedTuple

from chatkit.errors import ChatkitError
from chatkit.websocket.frames import FIN, TEXT
from chatkit.websocket.reader import FrameError, cut_frames

STAMP: Final = b'"@@'  # how a body begins, within its JSON; the time in nanoseconds follows
STAMP_DIGITS: Final = 19
MAX_REMEMBERED_BYTES: Final = 4 << 20  # readers of a turn are served from what the first of them left here

_UNREADABLE: Final = "the server sends frames in fragments, compressed or masked: a bench does not read those"
_MESSAGE: Final = b'{"type":"message",'
_SEQ: Final = b'"seq":'


class ControlFrame(NamedTuple):
    """A whole frame that is no message: its opcode and payload."""

    opcode: int
    payload: bytes


class ParsedChunk(NamedTuple):
    """A chunk's whole frames in order, messages as runs of their numbers, and the beginning of the next frame.

    `stamps` says when the messages were sent, `oldest` when the first of them was.
    """

    items: tuple[range | ControlFrame, ...]
    rest: bytes
    stamps: tuple[int, ...] = ()
    oldest: int = 0


def cut(data: bytes) -> ParsedChunk:
    """Cut joined server frames; raise `ChatkitError` for frames that no server of ours sends."""
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
    """Cuts a chunk once, however many readers get it."""

    def __init__(self) -> None:
        self._known: dict[bytes, ParsedChunk] = {}
        self._size = 0

    def cut(self, data: bytes) -> ParsedChunk:
        """Return what `cut` does."""
        known = self._known.get(data)
        if known is not None:
            return known
        if self._size > MAX_REMEMBERED_BYTES:
            self._known.clear()
            self._size = 0
        made = self._known[data] = cut(data)
        self._size += len(data)
        return made

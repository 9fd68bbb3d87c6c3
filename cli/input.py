"""Input: the bytes of standard input. Knows nothing of lines.

The end of the input, an error and "nothing yet" are three outcomes: an empty chunk, `InputFailed`, and waiting.
"""

import os
import select
from collections.abc import AsyncIterator, Iterator
from typing import Final

from chatkit.errors import BadBody, ChatkitError

STDIN = 0
CHUNK_BYTES = 65_536  # a pipe's size on Linux

UTF8_MARK: Final = b"\xef\xbb\xbf"
# UTF-32's little-endian mark begins with UTF-16's.
_OTHER_MARKS: Final = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00\xfe\xff": "UTF-32"}
_MARKS: Final = (UTF8_MARK, *_OTHER_MARKS)


class InputFailed(ChatkitError):
    """Standard input could not be read to its end."""

    code = "input-failed"

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard input could not be read: {error.strerror or error}")


def read_chunk(descriptor: int = STDIN) -> bytes:
    """Wait for input and return some of it; empty is the end. Raise `InputFailed`."""
    while True:
        try:
            return os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:  # a parent, such as Node or ssh, has set O_NONBLOCK on what we share with it
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll()
        except OSError as error:
            raise InputFailed(error) from error


def read_all(descriptor: int = STDIN) -> bytes:
    """Return everything up to the end, without a byte order mark. Raise `InputFailed`, or `BadBody` for UTF-16."""
    return without_mark(b"".join(_chunks(descriptor)))


def _chunks(descriptor: int) -> Iterator[bytes]:
    while chunk := read_chunk(descriptor):
        yield chunk


async def without_marks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the chunks without a byte order mark at their beginning. Raise `BadBody` for UTF-16."""
    begun = b""
    is_begun = False
    async for chunk in chunks:
        if is_begun:
            yield chunk
            continue
        begun += chunk
        if not _may_become_mark(begun):
            is_begun = True
            yield without_mark(begun)
    if not is_begun and begun:
        yield without_mark(begun)


def without_mark(data: bytes, what: str = "standard input") -> bytes:
    """Return data without UTF-8's byte order mark. Raise `BadBody` for text that is in UTF-16 or UTF-32."""
    name = next((name for mark, name in _OTHER_MARKS.items() if data.startswith(mark)), None)
    if name is None and _has_utf16_letters(data[:4]):
        name = "UTF-16"
    if name is not None:
        raise BadBody(f"{what} is not UTF-8 text but {name}: convert it, such as with iconv -f {name} -t UTF-8")
    return data.removeprefix(UTF8_MARK)


def _may_become_mark(begun: bytes) -> bool:
    return any(mark.startswith(begun) and mark != begun for mark in _MARKS)


def _has_utf16_letters(begun: bytes) -> bool:
    """Return whether it begins with two ASCII characters in UTF-16, without a byte order mark."""
    is_zero = [not byte for byte in begun]
    return is_zero in ([False, True, False, True], [True, False, True, False])

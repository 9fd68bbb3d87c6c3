"""The bytes of standard input, and byte order marks. Knows nothing of lines.

At the end of the input, a read returns an empty chunk; on an error, it raises `InputFailed`; otherwise it waits.
"""

import io
import os
import select
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

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


class StandardInput(io.RawIOBase):
    """Standard input as a file, which waits in non-blocking mode, too. Closing it does not close the descriptor."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into the buffer and return the number of bytes, which is 0 at the end. Raise `InputFailed`."""
        chunk = read_chunk(self._descriptor, len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


def open_input(descriptor: int = STDIN) -> io.BufferedReader:
    """Return standard input as a buffered file of bytes."""
    return io.BufferedReader(StandardInput(descriptor))


def read_chunk(descriptor: int = STDIN, size: int = CHUNK_BYTES) -> bytes:
    """Wait for input and return a chunk of it, which is empty at the end. Raise `InputFailed`."""
    while True:
        try:
            return os.read(descriptor, size)
        except BlockingIOError:  # another process, such as Node or ssh, set O_NONBLOCK on the shared descriptor
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll()
        except OSError as error:
            raise InputFailed(error) from error


def read_all(descriptor: int = STDIN) -> bytes:
    """Return the whole input without a byte order mark. Raise `InputFailed`, or `BadBody` for UTF-16 and UTF-32."""
    return without_mark(b"".join(_chunks(descriptor)))


def _chunks(descriptor: int) -> Iterator[bytes]:
    while chunk := read_chunk(descriptor):
        yield chunk


async def without_marks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Iterate over the chunks without a byte order mark at the start. Raise `BadBody` for UTF-16 and UTF-32."""
    head = b""
    has_started = False
    async for chunk in chunks:
        if has_started:
            yield chunk
            continue
        head += chunk
        if not _may_become_mark(head):
            has_started = True
            yield without_mark(head)
    if not has_started and head:
        yield without_mark(head)


def without_mark(data: bytes, what: str = "standard input") -> bytes:
    """Return the data without UTF-8's byte order mark. Raise `BadBody` for text in UTF-16 or UTF-32."""
    name = next((name for mark, name in _OTHER_MARKS.items() if data.startswith(mark)), None)
    if name is None and _has_utf16_letters(data[:4]):
        name = "UTF-16"
    if name is not None:
        raise BadBody(f"{what} is {name}, not UTF-8 text: convert it to UTF-8 first (iconv -f {name} -t UTF-8)")
    return data.removeprefix(UTF8_MARK)


def _may_become_mark(head: bytes) -> bool:
    return any(mark.startswith(head) and mark != head for mark in _MARKS)


def _has_utf16_letters(head: bytes) -> bool:
    """Return whether the data begins with two ASCII characters in UTF-16, without a byte order mark."""
    is_zero = [not byte for byte in head]
    return is_zero in ([False, True, False, True], [True, False, True, False])

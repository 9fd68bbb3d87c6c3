"""Standard output and standard error of a command. Knows no command and no message.

On standard output, either every byte is written or the command fails: a write to a descriptor that is not ready waits,
and an error is raised as `OutputFailed`, also by the flush at the end. Standard error is for notices: a notice that
cannot be written is dropped.
"""

import codecs
import errno
import io
import os
import select
import stat
import sys
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from chatkit.cli.sanitize import visible
from chatkit.errors import ChatkitError

BUFFER_BYTES = 65_536  # a pipe's size on Linux


class OutputFailed(ChatkitError):
    """Standard output could not be written."""

    code = "output-failed"

    def __init__(self, reason: str) -> None:
        super().__init__(f"standard output could not be written: {reason}")
        self.reason = reason


class OutputClosed(OutputFailed):
    """The reader of standard output has closed it, as `| head` does."""


class Descriptor(io.RawIOBase):
    """A file descriptor for writing. In non-blocking mode, a write waits until the descriptor is ready."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Write some of the data and return how many bytes."""
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                wait_until_writable(self._descriptor)


class StandardOutput(Descriptor):
    """Standard output. The first error is raised; later writes do nothing, so that the exit does not fail again."""

    _has_failed = False

    def write(self, data: Any) -> int:
        """Write some of the data and return how many bytes. Raise `OutputFailed`."""
        if self._has_failed:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self._has_failed = True
            kind = OutputClosed if error.errno == errno.EPIPE else OutputFailed
            raise kind(error.strerror or str(error)) from error


class StandardError(Descriptor):
    """Standard error. Data that cannot be written is dropped: no command fails because nobody reads its notices."""

    def write(self, data: Any) -> int:
        """Write some of the data and return how many bytes were written or dropped."""
        with suppress(OSError):
            return super().write(data)
        return len(data)


def wait_until_writable(descriptor: int) -> None:
    """Wait until a write would not block."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()


def open_output() -> None:
    """Replace `sys.stdout` and `sys.stderr` with streams that handle errors as described above."""
    is_prompt = bool(sys.stdout.line_buffering or getattr(sys.stdout, "write_through", False))
    sys.stdout = _stream(StandardOutput(1), sys.stdout, is_prompt=is_prompt)
    sys.stderr = _stream(StandardError(2), sys.stderr, is_prompt=True)


def _stream(descriptor: Descriptor, original: TextIO, *, is_prompt: bool) -> io.TextIOWrapper:
    buffer = io.BufferedWriter(cast("Any", descriptor), BUFFER_BYTES)
    # Characters outside the encoding are written as escapes, so that no message of another person fails a command.
    return io.TextIOWrapper(buffer, original.encoding, "backslashreplace", line_buffering=is_prompt)


def print_notice(sentence: str) -> None:
    """Print a sentence for the person at the terminal to standard error."""
    sys.stderr.write(f"chatkit: {visible(sentence)}\n")
    sys.stderr.flush()


def print_lines(lines: Iterable[str]) -> None:
    """Write lines to standard output, each with a line feed."""
    sys.stdout.writelines(f"{line}\n" for line in lines)


@contextmanager
def needs_reader() -> Iterator[None]:
    """Turn `OutputClosed` into `OutputFailed`, for a command that does more than print."""
    try:
        yield
    except OutputClosed as error:
        raise OutputFailed(error.reason) from error


async def print_while_read(work: Coroutine[Any, Any, None]) -> None:
    """Carry out work that prints, and raise `OutputClosed` when the reader of a pipe has gone, also between two lines.

    `chatkit history ops -f | grep -m 1 deployed` ends with the line, and does not wait for the next message.
    """
    import asyncio

    is_gone = asyncio.Event()
    loop, descriptor = asyncio.get_running_loop(), sys.stdout.fileno()
    is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    if is_pipe:
        loop.add_reader(descriptor, is_gone.set)  # the end for writing is never readable: this reports an error
    tasks = asyncio.ensure_future(work), asyncio.ensure_future(is_gone.wait())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise OutputClosed(os.strerror(errno.EPIPE))
        await tasks[0]
    finally:
        if is_pipe:
            loop.remove_reader(descriptor)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def begin_json() -> None:
    """Prepare standard output for JSON: UTF-8 if it is UTF-8 already, otherwise ASCII with JSON's escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not _is_utf8(sys.stdout.encoding):
        codecs.register_error("json-escape", _escape_for_json)
        sys.stdout.reconfigure(encoding="ascii", errors="json-escape")


def begin_export() -> None:
    """Prepare standard output for a file in UTF-8, whatever the locale is. A terminal keeps its encoding."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")


def can_print(text: str) -> bool:
    """Return whether standard output can encode all characters of the text."""
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True


def has_colour() -> bool:
    """Return whether standard output may be coloured (no-color.org)."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def _escape_for_json(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)), error.end

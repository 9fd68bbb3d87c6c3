"""The lines of standard input, as soon as they arrive. Knows nothing of messages.

A separate daemon thread reads, so that the event loop never blocks on a pipe and Ctrl-C works while the thread waits
for input. At most a few chunks are buffered; a faster writer waits.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

from chatkit.cli.input import STDIN, InputFailed, read_chunk, without_marks
from chatkit.errors import BadBody, TooLarge

MAX_CHUNKS = 4  # 256 KiB: enough for the reader to stay ahead of the event loop


async def read_chunks(descriptor: int = STDIN) -> AsyncIterator[bytes]:
    """Iterate over input as it arrives. After the last chunk before a read error, raise `InputFailed`."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes | InputFailed] = asyncio.Queue()
    free = threading.Semaphore(MAX_CHUNKS)  # bounds `chunks`: the thread acquires it before it reads

    def read() -> None:
        with suppress(RuntimeError):  # the loop is closed: the command has ended
            is_over = False
            while not is_over:
                free.acquire()
                chunk = _chunk_or_error(descriptor)
                is_over = not chunk or isinstance(chunk, InputFailed)
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while chunk := await chunks.get():
        if isinstance(chunk, InputFailed):
            raise chunk
        free.release()
        yield chunk


def _chunk_or_error(descriptor: int) -> bytes | InputFailed:
    try:
        return read_chunk(descriptor)
    except InputFailed as error:
        return error


async def read_lines(max_bytes: int, descriptor: int = STDIN) -> AsyncIterator[tuple[int, str]]:
    """Iterate over the lines: each line's number, from 1, and its text without the line ending.

    Raise `TooLarge` at a line longer than `max_bytes`, `BadBody` at a line that is not UTF-8, and `InputFailed` at a
    read error, in each case after the lines before it. A line that a read error cuts off is not yielded.
    """
    number = 0
    partial = bytearray()
    async for chunk in without_marks(read_chunks(descriptor)):
        complete, end, rest = chunk.rpartition(b"\n")
        if end:
            for line in (bytes(partial) + complete).split(b"\n"):
                number += 1
                yield number, _text(line, number, max_bytes)
            partial = bytearray()
        partial += rest
        if len(partial) > max_bytes + 1:  # one more for a carriage return
            raise _too_long(number + 1, max_bytes)
    if partial:
        yield number + 1, _text(bytes(partial), number + 1, max_bytes)


def _text(line: bytes, number: int, max_bytes: int) -> str:
    line = line.removesuffix(b"\r")
    if len(line) > max_bytes:
        raise _too_long(number, max_bytes)
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise BadBody(f"line {number} is not UTF-8 text") from error


def _too_long(number: int, max_bytes: int) -> TooLarge:
    error = TooLarge("body", max_bytes)
    error.args = (f"line {number} is too long: {error}",)
    return error

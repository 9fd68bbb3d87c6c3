"""The lines of standard input, as they come. Knows nothing of messages.

A thread of its own reads, so that the event loop never waits for a pipe; it ends with the process, even while it waits
for input, so that Ctrl-C works. At most a few chunks are held; a faster writer waits.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

from chatkit.cli.input import STDIN, InputFailed, read_chunk, without_marks
from chatkit.errors import BadBody, TooLarge

MAX_CHUNKS = 4


async def read_chunks(descriptor: int = STDIN) -> AsyncIterator[bytes]:
    """Yield input as soon as there is some. Raise `InputFailed` where it breaks off, after what came before."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes | InputFailed] = asyncio.Queue()
    free = threading.Semaphore(MAX_CHUNKS)  # bounds `chunks`: taken by the thread before it reads

    def read() -> None:
        with suppress(RuntimeError):  # the loop is closed, and with it the command
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
    """Yield each line's number, from 1 on, and its text without its end.

    Raise `TooLarge` at a line of more than `max_bytes`, `BadBody` at one that is not UTF-8, and `InputFailed` where the
    input breaks off, when their turn comes. The beginning of a line whose rest cannot be read is not a line.
    """
    number = 0
    begun = b""
    async for chunk in without_marks(read_chunks(descriptor)):
        *lines, begun = (begun + chunk).split(b"\n")
        for line in lines:
            number += 1
            yield number, _text(line, number, max_bytes)
        if len(begun) > max_bytes + 1:  # one more for a carriage return
            raise _too_long(number + 1, max_bytes)
    if begun:
        yield number + 1, _text(begun, number + 1, max_bytes)


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

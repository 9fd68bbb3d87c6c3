"""The lines of standard input, as they come. Knows nothing of messages.

A thread of its own reads, so that the event loop never waits for a pipe; it ends with the process, even while it waits
for input, so that Ctrl-C works. At most a few chunks are held: who writes faster than we take, waits.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

from chatkit.errors import BadBody, TooLarge

CHUNK_BYTES = 65_536  # a pipe's size on Linux
MAX_CHUNKS = 4
STDIN = 0


async def read_chunks(descriptor: int = STDIN) -> AsyncIterator[bytes]:
    """Yield what can be read, as soon as it can."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue()
    free = threading.Semaphore(MAX_CHUNKS)  # bounds `chunks`: taken by the thread before it reads

    def read() -> None:
        chunk = b"-"
        with suppress(RuntimeError, OSError):  # the loop is closed, and with it the command; or a terminal hung up
            while chunk:
                free.acquire()
                chunk = os.read(descriptor, CHUNK_BYTES)
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            return
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(chunks.put_nowait, b"")

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while chunk := await chunks.get():
        free.release()
        yield chunk


async def read_lines(max_bytes: int, descriptor: int = STDIN) -> AsyncIterator[tuple[int, str]]:
    """Yield each line's number, from 1 on, and its text without its end.

    Raise `TooLarge` at a line of more than `max_bytes` and `BadBody` at one that is not UTF-8, when their turn comes.
    """
    number = 0
    begun = b""
    async for chunk in read_chunks(descriptor):
        *lines, begun = (begun + chunk).split(b"\n")
        for line in lines:
            number += 1
            yield number, _text(line, number, max_bytes)
        if len(begun) > max_bytes + 1:  # one more for a carriage return
            raise _too_long(number + 1, max_bytes)
    if begun:
        yield number + 1, _text(begun, number + 1, max_bytes)


async def read_all(descriptor: int = STDIN) -> bytes:
    """Return everything, up to the end."""
    return b"".join([chunk async for chunk in read_chunks(descriptor)])


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

"""A standard stream for other programs, which expect that a write waits. Knows no program and no message."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from chatkit.cli.output import Descriptor

CHUNK_BYTES: Final = 65_536  # a pipe's size on Linux
LAST_S: Final = 1.0  # for what was written last: a program that was left running may still hold the pipe


@contextmanager
def blocking_stream(descriptor: int) -> Iterator[int]:
    """Yield the descriptor or, if it is in non-blocking mode, a pipe whose content is copied to it.

    Another process, such as Node or ssh, sets that mode on the stream that they share. Most programs then lose output.
    """
    try:
        is_blocking = os.get_blocking(descriptor)
    except OSError:  # it is closed
        is_blocking = True
    if is_blocking:
        yield descriptor
        return
    reads, writes = os.pipe()
    thread = threading.Thread(target=_copy, args=(reads, descriptor), name="output", daemon=True)
    thread.start()
    try:
        yield writes
    finally:
        os.close(writes)
        thread.join(LAST_S)


def _copy(reads: int, descriptor: int) -> None:
    """Copy until the end. After an error, a program that writes gets it, too, as its pipe has no reader."""
    with os.fdopen(reads, "rb", buffering=0) as source, suppress(OSError):
        target = Descriptor(descriptor)
        while left := memoryview(source.read(CHUNK_BYTES)):
            while left:
                left = left[target.write(left) :]

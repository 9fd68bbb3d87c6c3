"""Lines to standard error, written by a thread of its own. Knows nothing of logging.

A log that cannot be written costs the log and nothing else: a full disk, a reader that is gone and one that does not
read neither raise here nor stop the event loop. Lines that are lost are counted, and the count is written once writing
works again.
"""

import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Final

STDERR: Final = 2
MAX_CHARS: Final = 1_048_576  # of lines that wait while nobody reads; what comes later is dropped
EXIT_S: Final = 2.0  # an exit waits so long for a reader; a log is not worth more


def describe_loss(count: int) -> str:
    """Return the sentence about lines that could not be written."""
    return f"{count} lines of the log could not be written"


class LogWriter:
    """Writes lines in order. Only its thread touches the descriptor."""

    def __init__(self, descriptor: int = STDERR, describe: Callable[[int], str] = describe_loss) -> None:
        self.describe = describe  # a log of JSON has its own form
        self.encoding = getattr(sys.__stderr__, "encoding", None) or "utf-8"  # a terminal's; JSON has its own here, too
        self._descriptor = descriptor
        self._lines: deque[str] = deque()
        self._n_chars = 0  # of `_lines`
        self._n_lost = 0
        self._is_writing = False
        self._changed = threading.Condition()  # protects all of these
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> None:
        """Add a line, or several; return at once."""
        with self._changed:
            if self._n_chars + len(text) > MAX_CHARS:
                self._n_lost += 1
                return
            self._lines.append(text)
            self._n_chars += len(text)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout_s: float = EXIT_S) -> None:
        """Wait until everything is written or lost, but not longer than the timeout."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self._lines or self._is_writing:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return
                self._changed.wait(left_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._lines:
                    self._changed.wait()
                line = self._lines.popleft()
                self._n_chars -= len(line)
                self._is_writing = True
            is_written = self._write_line(line)
            if is_written:
                self._write_loss()
            with self._changed:
                self._n_lost += not is_written
                self._is_writing = False
                self._changed.notify_all()

    def _write_loss(self) -> None:
        with self._changed:
            n_lost, self._n_lost = self._n_lost, 0
        if n_lost and not self._write_line(self.describe(n_lost)):
            with self._changed:
                self._n_lost += n_lost

    def _write_line(self, line: str) -> bool:
        data = memoryview(f"{line}\n".encode(self.encoding, "backslashreplace"))
        try:
            while data:
                with suppress(BlockingIOError):
                    data = data[os.write(self._descriptor, data) :]
                    continue
                self._wait()
        except OSError:
            return False
        return True

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        poll.poll()


@cache
def stderr_writer() -> LogWriter:
    """Return this process's one writer to standard error."""
    return LogWriter()

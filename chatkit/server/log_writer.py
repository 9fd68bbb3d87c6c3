"""Writes lines to standard error in a separate thread. Knows nothing of logging.

If the log cannot be written, only the log suffers: a full disk, or a reader that is gone or does not read, raises no
error here and does not stop the event loop. Lost lines are counted, and the count is written once writing works again.
"""

import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Final

STDERR: Final = 2
MAX_CHARS: Final = 1_048_576  # of lines that wait for a slow reader; more lines are dropped
EXIT_S: Final = 2.0  # the longest that an exit waits for the reader of the log


def describe_loss(count: int) -> str:
    """Return the line that reports lost lines."""
    return f"{count} lines of the log could not be written"


class LogWriter:
    """Writes lines in order. Only its own thread uses the descriptor."""

    def __init__(self, descriptor: int = STDERR, describe: Callable[[int], str] = describe_loss) -> None:
        self.describe = describe  # a JSON log has its own form
        self.encoding = getattr(sys.__stderr__, "encoding", None) or "utf-8"  # the terminal's; a JSON log sets UTF-8
        self._descriptor = descriptor
        self._lines: deque[str] = deque()
        self._n_chars = 0  # of `_lines`
        self._n_lost = 0
        self._is_writing = False
        self._changed = threading.Condition()  # protects the fields above
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> None:
        """Queue one or more lines, and return at once."""
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
        """Wait until every line is written or lost, for at most `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self._lines or self._is_writing:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return
                self._changed.wait(left_s)

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # see `ignore_signals`
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

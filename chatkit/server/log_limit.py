"""Limits how often the log repeats a sentence: a client that causes it could fill the disk and slow down the server."""

import logging
import time
from collections.abc import Callable
from typing import Final, TypeAlias

from chatkit.server.access_log import LOGGER as ACCESS_LOGGER

MAX_REPEATS: Final = 10  # of one sentence in a window, whatever its arguments
MAX_ACCESS_LINES: Final = 1_000  # of the access log in a window: 100 a second, about 1 GB a day
WINDOW_S: Final = 10.0
MAX_SENTENCES: Final = 1_000  # remembered; the code has fewer

_Sentence: TypeAlias = tuple[str, int, str]


class RepeatFilter(logging.Filter):
    """Passes a sentence a few times in each window of time, and later adds how often it was left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._windows: dict[
            _Sentence, tuple[float, int]
        ] = {}  # the start of each window, and the sentence's count in it

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log the record."""
        sentence = (record.name, record.levelno, str(record.msg))
        max_lines = MAX_ACCESS_LINES if record.name == ACCESS_LOGGER else MAX_REPEATS
        now_s = self._clock()
        began_s, count = self._windows.pop(sentence, (now_s, 0))
        if now_s - began_s >= WINDOW_S:
            _append_count(record, count - max_lines)
            began_s, count = now_s, 0
        self._windows[sentence] = (began_s, count + 1)
        if len(self._windows) > MAX_SENTENCES:
            del self._windows[next(iter(self._windows))]
        return count < max_lines


def _append_count(record: logging.LogRecord, n_left_out: int) -> None:
    if n_left_out > 0:
        record.msg = f"{record.getMessage()} (repeated {n_left_out} more times, not logged)"
        record.args = ()

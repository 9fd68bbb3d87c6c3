"""`found_in_time`: a search with a regular expression that ends. Some patterns take years for thirty characters."""

import re
import signal
import threading
from typing import Any, Final

MAX_S: Final = 0.25  # of one search, in which nothing else runs; a usual one takes microseconds


class _TookTooLong(BaseException):
    """The time of a search is over."""


def found_in_time(pattern: re.Pattern[str], text: str) -> bool | None:
    """Return whether the text contains the pattern, or None if a quarter of a second does not suffice to tell.

    Python's `re` looks for signals during a search, and only a signal can end it. They are handled in the main thread:
    in any other, the time is not limited.
    """
    if threading.current_thread() is not threading.main_thread():
        return pattern.search(text) is not None
    before = signal.signal(signal.SIGALRM, _end)
    try:
        signal.setitimer(signal.ITIMER_REAL, MAX_S)
        try:
            return pattern.search(text) is not None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _TookTooLong:
        return None
    finally:
        signal.signal(signal.SIGALRM, before)


def _end(*_: Any) -> None:
    raise _TookTooLong

"""The progress of a long command, on standard error, if that is a terminal."""

import sys
import time
from typing import Final

from chatkit.cli.sanitize import one_line

STEP_S: Final = 0.2  # between two updates: more often than this, nobody can read


class ProgressLine:
    """One line that shows what is being done, how many messages are done, and their rate."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._began_s = time.monotonic()
        self._due_s = self._began_s

    @property
    def elapsed_s(self) -> float:
        """The seconds since the line was made."""
        return time.monotonic() - self._began_s

    def show(self, what: str, n_messages: int, share: float | None = None) -> None:
        """Update the line, a few times a second. `share` is the part of the whole that is done, from 0 to 1."""
        now_s = time.monotonic()
        if not self._is_shown or now_s < self._due_s:
            return
        self._due_s = now_s + STEP_S
        rate = n_messages / max(now_s - self._began_s, STEP_S)
        percent = "" if share is None else f" {min(share, 1):4.0%}"
        self._write(f"\r\x1b[K{one_line(what)}:{percent} {n_messages:,} messages, {rate:,.0f}/s")

    def show_share(self, what: str, share: float) -> None:
        """Update the line of a command that counts no messages."""
        if self._is_shown and time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + STEP_S
            self._write(f"\r\x1b[K{one_line(what)}: {min(share, 1):4.0%}")

    def clear(self) -> None:
        """Remove the line, so that other output can follow."""
        if self._is_shown:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

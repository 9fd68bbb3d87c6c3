"""CommitFault: the newest failure of a commit, which is a fault of the process until a commit succeeds."""

from math import inf
from typing import Final

FAULT_S: Final = 10.0  # for this long, if nothing is committed afterwards


class CommitFault:
    """Remembers why the newest commit failed. Times are those of one steady clock, in seconds."""

    def __init__(self) -> None:
        self.n_failed = 0  # since the process started
        self._sentence: str | None = None
        self._at = -inf

    def set(self, sentence: str, now_s: float) -> None:
        """Note that a commit has failed."""
        self.n_failed += 1
        self._sentence, self._at = sentence, now_s

    def clear(self) -> None:
        """Note that the store works."""
        self._sentence = None

    def read(self, now_s: float) -> str | None:
        """Return the sentence of the failure, or None if there is no fault now."""
        return self._sentence if now_s - self._at <= FAULT_S else None

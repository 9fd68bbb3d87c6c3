"""SendingOrder: which of a client's messages were refused for now, so that none of those behind them is taken first.

Without it, a bucket that fills again or a store that comes back in the middle of a burst would let the burst's end in
before its beginning, which the client sends again a moment later.
"""

from chatkit.errors import RateLimited, Unavailable
from chatkit.wire.protocol import Ref

MAX_REFUSED = 4_096  # far beyond what a client may have on its way; one that never sends again does not care for order
MAX_REF_CHARS = 1 << 16  # of all of them: a client's name for a message is as long as it likes


class SendingOrder:
    """The refused, by their `ref`. A chain: each names the one that it was sent behind."""

    __slots__ = ("_n_chars", "_refused")

    def __init__(self) -> None:
        self._refused: dict[Ref, RateLimited | Unavailable] = {}
        self._n_chars = 0

    def check(self, behind: Ref) -> None:
        """Raise what the message `behind` was refused with, if it was."""
        error = self._refused.get(behind)
        if error is not None:
            raise error.with_traceback(None)  # one error for a thousand messages must not remember every raise

    def refused(self, ref: Ref, error: RateLimited | Unavailable) -> None:
        """Know that a message was refused and may be sent again."""
        self.taken(ref)
        # A chain needs but its end, and that is what stays.
        if len(self._refused) >= MAX_REFUSED or self._n_chars + _n_chars(ref) > MAX_REF_CHARS:
            self._refused.clear()
            self._n_chars = 0
        self._refused[ref] = error
        self._n_chars += _n_chars(ref)

    def taken(self, ref: Ref) -> None:
        """Know that a message is on its way to the store."""
        if self._refused.pop(ref, None) is not None:
            self._n_chars -= _n_chars(ref)


def _n_chars(ref: Ref) -> int:
    return len(ref) if isinstance(ref, str) else 0

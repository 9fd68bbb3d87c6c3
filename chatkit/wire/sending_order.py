"""SendingOrder: which of a client's messages were refused for now, so that none of those behind them is taken first.

Without it, a bucket that fills again or a store that comes back in the middle of a burst would let the burst's end in
before its beginning, which the client sends again a moment later.
"""

from chatkit.errors import RateLimited, Unavailable
from chatkit.wire.frames import Ref

MAX_REFUSED = 4_096  # far beyond what a client may have on its way; one that never sends again does not care for order


class SendingOrder:
    """The refused, by their `ref`. A chain: each names the one that it was sent behind."""

    __slots__ = ("_refused",)

    def __init__(self) -> None:
        self._refused: dict[Ref, RateLimited | Unavailable] = {}

    def check(self, behind: Ref) -> None:
        """Raise what the message `behind` was refused with, if it was."""
        error = self._refused.get(behind)
        if error is not None:
            raise error.with_traceback(None)  # one error for a thousand messages must not remember every raise

    def refused(self, ref: Ref, error: RateLimited | Unavailable) -> None:
        """Know that a message was refused and may be sent again."""
        if len(self._refused) >= MAX_REFUSED:
            self._refused.clear()
        self._refused[ref] = error

    def taken(self, ref: Ref) -> None:
        """Know that a message is on its way to the store."""
        self._refused.pop(ref, None)

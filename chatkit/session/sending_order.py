"""SendingOrder: the messages of a client that were refused temporarily, so that no later message is accepted first.

Without it, if the rate limit or the store recovered in the middle of a burst, the end of the burst would be accepted
before its beginning, which the client sends again a moment later.
"""

from chatkit.errors import RateLimited, Unavailable
from chatkit.wire.protocol import Ref

MAX_REFUSED = 4_096  # far above what a client may have in flight; one that never sends again does not need the order
MAX_REF_CHARS = 1 << 16  # of all refs together: a client may choose refs of any length


class SendingOrder:
    """The refused messages by `ref`. They are a chain: each message names the one that it was sent after."""

    __slots__ = ("_n_chars", "_refused")

    def __init__(self) -> None:
        self._refused: dict[Ref, RateLimited | Unavailable] = {}
        self._n_chars = 0

    def __len__(self) -> int:
        return len(self._refused)

    def check(self, behind: Ref) -> None:
        """Raise the error with which the message `behind` was refused, if it was."""
        error = self._refused.get(behind)
        if error is not None:
            raise error.with_traceback(None)  # an error that is raised a thousand times must not collect tracebacks

    def refused(self, ref: Ref, error: RateLimited | Unavailable) -> None:
        """Record that a message was refused and may be sent again."""
        self.forget(ref)
        # Of a chain, only its end is needed, and that is added below.
        if len(self._refused) >= MAX_REFUSED or self._n_chars + _n_chars(ref) > MAX_REF_CHARS:
            self._refused.clear()
            self._n_chars = 0
        self._refused[ref] = error
        self._n_chars += _n_chars(ref)

    def forget(self, ref: Ref) -> None:
        """Record that a message was accepted, or refused for good."""
        if self._refused.pop(ref, None) is not None:
            self._n_chars -= _n_chars(ref)


def _n_chars(ref: Ref) -> int:
    return len(ref) if isinstance(ref, str) else 0

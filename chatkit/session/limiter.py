"""The rate limit of a session's sender, as the session sees it. The server has the limits."""

from typing import Protocol


class Limiter(Protocol):
    """The rate limit of one sender."""

    def consume(self, n_bytes: int) -> float:
        """Count one message of `n_bytes`. Return 0, or, if it exceeds the limit, the seconds after which to retry."""

    def consume_all(self, n_messages: int, n_bytes: int) -> bool:
        """Count messages of `n_bytes` together if none of them exceeds the limit. Otherwise return False."""

    def charge(self, cost: float) -> float:
        """Count a command that costs as much as `cost` messages. Return the seconds to wait before the next one."""

    def may_signal(self) -> bool:
        """Return whether a signal, which is not stored, may be sent now. Otherwise it is dropped."""

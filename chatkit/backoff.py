"""Back-off: the waits between attempts after failures. Knows no clock and no event loop."""

import random
from collections.abc import Callable
from typing import Final

RECONNECT_FACTOR: Final = 1.2
"""The growth of the waits of a client for its server. A wait is then at most 0.4 times as long as the server has been
away, plus the first wait; with a factor of 2, a client may stay away for twice as long as the server."""


class Backoff:
    """Waits that grow by a factor up to a cap; without a cap, every wait is as long as the first.

    `jitter` is the random share of each wait, so that a thousand clients do not all reconnect at the same time: with
    0.5, a wait lasts between half and all of its length. `uniform` returns a random number between its two arguments.
    """

    __slots__ = ("_factor", "_first_s", "_jitter", "_max_s", "_next_s", "_uniform")

    def __init__(
        self,
        first_s: float,
        max_s: float | None = None,
        *,
        factor: float = 2.0,
        jitter: float = 0.5,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._first_s = first_s
        self._max_s = first_s if max_s is None else max_s
        self._factor = factor
        self._jitter = jitter
        self._uniform = uniform
        self._next_s = first_s

    def next_s(self) -> float:
        """Count a failure and return how long to wait before the next attempt, in seconds."""
        longest_s = min(self._next_s, self._max_s)
        self._next_s = min(longest_s * self._factor, self._max_s)
        return self._uniform((1 - self._jitter) * longest_s, longest_s) if self._jitter else longest_s

    def reset(self) -> None:
        """Start again with the first wait, after a success."""
        self._next_s = self._first_s

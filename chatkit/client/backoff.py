"""Backoff: how long to wait before the next attempt to connect."""

import random

FIRST_S = 0.1
LONGEST_S = 10.0


class Backoff:
    """Waits that double, with jitter, so that a thousand clients do not all come back in the same moment."""

    def __init__(self) -> None:
        self._failures = 0

    def next_s(self) -> float:
        """Count a failure and return how long to wait."""
        longest = min(LONGEST_S, FIRST_S * 2 ** min(self._failures, 16))
        self._failures += 1
        return random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, guards nothing

    def worked(self, for_s: float) -> None:
        """Begin anew after a connection that lasted; one that was closed at once counts as a failure."""
        if for_s >= LONGEST_S:
            self._failures = 0

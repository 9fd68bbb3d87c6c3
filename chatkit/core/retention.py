"""RetentionClock: the time by which old messages are dropped. It does not believe a clock that jumps ahead.

Knows no store, and reads no clock: its callers pass the times.
"""

TOLERANCE_MS = 60_000  # clocks drift, and are corrected, by less
CONFIRM_S = 3_600.0  # how long the clock has to stay ahead before it is believed; a wrong one is noticed by then
# At the start there is nothing to compare with but the newest message: a store is often left alone for a day.
START_TOLERANCE_MS = 86_400_000


class RetentionClock:
    """Follows the wall clock, but a jump ahead only when the steady clock says that it has lasted for an hour.

    Messages dropped too early are lost; those dropped an hour late harm nobody. So a clock that is set back is believed
    at once, and a machine that slept drops nothing for an hour.
    """

    def __init__(self, newest_ms: int | None, wall_ms: int, steady_s: float) -> None:
        """Start with the time of the store's newest message, in Unix milliseconds; None if there is no message."""
        is_plausible = newest_ms is None or wall_ms <= newest_ms + START_TOLERANCE_MS
        self._trusted_ms = wall_ms if is_plausible or newest_ms is None else newest_ms
        self._trusted_at_s = steady_s
        self._ahead_since_s: float | None = None

    @property
    def is_ahead(self) -> bool:
        """Whether the wall clock was ahead of what is believed, at the last look."""
        return self._ahead_since_s is not None

    def read(self, wall_ms: int, steady_s: float) -> int:
        """Return the time that is believed, in Unix milliseconds; `steady_s` is of a clock that nobody sets."""
        expected_ms = self._trusted_ms + round((steady_s - self._trusted_at_s) * 1000)
        if wall_ms > expected_ms + TOLERANCE_MS:
            if self._ahead_since_s is None:
                self._ahead_since_s = steady_s
            if steady_s - self._ahead_since_s < CONFIRM_S:
                return expected_ms
        self._ahead_since_s = None
        self._trusted_ms, self._trusted_at_s = wall_ms, steady_s
        return wall_ms

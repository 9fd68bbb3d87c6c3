"""RetentionClock: the time by which old messages are dropped. It does not trust a clock that jumps ahead.

Knows no store and reads no clock: the callers pass the times.
"""

TOLERANCE_MS = 60_000  # clocks drift and are corrected by less than this
CONFIRM_S = 3_600.0  # a clock that stays ahead for this long is trusted; a wrong clock is noticed in less time
# At the start, only the newest message can be compared with the clock; a store is often unused for a day.
START_TOLERANCE_MS = 86_400_000


class RetentionClock:
    """Follows the wall clock, but follows a jump ahead only after an hour by the monotonic clock.

    Messages that are dropped too early are lost, while dropping them an hour late does no harm. So a clock that is set
    back is trusted at once, and a machine that was suspended drops nothing for an hour.
    """

    def __init__(self, newest_ms: int | None, wall_ms: int, steady_s: float) -> None:
        """Start with the time of the store's newest message, in Unix milliseconds, or None without messages."""
        is_plausible = newest_ms is None or wall_ms <= newest_ms + START_TOLERANCE_MS
        self._trusted_ms = wall_ms if is_plausible or newest_ms is None else newest_ms
        self._trusted_at_s = steady_s
        self._ahead_since_s: float | None = None

    @property
    def is_ahead(self) -> bool:
        """Whether the wall clock was ahead of the trusted time at the last `read`."""
        return self._ahead_since_s is not None

    def read(self, wall_ms: int, steady_s: float) -> int:
        """Return the trusted time in Unix milliseconds. `steady_s` is the time of a monotonic clock."""
        expected_ms = self._trusted_ms + round((steady_s - self._trusted_at_s) * 1000)
        if wall_ms > expected_ms + TOLERANCE_MS:
            if self._ahead_since_s is None:
                self._ahead_since_s = steady_s
            if steady_s - self._ahead_since_s < CONFIRM_S:
                return expected_ms
        self._ahead_since_s = None
        self._trusted_ms, self._trusted_at_s = wall_ms, steady_s
        return wall_ms

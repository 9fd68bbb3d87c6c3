"""SteadyClock: the time by which access ends, without the jumps of the machine's clock."""

from typing import Final

MAX_SLEW_MS: Final = 1_000  # a clock that is kept by NTP moves by less
SETTLE_MS: Final = 60_000  # a clock that jumped and is right by now has been right for this long


class SteadyClock:
    """Follows the wall clock, but does not believe a jump before it has lasted for a minute.

    A clock that jumps ahead for a moment ends no token, and one that jumps back revives none. After a minute the clock
    counts as corrected, or the machine as resumed, and the new time is used: ends that have passed by it take effect,
    and those that had only passed by the wrong time are taken back. What is stored never depends on either.
    """

    def __init__(self, wall_ms: int, monotonic_ms: int) -> None:
        self._offset_ms = self._new_offset_ms = wall_ms - monotonic_ms
        self._since_ms = monotonic_ms

    def read(self, wall_ms: int, monotonic_ms: int) -> int:
        """Return the time, as Unix milliseconds, given what the two clocks of the machine show now."""
        offset_ms = wall_ms - monotonic_ms
        if abs(offset_ms - self._new_offset_ms) > MAX_SLEW_MS:
            self._since_ms = monotonic_ms  # it jumped, or jumped again
        self._new_offset_ms = offset_ms
        if abs(offset_ms - self._offset_ms) <= MAX_SLEW_MS or monotonic_ms - self._since_ms >= SETTLE_MS:
            self._offset_ms = offset_ms
        return monotonic_ms + self._offset_ms

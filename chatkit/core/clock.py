"""The time of this process, by which access ends."""

import time
from collections.abc import Callable

from chatkit.core.steady_clock import SteadyClock


def steady_now_ms() -> Callable[[], int]:
    """Return a function that returns the time of this process, as Unix milliseconds, by a steady clock of its own."""
    clock = SteadyClock(time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000)
    return lambda: clock.read(time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000)

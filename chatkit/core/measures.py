"""What a hub measures: counts, durations, and how far its readers are behind. Plain numbers, without I/O and clocks.

Whatever happens for each message or each delivery is not counted one by one: a batch or a delivery to a room adds its
sum, and what was delivered follows from the positions of the readers, which are added up when somebody asks.
"""

from bisect import bisect_left
from typing import Final

import msgspec

# Seconds. From a commit in memory to a store that hangs; the factor of 2 to 2.5 is the precision of a percentile.
BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FAR_BEHIND: Final = 1_000  # messages: more than memory holds of a busy room, so that the rest is read from the store


class Durations(msgspec.Struct, frozen=True):
    """The durations that a `Histogram` counted: how many by each of `BOUNDS_S` and above all of them, and their sum."""

    counts: list[int]
    sum_s: float


class Histogram:
    """Counts durations by size."""

    __slots__ = ("_counts", "_sum_s")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def observe(self, duration_s: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(BOUNDS_S, duration_s)] += 1
        self._sum_s += duration_s

    def read(self) -> Durations:
        """Return what was counted until now."""
        return Durations(list(self._counts), self._sum_s)


class ReaderMeasures(msgspec.Struct):
    """The readers of one process, added up.

    `n_delivered` counts the messages that all readers have read since the process started, also those readers that
    have left. `lag` is the number of messages that the present readers have not read yet: of all together, and of the
    one that is furthest behind.
    """

    n_delivered: int
    n_readers: int = 0
    n_far_behind: int = 0
    lag: int = 0
    max_lag: int = 0

    def add(self, n_read: int, n_due: int, *, is_open: bool) -> None:
        """Add one reader. One that left in the meantime only has its delivered messages."""
        self.n_delivered += n_read
        if is_open:
            self.n_readers += 1
            self.n_far_behind += n_due >= FAR_BEHIND
            self.lag += n_due
            self.max_lag = max(self.max_lag, n_due)


class WebhookMeasures(msgspec.Struct, frozen=True):
    """The webhooks of the store, of which `n_parked` are parked; and the requests to them that this process sent."""

    n_webhooks: int = 0
    n_parked: int = 0
    n_delivered: int = 0
    n_failed: int = 0


class HubMeasures(msgspec.Struct, frozen=True):
    """What one hub has measured since it was entered, and its present state.

    `n_published` counts messages, `n_repeated` drafts that were stored before (by their key), `n_failed_commits` the
    batches that the store did not commit. `n_pending` drafts wait for their commit. `commit` is the time that the store
    needed for a batch, `fanout` the time from a commit until the last reader was woken. `n_members` are the members of
    all rooms that this process knows, also through other processes; all other values are of this process.
    """

    is_store_available: bool
    n_published: int
    n_repeated: int
    n_failed_commits: int
    n_pending: int
    n_rooms: int
    n_members: int
    readers: ReaderMeasures
    commit: Durations
    fanout: Durations
    webhooks: WebhookMeasures = WebhookMeasures()

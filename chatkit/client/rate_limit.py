"""Pace: how fast a sender may go without being refused. A token bucket whose clock is an argument."""

from chatkit.wire.protocol import WireLimits

SHARE = 0.95  # of what the server allows: its clock and ours do not tick alike, and being refused costs a round trip
ROUNDING = 1e-6  # of a token: less is lacking only because floating point says so, and no wait would ever mend it


class RateLimit:
    """Counts messages and bytes against the limits of a `welcome`. Times are seconds of any steady clock."""

    def __init__(self, limits: WireLimits, now: float) -> None:
        self._buckets = [
            _SendBucket(limits.rate * SHARE, max(1.0, limits.burst * SHARE), now),
            _SendBucket(limits.rate_bytes * SHARE, max(1.0, limits.rate_bytes * SHARE), now),
        ]

    def wait_s(self, size: int, now: float) -> float:
        """Return how long to wait before a message of `size` bytes may go; 0 when it may go now."""
        return max(bucket.wait_s(cost, now) for bucket, cost in zip(self._buckets, (1, size), strict=True))

    def spend(self, size: int, now: float) -> None:
        """Count a message that goes now."""
        for bucket, cost in zip(self._buckets, (1, size), strict=True):
            bucket.spend(cost, now)

    def empty(self, now: float) -> None:
        """Forget what was saved up: the server has counted more than we did, perhaps another process of this sender."""
        for bucket in self._buckets:
            bucket.empty(now)


class _SendBucket:
    """`rate` tokens a second, at most `size` of them; a rate of 0 is no limit."""

    def __init__(self, rate: float, size: float, now: float) -> None:
        self._rate = rate
        self._size = size
        self._tokens = size
        self._at = now

    def wait_s(self, cost: float, now: float) -> float:
        # What is larger than the bucket goes when the bucket is full, into debt: else it would never go.
        lacking = min(cost, self._size) - self._level(now)
        return lacking / self._rate if self._rate and lacking > ROUNDING else 0.0

    def spend(self, cost: float, now: float) -> None:
        self._tokens = self._level(now) - cost
        self._at = now

    def empty(self, now: float) -> None:
        self._tokens = min(0.0, self._level(now))
        self._at = now

    def _level(self, now: float) -> float:
        return min(self._size, self._tokens + (now - self._at) * self._rate)

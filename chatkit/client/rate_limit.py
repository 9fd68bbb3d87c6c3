"""Limit how fast a sender publishes, so that the server does not refuse. A token bucket whose clock is an argument."""

from chatkit.wire.protocol import WireLimits

SHARE = 0.95  # of the server's limits: two clocks differ, and a refusal costs a round trip
ROUNDING = 1e-6  # of a token: a smaller lack is a rounding error, which no wait would end


class RateLimit:
    """Count messages and bytes against the limits of a `welcome`. Times are seconds of any monotonic clock."""

    def __init__(self, limits: WireLimits, now: float) -> None:
        self._buckets = [
            _SendBucket(limits.rate * SHARE, max(1.0, limits.burst * SHARE), now),
            _SendBucket(limits.rate_bytes * SHARE, max(1.0, limits.rate_bytes * SHARE), now),
        ]

    def wait_s(self, size: int, now: float) -> float:
        """Return the seconds to wait before a message of `size` bytes may be sent; 0 if it may be sent now."""
        return max(bucket.wait_s(cost, now) for bucket, cost in zip(self._buckets, (1, size), strict=True))

    def spend(self, size: int, now: float) -> None:
        """Count a message that is sent now."""
        for bucket, cost in zip(self._buckets, (1, size), strict=True):
            bucket.spend(cost, now)

    def empty(self, now: float) -> None:
        """Remove all tokens: the server has counted more than this client, perhaps of another process of the sender."""
        for bucket in self._buckets:
            bucket.empty(now)


class _SendBucket:
    """A bucket that gets `rate` tokens a second and holds `size`; a rate of 0 means no limit."""

    def __init__(self, rate: float, size: float, now: float) -> None:
        self._rate = rate
        self._size = size
        self._tokens = size
        self._at = now

    def wait_s(self, cost: float, now: float) -> float:
        # A message larger than the bucket is sent when the bucket is full, into debt: else it would never be sent.
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

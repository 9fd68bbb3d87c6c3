"""Latencies: a bounded, even sample of many latencies. Knows no clock."""

from array import array
from collections.abc import Sequence
from math import ceil

MAX_SAMPLES = 1 << 20


class Latencies:
    """Keeps every latency; as they become many, every second, fourth, eighth and so on; and the longest of all."""

    def __init__(self, max_samples: int = MAX_SAMPLES) -> None:
        self._max_samples = max_samples
        self.clear()

    def clear(self) -> None:
        """Forget all latencies."""
        self.longest_ns = 0
        self._samples = array("q")
        self._stride = 1
        self._n_seen = 0

    def add(self, now_ns: int, stamps: Sequence[int]) -> None:
        """Record messages that arrive now, given when they were sent."""
        begin = -self._n_seen % self._stride
        self._n_seen += len(stamps)
        self._samples.extend([now_ns - stamp for stamp in stamps[begin :: self._stride]])
        if len(self._samples) > self._max_samples:
            self._samples = self._samples[::2]
            self._stride *= 2

    def note_longest(self, latency_ns: int) -> None:
        """Record the longest latency of messages that are not sampled."""
        self.longest_ns = max(self.longest_ns, latency_ns)

    def percentiles_ms(self, *shares: float) -> list[float]:
        """Return, for each share, the latency in milliseconds that this share of the messages did not exceed."""
        ordered = sorted(self._samples)
        if not ordered:
            return [0.0 for _ in shares]
        return [ordered[max(0, ceil(share * len(ordered)) - 1)] / 1e6 for share in shares]

"""How much one client may send: publishes by messages and bytes, and all other work by what it costs.

A connection has an allowance of its own, which nobody else can use up: it grows from nothing while the connection
lives. What a new connection sends at once, before that, comes from allowances that are shared: by those of one name at
an address, and by all of that address. So a new name or a new connection gives little, and who sends under somebody
else's name takes nothing of what that connection has earned. Time is the caller's, in seconds.
"""

import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from chatkit.server.settings import BURST_S, MAX_RATE_BYTES

KeyT = TypeVar("KeyT")

MIN_WAIT_S: Final = 0.1  # a refused sender's next messages are under way already: none must pass the refused one
SIGNAL_INTERVAL_S: Final = 0.5  # between two signals of a sender's: pages send one every three seconds
BYTES_BURST: Final = 4.0 * MAX_RATE_BYTES  # bytes a sender may send at once: some seconds of its rate
ROUNDING: Final = 1e-6  # of a message, by which sums of fractions may be off
MAX_BUCKETS: Final = 10_000  # of each kind; beyond it, those that are full again are forgotten
SHARE_OF_ADDRESS: Final = 4  # what newcomers of one address have together, in allowances of one
COMMAND_RATE: Final = 100.0  # at least: a low rate of messages must not slow reading down


class Bucket:
    """A token bucket over messages and bytes at once, full at first, or empty with a `credit` of as much.

    A refusal keeps the bucket closed until the sender has been quiet for as long as it was asked to wait: what was sent
    behind a refused message is refused too, and so can be sent again in order.
    """

    __slots__ = (
        "_byte_credit",
        "_closed_until",
        "_credit",
        "_rate",
        "_seen_at",
        "_signalled_at",
        "messages",
        "n_bytes",
    )

    def __init__(self, rate: float, now: float, *, is_empty: bool = False) -> None:
        self._rate = rate
        self.messages, self._credit = (0.0, self._burst) if is_empty else (self._burst, 0.0)
        self.n_bytes, self._byte_credit = (0.0, BYTES_BURST) if is_empty else (BYTES_BURST, 0.0)
        self._seen_at = now
        self._closed_until = now
        self._signalled_at = now - SIGNAL_INTERVAL_S

    def take(self, n_bytes: int, now: float, shared: tuple["Bucket", ...] = ()) -> float:
        """Take one message; return 0, or in how many seconds to try again."""
        self.refill(now)
        missing_s = max((1 - self.messages) / self._rate, (n_bytes - self.n_bytes) / MAX_RATE_BYTES)
        if self._closed_until <= now and (missing_s <= 0 or self._borrow(n_bytes, now, shared)):
            self.messages -= 1
            self.n_bytes -= n_bytes
            return 0.0
        wait_s = max(missing_s, self._closed_until - now, MIN_WAIT_S)
        self._closed_until = now + wait_s
        return wait_s

    def charge(self, cost: float, now: float, shared: tuple["Bucket", ...]) -> float:
        """Take `cost` messages, at once; return how many seconds it takes to have earned what is missing."""
        self.refill(now)
        if cost > self.messages >= 0:
            for bucket in shared:
                bucket.refill(now)
            lent = max(0.0, min(cost - self.messages, self._credit, *(bucket.messages for bucket in shared)))
            self._lend(lent, 0, shared)
        self.messages -= cost
        return max(0.0, -self.messages / self._rate)

    def _borrow(self, n_bytes: int, now: float, shared: tuple["Bucket", ...]) -> bool:
        """Have what is missing for a message lent by the shared buckets; return whether all of them could."""
        missing, missing_bytes = max(0.0, 1 - self.messages), max(0.0, n_bytes - self.n_bytes)
        if not shared or missing > min(1.0, self._credit + ROUNDING) or missing_bytes > self._byte_credit:
            return False
        for bucket in shared:
            bucket.refill(now)
            if missing > bucket.messages + ROUNDING or missing_bytes > bucket.n_bytes:
                return False
        self._lend(missing, missing_bytes, shared)
        return True

    def _lend(self, messages: float, n_bytes: float, shared: tuple["Bucket", ...]) -> None:
        for bucket in shared:
            bucket.messages -= messages
            bucket.n_bytes -= n_bytes
        self._credit -= messages
        self._byte_credit -= n_bytes
        self.messages += messages
        self.n_bytes += n_bytes

    def refill(self, now: float) -> None:
        """Add what was earned since the last call. What the bucket holds and may still borrow is a burst at most."""
        passed_s = now - self._seen_at
        self._seen_at = now
        self.messages = min(self._burst, self.messages + passed_s * self._rate)
        self.n_bytes = min(BYTES_BURST, self.n_bytes + passed_s * MAX_RATE_BYTES)
        self._credit = min(self._credit, self._burst - self.messages)
        self._byte_credit = min(self._byte_credit, BYTES_BURST - self.n_bytes)

    @property
    def _burst(self) -> float:
        return max(1.0, self._rate * BURST_S)  # a rate of one a minute still lets that one through

    def may_signal(self, now: float) -> bool:
        """Return whether a signal may go out: they are few, and take nothing from what may be published."""
        may = now - self._signalled_at >= SIGNAL_INTERVAL_S
        if may:
            self._signalled_at = now
        return may

    def is_full(self, now: float) -> bool:
        """Return whether forgetting this bucket would change nothing."""
        return now - self._seen_at > max(BURST_S, 1 / self._rate)


class SenderLimiter:
    """What one connection may send under one name, with a clock."""

    __slots__ = ("_clock", "_command_shares", "_commands", "_messages", "_shares")

    def __init__(
        self,
        messages: Bucket,
        shares: tuple[Bucket, ...],
        commands: Bucket,
        command_shares: tuple[Bucket, ...],
        clock: Callable[[], float],
    ) -> None:
        self._messages = messages
        self._shares = shares
        self._commands = commands
        self._command_shares = command_shares
        self._clock = clock

    def consume(self, n_bytes: int) -> float:
        """Take one message; return 0, or in how many seconds to try again."""
        return self._messages.take(n_bytes, self._clock(), self._shares)

    def charge(self, cost: float) -> float:
        """Count a command that costs as much as so many messages; return for how long to serve the client no more."""
        return self._commands.charge(cost, self._clock(), self._command_shares)

    def may_signal(self) -> bool:
        """Return whether something that is not stored may go to the others now."""
        return self._messages.may_signal(self._clock())


class _Buckets(Generic[KeyT]):
    """A bounded number of buckets by what they are for."""

    def __init__(self, make: Callable[[float], Bucket]) -> None:
        self._make = make
        self._buckets: dict[KeyT, Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def get(self, key: KeyT, now: float) -> Bucket:
        """Return the bucket, a new one if there is none."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= MAX_BUCKETS:
                self._forget(now)
            bucket = self._buckets[key] = self._make(now)
        return bucket

    def _forget(self, now: float) -> None:
        """Forget the buckets that are full again, or, under a flood of names, those that came first."""
        kept = [(key, bucket) for key, bucket in self._buckets.items() if not bucket.is_full(now)]
        self._buckets = dict(kept[-MAX_BUCKETS // 2 :])  # half of them: not every new name may cost a look at all


class RateLimits:
    """The buckets of every connection, of the names at an address, and of the addresses."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        command_rate = max(rate, COMMAND_RATE)
        self._names: _Buckets[tuple[str, str]] = _Buckets(lambda now: Bucket(rate, now))
        self._addresses: _Buckets[str] = _Buckets(lambda now: Bucket(SHARE_OF_ADDRESS * rate, now))
        self._commanding: _Buckets[str] = _Buckets(lambda now: Bucket(SHARE_OF_ADDRESS * command_rate, now))
        self._publishers: _Buckets[object] = _Buckets(lambda now: Bucket(rate, now, is_empty=True))
        self._commanders: _Buckets[object] = _Buckets(lambda now: Bucket(command_rate, now, is_empty=True))
        self._command_rate = command_rate

    def of(self, address: str, sender: str, connection: object = None) -> SenderLimiter | None:
        """Return what limits a sender at an address; None where nothing does.

        Calls with the same `connection` share its allowance. Without one, the limiter is for a new connection.
        """
        if not self._rate:
            return None
        now = self._clock()
        if connection is None:
            messages = Bucket(self._rate, now, is_empty=True)
            commands = Bucket(self._command_rate, now, is_empty=True)
        else:
            messages = self._publishers.get(connection, now)
            commands = self._commanders.get(connection, now)
        shares = self._names.get((address, sender), now), self._addresses.get(address, now)
        return SenderLimiter(messages, shares, commands, (self._commanding.get(address, now),), self._clock)

    @property
    def n_buckets(self) -> int:
        """How many buckets of any kind there are at most."""
        shared = max(len(self._names), len(self._addresses), len(self._commanding))
        return max(shared, len(self._publishers), len(self._commanders))

"""Rate limits: how much one client may publish (messages and bytes), and how much other work it may ask for (cost).

Each connection has an allowance of its own, which no other connection can use up. It starts empty and grows while the
connection lives. What a new connection sends before that is paid from shared allowances: one for all connections of a
name at an address, and one for the whole address. So a new name or a new connection gains little, and a client that
uses another's name takes nothing from what the other connection has earned. All connections with one token share one
allowance, wherever they come from, and nobody else uses it up. All workers share the shared allowances
(`limit_table.py`). Times are in seconds, from the caller.
"""

import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from chatkit.core.access import Identity
from chatkit.core.ban_list import client_network
from chatkit.server.limit_table import LimitEntry, LimitTable
from chatkit.server.settings import BURST_S, MAX_RATE_BYTES

KeyT = TypeVar("KeyT")

MIN_WAIT_S: Final = 0.1  # messages behind a refused one are already on their way: none may overtake it
SIGNAL_INTERVAL_S: Final = 0.5  # between two signals of one sender; a page sends one every three seconds
BYTES_BURST: Final = 4.0 * MAX_RATE_BYTES  # bytes that a sender may send at once: four seconds of its rate
ROUNDING: Final = 1e-6  # of a message: sums of fractions may be off by this much
MAX_BUCKETS: Final = 10_000  # of each kind; when there are more, full ones are dropped
MAX_SHARED: Final = 1_000  # shared buckets that are kept for the next connection: to make one takes microseconds
SHARE_OF_ADDRESS: Final = 4  # all new connections of an address share this many allowances
COMMAND_RATE: Final = 100.0  # a second, at least: a low rate of messages must not slow down reading
MESSAGES, BYTES, COMMANDS = range(3)  # the columns of an entry of the table


class SharedBucket:
    """A token bucket in the table that all workers share: full at first. It counts messages and bytes, or commands."""

    __slots__ = ("_column", "_entry", "_rate")

    def __init__(self, entry: LimitEntry, rate: float, column: int = MESSAGES) -> None:
        self._entry = entry
        self._rate = rate
        self._column = column

    def messages(self, now: float) -> float:
        """Return how many messages or commands are left; less than none if the bucket is in debt."""
        return burst(self._rate) - max(0.0, self._entry.read(self._column) - now) * self._rate

    def n_bytes(self, now: float) -> float:
        """Return how many bytes are left."""
        return BYTES_BURST - max(0.0, self._entry.read(BYTES) - now) * MAX_RATE_BYTES

    def use(self, messages: float, n_bytes: float, now: float) -> None:
        """Use messages and bytes, even if fewer are left."""
        if messages:
            self._entry.use(self._column, messages / self._rate, now)
        if n_bytes:
            self._entry.use(BYTES, n_bytes / MAX_RATE_BYTES, now)

    def charge(self, cost: float, now: float, _: tuple["SharedBucket", ...] = ()) -> float:
        """Consume `cost` messages, even if that leaves a debt. Return the seconds until the debt is paid."""
        self.use(cost, 0, now)
        return max(0.0, -self.messages(now) / self._rate)


def burst(rate: float) -> float:
    """Return how many messages a bucket holds: at least one, also at a rate of one a minute."""
    return max(1.0, rate * BURST_S)


class Bucket:
    """A token bucket over messages and bytes at once: full at first, or empty and with as much `credit`.

    Without `earns`, it stays empty, and what it consumes is borrowed from shared buckets.

    A refusal closes the bucket until the sender has been quiet for as long as it was asked to wait. So messages right
    behind a refused one are refused as well, and the sender can send them all again in order.
    """

    __slots__ = (
        "_byte_credit",
        "_closed_until",
        "_credit",
        "_earns",
        "_rate",
        "_seen_at",
        "_signalled_at",
        "messages",
        "n_bytes",
    )

    def __init__(self, rate: float, now: float, *, is_empty: bool = False, earns: bool = True) -> None:
        self._rate = rate
        self._earns = earns
        self.messages, self._credit = (0.0, self._burst) if is_empty else (self._burst, 0.0)
        self.n_bytes, self._byte_credit = (0.0, BYTES_BURST) if is_empty else (BYTES_BURST, 0.0)
        self._seen_at = now
        self._closed_until = now
        self._signalled_at = now - SIGNAL_INTERVAL_S

    def consume(self, n_bytes: int, now: float, shared: tuple[SharedBucket, ...] = ()) -> float:
        """Consume one message of `n_bytes`. Return 0, or the seconds after which to try again if it is refused."""
        self.refill(now)
        missing_s = max((1 - self.messages) / self._rate, (n_bytes - self.n_bytes) / MAX_RATE_BYTES)
        if self._closed_until <= now and (missing_s <= 0 or self._borrow(1, n_bytes, now, shared)):
            self.messages -= 1
            self.n_bytes -= n_bytes
            return 0.0
        wait_s = max(missing_s, self._closed_until - now, MIN_WAIT_S)
        self._closed_until = now + wait_s
        return wait_s

    def consume_all(self, n_messages: int, n_bytes: int, now: float, shared: tuple[SharedBucket, ...] = ()) -> bool:
        """Consume messages of `n_bytes` together if `consume` would refuse none of them. Otherwise return False."""
        self.refill(now)
        has_enough = self.messages >= n_messages and self.n_bytes >= n_bytes
        if self._closed_until > now or not (has_enough or self._borrow(n_messages, n_bytes, now, shared)):
            return False
        self.messages -= n_messages
        self.n_bytes -= n_bytes
        return True

    def charge(self, cost: float, now: float, shared: tuple[SharedBucket, ...]) -> float:
        """Consume `cost` messages, even if that leaves a debt. Return the seconds until the debt is paid."""
        self.refill(now)
        if cost > self.messages >= 0:
            lent = max(0.0, min(cost - self.messages, self._credit, *(bucket.messages(now) for bucket in shared)))
            self._lend(lent, 0, now, shared)
        self.messages -= cost
        return max(0.0, -self.messages / self._rate)

    def _borrow(self, n_messages: int, n_bytes: int, now: float, shared: tuple[SharedBucket, ...]) -> bool:
        """Borrow what is missing for messages from the shared buckets. Return False if one of them has too little."""
        missing, missing_bytes = max(0.0, n_messages - self.messages), max(0.0, n_bytes - self.n_bytes)
        if not shared or missing > min(n_messages, self._credit + ROUNDING) or missing_bytes > self._byte_credit:
            return False
        for bucket in shared:
            if missing > bucket.messages(now) + ROUNDING or missing_bytes > bucket.n_bytes(now):
                return False
        self._lend(missing, missing_bytes, now, shared)
        return True

    def _lend(self, messages: float, n_bytes: float, now: float, shared: tuple[SharedBucket, ...]) -> None:
        for bucket in shared:
            bucket.use(messages, n_bytes, now)
        self._credit -= messages
        self._byte_credit -= n_bytes
        self.messages += messages
        self.n_bytes += n_bytes

    def refill(self, now: float) -> None:
        """Add what was earned since the last call. Contents and credit together never exceed one burst."""
        passed_s = now - self._seen_at
        self._seen_at = now
        if not self._earns:
            self._credit, self._byte_credit = self._burst, BYTES_BURST
            return
        self.messages = min(self._burst, self.messages + passed_s * self._rate)
        self.n_bytes = min(BYTES_BURST, self.n_bytes + passed_s * MAX_RATE_BYTES)
        self._credit = min(self._credit, self._burst - self.messages)
        self._byte_credit = min(self._byte_credit, BYTES_BURST - self.n_bytes)

    @property
    def _burst(self) -> float:
        return burst(self._rate)

    def may_signal(self, now: float) -> bool:
        """Return whether a signal may be sent now. Signals are few, and cost nothing of the allowance for messages."""
        may = now - self._signalled_at >= SIGNAL_INTERVAL_S
        if may:
            self._signalled_at = now
        return may

    def is_full(self, now: float) -> bool:
        """Return whether a new bucket in place of this one would allow the same."""
        return now - self._seen_at > max(BURST_S, 1 / self._rate)


class SenderLimiter:
    """The limits of one sender on one connection, with a clock."""

    __slots__ = ("_clock", "_command_shares", "_commands", "_messages", "_shares")

    def __init__(
        self,
        messages: Bucket,
        shares: tuple[SharedBucket, ...],
        commands: Bucket | SharedBucket,
        command_shares: tuple[SharedBucket, ...],
        clock: Callable[[], float],
    ) -> None:
        self._messages = messages
        self._shares = shares
        self._commands = commands
        self._command_shares = command_shares
        self._clock = clock

    def consume(self, n_bytes: int) -> float:
        """Consume one message of `n_bytes`. Return 0, or the seconds after which to try again if it is refused."""
        return self._messages.consume(n_bytes, self._clock(), self._shares)

    def consume_all(self, n_messages: int, n_bytes: int) -> bool:
        """Consume messages of `n_bytes` together if none of them would be refused. Otherwise return False."""
        return self._messages.consume_all(n_messages, n_bytes, self._clock(), self._shares)

    def charge(self, cost: float) -> float:
        """Charge for a command that costs as much as `cost` messages. Return the seconds to pause the client for."""
        return self._commands.charge(cost, self._clock(), self._command_shares)

    def may_signal(self) -> bool:
        """Return whether a signal, which is not stored, may be sent to the others now."""
        return self._messages.may_signal(self._clock())


class _Buckets(Generic[KeyT]):
    """A bounded number of buckets, by key."""

    def __init__(self, make: Callable[[float], Bucket]) -> None:
        self._make = make
        self._buckets: dict[KeyT, Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def get(self, key: KeyT, now: float) -> Bucket:
        """Return the bucket of a key; make it if it is missing."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= MAX_BUCKETS:
                self._drop(now)
            bucket = self._buckets[key] = self._make(now)
        return bucket

    def _drop(self, now: float) -> None:
        """Drop the buckets that are full and, if a flood of names leaves too many, the oldest."""
        kept = [(key, bucket) for key, bucket in self._buckets.items() if not bucket.is_full(now)]
        self._buckets = dict(kept[-MAX_BUCKETS // 2 :])  # only half, so that not every new name causes another scan


class RateLimits:
    """The allowances of the clients of one server. `local` are those of programs on this machine."""

    def __init__(
        self,
        rate: float,
        local_rate: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        table: LimitTable | None = None,
    ) -> None:
        table = table or LimitTable()
        self._remote = _Allowances(rate, clock, table)
        self._local = self._remote if local_rate in {None, rate} else _Allowances(local_rate or 0, clock, table)

    def of(self, identity: Identity, connection: object = None, *, is_local: bool = False) -> SenderLimiter | None:
        """Return the limiter of an identity; None if rates are not limited.

        Calls with the same `connection` share its allowance. Without `connection`, the limiter is for a new connection.
        """
        allowances = self._local if is_local else self._remote
        return allowances.of(identity, connection) if allowances.rate else None


class _Allowances:
    """The buckets of all tokens, connections, names at addresses, and addresses, at one rate."""

    def __init__(self, rate: float, clock: Callable[[], float], table: LimitTable) -> None:
        self.rate = rate
        self._clock = clock
        self._table = table
        self._command_rate = command_rate = max(rate, COMMAND_RATE)
        self._connections: _Buckets[object] = _Buckets(lambda now: Bucket(rate, now, is_empty=True))
        self._connection_commands: _Buckets[object] = _Buckets(lambda now: Bucket(command_rate, now, is_empty=True))
        self._of_tokens: _Buckets[object] = _Buckets(lambda now: Bucket(rate, now, is_empty=True, earns=False))
        # They have no state of their own: their entries do. Connections of one sender share them, to use less memory.
        self._shared: dict[tuple[str, ...], SharedBucket] = {}

    def of(self, identity: Identity, connection: object) -> SenderLimiter:
        """Return the limiter of an identity on a connection, or on a new one if that is None."""
        now = self._clock()
        if identity.token_id is not None:
            return self._of_token(identity.token_id, connection, now)
        if connection is None:
            messages = Bucket(self.rate, now, is_empty=True)
            commands = Bucket(self._command_rate, now, is_empty=True)
        else:
            messages = self._connections.get(connection, now)
            commands = self._connection_commands.get(connection, now)
        network = client_network(identity.address)
        shares = (
            self._share("name", network, identity.name),
            self._share("address", network, factor=SHARE_OF_ADDRESS),
        )
        command_share = self._command_share("address", network, factor=SHARE_OF_ADDRESS)
        return SenderLimiter(messages, shares, commands, (command_share,), self._clock)

    def _of_token(self, token_id: str, connection: object, now: float) -> SenderLimiter:
        # Each connection has a bucket of its own, which a refusal closes: the others of the token are not refused.
        if connection is None:
            messages = Bucket(self.rate, now, is_empty=True, earns=False)
        else:
            messages = self._of_tokens.get((token_id, connection), now)
        shared, commands = self._share("token", token_id), self._command_share("token", token_id)
        return SenderLimiter(messages, (shared,), commands, (), self._clock)

    def _share(self, *key: str, factor: float = 1) -> SharedBucket:
        return self._shared.get(key) or self._make(key, key, factor * self.rate, MESSAGES)

    def _command_share(self, *key: str, factor: float = 1) -> SharedBucket:
        name = ("commands", *key)
        return self._shared.get(name) or self._make(name, key, factor * self._command_rate, COMMANDS)

    def _make(self, name: tuple[str, ...], key: tuple[str, ...], rate: float, column: int) -> SharedBucket:
        if len(self._shared) >= MAX_SHARED:
            self._shared.clear()
        entry = self._table.entry(self.rate, *key)  # programs on this machine have entries of their own
        bucket = self._shared[name] = SharedBucket(entry, rate, column)
        return bucket

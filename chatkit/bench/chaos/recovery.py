"""RecoveryTracker: how long followers receive nothing because of an outage. The caller passes the time.

The time counts from when a follower could receive messages again: from the start of the outage if other servers run,
otherwise from its end. Messages that a server had sent before the outage do not count.
"""

from array import array
from collections.abc import Mapping
from statistics import median

import msgspec

from chatkit.bench.chaos.schedule import OutageKind


class RecoveryTimes(msgspec.Struct, frozen=True):
    """One kind of outage: how often it happened, how many followers it affected, and how soon they recovered."""

    kind: str
    times: int
    followers: int
    median_s: float | None
    max_s: float | None


class PendingRecovery:
    """One outage. Its followers could recover from `since` on; None while none can. Only the first `end` counts."""

    __slots__ = ("kind", "may_use_old_connection", "since")

    def __init__(self, kind: OutageKind, since: float | None) -> None:
        self.kind = kind
        self.since = since
        self.may_use_old_connection = False  # on the follower's connection from before the outage

    def end(self, now: float) -> None:
        """Record that the broken servers or stores run again."""
        if self.since is None:
            self.since = now
        self.may_use_old_connection = self.kind.leaves_connections


class RecoveryTracker:
    """The followers that wait to recover, and the times of the others. Followers and connections are numbers."""

    def __init__(self) -> None:
        self._times: dict[OutageKind, int] = {}
        self._waits: dict[OutageKind, array[float]] = {}
        self._waiting: dict[int, tuple[PendingRecovery, int]] = {}  # with the follower's connection at that time

    @property
    def n_waiting(self) -> int:
        """The number of followers that have not recovered yet."""
        return len(self._waiting)

    def count(self, kind: OutageKind) -> None:
        """Record the start of an outage."""
        self._times[kind] = self._times.get(kind, 0) + 1

    def begin(self, kind: OutageKind, connections: Mapping[int, int], since: float | None) -> PendingRecovery:
        """Record affected followers and their connections. A follower that still waits keeps its earlier outage."""
        pending = PendingRecovery(kind, since)
        for follower, connection in connections.items():
            self._waiting.setdefault(follower, (pending, connection))
        return pending

    def delivered(self, follower: int, connection: int, now: float) -> None:
        """Record that a message was delivered to a follower."""
        waiting = self._waiting.get(follower)
        if waiting is None:
            return
        pending, old_connection = waiting
        if pending.since is None or (connection == old_connection and not pending.may_use_old_connection):
            return
        del self._waiting[follower]
        self._waits.setdefault(pending.kind, array("d")).append(now - pending.since)

    def summaries(self) -> list[RecoveryTimes]:
        """Return the recovery times of each kind of outage."""
        return [self._summary(kind) for kind in OutageKind if kind in self._times]

    def _summary(self, kind: OutageKind) -> RecoveryTimes:
        waits = self._waits.get(kind)
        if not waits:
            return RecoveryTimes(kind, self._times[kind], 0, None, None)
        return RecoveryTimes(kind, self._times[kind], len(waits), round(median(waits), 3), round(max(waits), 3))

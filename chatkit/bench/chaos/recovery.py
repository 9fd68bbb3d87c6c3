"""How long followers hear nothing: for each outage, from when they could hear again until they do. Time is an argument.

Where other servers stand, a follower could hear from the moment its own is struck; else from when the outage is over.
What a server had sent before it was struck does not count.
"""

from array import array
from collections.abc import Mapping
from statistics import median

import msgspec

from chatkit.bench.chaos.schedule import OutageKind


class RecoveryTimes(msgspec.Struct, frozen=True):
    """One kind of outage: how often it was, how many followers it hit, and how soon these heard the next message."""

    kind: str
    times: int
    followers: int
    median_s: float | None
    max_s: float | None


class PendingRecovery:
    """One outage's. `since` is from when on its followers could hear; None while none can. The first `over` counts."""

    __slots__ = ("kind", "may_hear_on_old", "since")

    def __init__(self, kind: OutageKind, since: float | None) -> None:
        self.kind = kind
        self.since = since
        self.may_hear_on_old = False  # on the connection that a follower had before

    def over(self, now: float) -> None:
        """Note that what was struck is back."""
        if self.since is None:
            self.since = now
        self.may_hear_on_old = self.kind.leaves_connections


class RecoveryTracker:
    """Who waits to hear again, and how long the others waited. Followers and their connections are numbers."""

    def __init__(self) -> None:
        self._times: dict[OutageKind, int] = {}
        self._waits: dict[OutageKind, array[float]] = {}
        self._waiting: dict[int, tuple[PendingRecovery, int]] = {}  # and which connection the follower had

    @property
    def n_waiting(self) -> int:
        """How many have not heard again yet."""
        return len(self._waiting)

    def count(self, kind: OutageKind) -> None:
        """Note that such an outage begins."""
        self._times[kind] = self._times.get(kind, 0) + 1

    def struck(self, kind: OutageKind, connections: Mapping[int, int], since: float | None) -> PendingRecovery:
        """Note who is hit, by what connection. Who still waits because of an earlier one goes on waiting for that."""
        silence = PendingRecovery(kind, since)
        for follower, connection in connections.items():
            self._waiting.setdefault(follower, (silence, connection))
        return silence

    def heard(self, follower: int, connection: int, now: float) -> None:
        """Note that a follower is delivered a message."""
        waiting = self._waiting.get(follower)
        if waiting is None:
            return
        silence, old_connection = waiting
        if silence.since is None or (connection == old_connection and not silence.may_hear_on_old):
            return
        del self._waiting[follower]
        self._waits.setdefault(silence.kind, array("d")).append(now - silence.since)

    def lines(self) -> list[RecoveryTimes]:
        """Return what there was, kind by kind."""
        return [self._line(kind) for kind in OutageKind if kind in self._times]

    def _line(self, kind: OutageKind) -> RecoveryTimes:
        waits = self._waits.get(kind)
        if not waits:
            return RecoveryTimes(kind, self._times[kind], 0, None, None)
        return RecoveryTimes(kind, self._times[kind], len(waits), round(median(waits), 3), round(max(waits), 3))

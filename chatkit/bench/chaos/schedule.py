"""What is done to servers and stores, and when: a schedule from a seed. Knows no process and no clock."""

import random
from collections.abc import Iterator
from enum import StrEnum

import msgspec

from chatkit.bench.chaos.plan import ChaosPlan

AWAY_S = (0.0, 2.0)  # between a server's death and its next start
PAUSE_S = (1.0, 8.0)  # shorter and longer than what it takes clients to notice
STORE_AWAY_S = (0.2, 4.0)
STORE_PAUSE_S = (1.0, 8.0)  # around the time-outs of a store's clients
QUIET_S = (0.3, 2.0)  # after everyone hears again


class OutageKind(StrEnum):
    """One way to break things."""

    SERVER_KILLED = "server killed"
    SERVER_PAUSED = "server paused"
    ROLLING_RESTART = "rolling restart"
    ALL_KILLED = "all servers killed"
    STORE_KILLED = "store killed"
    STORE_PAUSED = "store paused"
    EVERYTHING_KILLED = "everything killed"

    @property
    def leaves_connections(self) -> bool:
        """Whether clients' connections may still carry something when it is over."""
        return self in {OutageKind.SERVER_PAUSED, OutageKind.STORE_KILLED, OutageKind.STORE_PAUSED}


class Outage(msgspec.Struct, frozen=True):
    """One of them: to which server, for how long, and how long it is quiet after it."""

    kind: OutageKind
    server: int
    for_s: float
    quiet_s: float


def outages(plan: ChaosPlan) -> Iterator[Outage]:
    """Yield without end: every kind once, in any order, then every kind again. The same seed yields the same."""
    dice = random.Random(plan.seed)  # noqa: S311 - a schedule, to be had again by its seed
    kinds = [OutageKind.SERVER_KILLED, OutageKind.SERVER_PAUSED, OutageKind.ROLLING_RESTART, OutageKind.ALL_KILLED]
    if plan.kill_store:
        kinds += [OutageKind.STORE_KILLED, OutageKind.STORE_PAUSED, OutageKind.EVERYTHING_KILLED]
    while True:
        for kind in dice.sample(kinds, len(kinds)):
            yield Outage(kind, dice.randrange(plan.servers), dice.uniform(*_length(kind)), dice.uniform(*QUIET_S))


def _length(kind: OutageKind) -> tuple[float, float]:
    match kind:
        case OutageKind.SERVER_PAUSED:
            return PAUSE_S
        case OutageKind.STORE_KILLED:
            return STORE_AWAY_S
        case OutageKind.STORE_PAUSED:
            return STORE_PAUSE_S
        case OutageKind.ROLLING_RESTART:
            return 0.0, 0.0
        case _:
            return AWAY_S

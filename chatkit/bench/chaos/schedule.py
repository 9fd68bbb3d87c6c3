"""The schedule of outages, computed from a seed. Knows neither processes nor clocks."""

import random
from collections.abc import Iterator
from enum import StrEnum

import msgspec

from chatkit.bench.chaos.plan import ChaosPlan

AWAY_S = (0.0, 2.0)  # between the kill and the next start of a server
PAUSE_S = (1.0, 8.0)  # shorter and longer than clients need to notice
STORE_AWAY_S = (0.2, 4.0)
STORE_PAUSE_S = (1.0, 8.0)  # around the timeouts of the stores' clients
QUIET_S = (0.3, 2.0)  # between outages, after all followers have recovered


class OutageKind(StrEnum):
    """A kind of outage."""

    SERVER_KILLED = "server killed"
    SERVER_PAUSED = "server paused"
    ROLLING_RESTART = "rolling restart"
    ALL_KILLED = "all servers killed"
    STORE_KILLED = "store killed"
    STORE_PAUSED = "store paused"
    EVERYTHING_KILLED = "everything killed"

    @property
    def leaves_connections(self) -> bool:
        """Whether the clients' connections survive the outage."""
        return self in {OutageKind.SERVER_PAUSED, OutageKind.STORE_KILLED, OutageKind.STORE_PAUSED}


class Outage(msgspec.Struct, frozen=True):
    """One outage: its kind, the server, its duration, and the quiet time before it."""

    kind: OutageKind
    server: int
    for_s: float
    quiet_s: float


def schedule_outages(plan: ChaosPlan) -> Iterator[Outage]:
    """Yield outages without end: every kind once in random order, and so on. The same seed yields the same outages."""
    dice = random.Random(plan.seed)  # noqa: S311 - a schedule that the seed reproduces
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

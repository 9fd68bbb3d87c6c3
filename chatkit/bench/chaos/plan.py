"""ChaosPlan: the numbers of servers, publishers and followers, and the contents of each message. Does no I/O."""

import secrets
from typing import Any, Literal, TypeAlias

import msgspec

from chatkit.bench.load.plan import MAX_MESSAGES
from chatkit.errors import BadRequest

StoreName: TypeAlias = Literal["sqlite", "redis", "redis-cluster", "postgresql"]

MAX_SERVERS = 16  # each is a Python process on this machine
MAX_FOLLOWERS = 200  # a server lists at most this many members of a room, and all of them are checked
MAX_PUBLISHERS = 100
MAX_ROOMS = 100
MAX_RECEIVERS = 20
MAX_WORKERS = 32  # each is a Python process on this machine
MAX_RATE = 5_000.0  # messages per second; beyond this, this process would be the bottleneck
MAX_DURATION_S = 86_400.0

DEFAULT_RECEIVERS = 3
DEFAULT_ROOMS = 3
DEFAULT_SUBS = 12  # over all rooms: with three servers, each has followers of every room

# Sizes of bodies in bytes: most are small, and one in 64 is longer than PostgreSQL's NOTIFY allows.
SIZES = (20, 60, 300, 1_200)
LONG_SIZE = 9_000
LONG_EVERY = 64


def any_seed() -> int:
    """Return a random seed that is short enough to type."""
    return secrets.randbelow(1_000_000)


class ChaosPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a run. Messages are numbered from 0 over all publishers; `run` makes rooms and keys unique.

    `backend` is the user's store; without it, a store of type `store` is started for the run.
    `workers` share a consumer of the first room, and one more has an ordered consumer; with 0, there are no consumers.
    `receivers` of webhooks are sent the messages of the first room.
    """

    servers: int = 3
    store: StoreName = "sqlite"
    backend: str | None = None
    duration_s: float = 60.0
    rooms: int = DEFAULT_ROOMS
    subs: int = DEFAULT_SUBS
    pubs: int = 4
    workers: int = 4
    receivers: int = DEFAULT_RECEIVERS
    rate: float = 200.0
    kill_store: bool = False
    seed: int = msgspec.field(default_factory=any_seed)
    run: str = msgspec.field(default_factory=lambda: secrets.token_hex(4))

    def __post_init__(self) -> None:
        """Raise `BadRequest` for values out of range and combinations that cannot work."""
        for name, least, most in (
            ("servers", 1, MAX_SERVERS),
            ("rooms", 1, MAX_ROOMS),
            ("subs", 1, MAX_FOLLOWERS),
            ("pubs", 1, MAX_PUBLISHERS),
            ("workers", 0, MAX_WORKERS),
            ("receivers", 0, MAX_RECEIVERS),
            ("rate", 1.0, MAX_RATE),
        ):
            if not least <= getattr(self, name) <= most:
                raise BadRequest(f"with --chaos, --{name} is {least:g} to {most:g}")
        if not 1 <= self.duration_s <= MAX_DURATION_S or self.duration_s * self.rate > MAX_MESSAGES:
            raise BadRequest(f"--duration is 1s to 1d, and for at most {MAX_MESSAGES:,} messages at --rate")
        if self.backend is not None and self.backend.startswith("memory:"):
            raise BadRequest("memory:// cannot be shared by servers: chaos needs a store that they share")
        if self.kill_store and self.backend is not None:
            raise BadRequest("--kill-store kills a store that it has started: it cannot go with --backend")
        if self.kill_store and self.store == "sqlite":
            raise BadRequest("--kill-store needs a store that is a process: --store redis, redis-cluster or postgresql")

    @property
    def max_connections(self) -> int:
        """The connection limit of a server: all clients, and their closed connections that it has not noticed yet."""
        return 64 + 8 * (self.subs + self.pubs + self.workers)

    @property
    def room_names(self) -> list[str]:
        """The names of the rooms."""
        return [f"chaos-{self.run}-{index}" for index in range(self.rooms)]

    def room_of(self, number: int) -> str:
        """Return the room of a message. Each publisher rotates through the rooms."""
        return f"chaos-{self.run}-{number // self.pubs % self.rooms}"

    def publisher_of(self, number: int) -> int:
        """Return the publisher of a message. The numbers of a publisher ascend in every room."""
        return number % self.pubs

    def key(self, number: int) -> str:
        """Return the idempotency key of a message, the same for every attempt."""
        return f"{self.run}-{number}"

    def number(self, key: str | None) -> int | None:
        """Return the number in a key, or None for a key of another run."""
        run, _, number = (key or "").rpartition("-")
        return int(number) if run == self.run and number.isdigit() else None

    def body(self, number: int) -> str:
        """Return the body of a message. Lengths vary, and characters have one to four bytes in UTF-8."""
        size = LONG_SIZE if number % LONG_EVERY == LONG_EVERY - 1 else SIZES[number % len(SIZES)]
        return f"{number} {'aé€😀 ' * (size // 11)}"

    def data(self, number: int) -> Any:
        """Return the data of a message: one in three has data."""
        return {"n": number, "of": self.run} if number % 3 == 0 else None

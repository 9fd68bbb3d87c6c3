"""ChaosPlan: how many servers, publishers and followers there are, and which message is whose. Opens nothing."""

import secrets
from typing import Any, Literal, TypeAlias

import msgspec

from chatkit.bench.load.plan import MAX_MESSAGES
from chatkit.errors import BadRequest

StoreName: TypeAlias = Literal["sqlite", "redis", "redis-cluster", "postgresql"]

MAX_SERVERS = 16  # each is a Python process on this machine
MAX_FOLLOWERS = 200  # a server lists no more members of a room, and each of them is looked for
MAX_PUBLISHERS = 100
MAX_ROOMS = 100
MAX_RATE = 5_000.0  # messages a second: beyond it, this process itself would be what is late
MAX_DURATION_S = 86_400.0

DEFAULT_ROOMS = 3
DEFAULT_SUBS = 12  # of all rooms: with three servers, each has some of each room's

# Bytes of bodies: most are small, and one in 64 is longer than what PostgreSQL's NOTIFY carries.
SIZES = (20, 60, 300, 1_200)
LONG_SIZE = 9_000
LONG_EVERY = 64


def any_seed() -> int:
    """Return a seed that is short enough to be typed again."""
    return secrets.randbelow(1_000_000)


class ChaosPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Messages are numbered from 0 over all publishers; `run` names this run, so that its rooms and keys are its own.

    `backend` is a store of the user's, in place of one of `store` that is started for the run.
    """

    servers: int = 3
    store: StoreName = "sqlite"
    backend: str | None = None
    duration_s: float = 60.0
    rooms: int = DEFAULT_ROOMS
    subs: int = DEFAULT_SUBS
    pubs: int = 4
    rate: float = 200.0
    kill_store: bool = False
    seed: int = msgspec.field(default_factory=any_seed)
    run: str = msgspec.field(default_factory=lambda: secrets.token_hex(4))

    def __post_init__(self) -> None:
        """Raise `BadRequest` for what one machine does not do, or must not."""
        for name, least, most in (
            ("servers", 1, MAX_SERVERS),
            ("rooms", 1, MAX_ROOMS),
            ("subs", 1, MAX_FOLLOWERS),
            ("pubs", 1, MAX_PUBLISHERS),
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
        """How many connections a server must bear: everyone's, and those of everyone that it has not seen end yet."""
        return 64 + 8 * (self.subs + self.pubs)

    @property
    def room_names(self) -> list[str]:
        """Name the rooms."""
        return [f"chaos-{self.run}-{index}" for index in range(self.rooms)]

    def room_of(self, number: int) -> str:
        """Return the message's room: each publisher goes from room to room."""
        return f"chaos-{self.run}-{number // self.pubs % self.rooms}"

    def publisher_of(self, number: int) -> int:
        """Return whose message it is; a publisher's own ascend in every room."""
        return number % self.pubs

    def key(self, number: int) -> str:
        """Name one publish, for all its attempts."""
        return f"{self.run}-{number}"

    def number(self, key: str | None) -> int | None:
        """Undo `key`; None for a key that is not of this run."""
        run, _, number = (key or "").rpartition("-")
        return int(number) if run == self.run and number.isdigit() else None

    def body(self, number: int) -> str:
        """Return a message's body: of many lengths, in letters of one to four bytes."""
        size = LONG_SIZE if number % LONG_EVERY == LONG_EVERY - 1 else SIZES[number % len(SIZES)]
        return f"{number} {'aé€😀 ' * (size // 11)}"

    def data(self, number: int) -> Any:
        """Return a message's data: one in three has some."""
        return {"n": number, "of": self.run} if number % 3 == 0 else None

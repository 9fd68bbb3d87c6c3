"""Plan: how large a load is, and which message belongs to which sender and room. Opens nothing."""

import secrets

import msgspec

from chatkit.errors import BadRequest

MAX_SUBS = 20_000  # of one process: below the ports that one address has for connections to one server
MAX_PUBS = 2_000
MAX_ROOMS = 20_000
MAX_MESSAGES = 10_000_000  # what was acknowledged and what is stored is held in memory until it is compared
MIN_SIZE = 24  # a body begins with the time at which it was sent
MAX_SIZE = 65_536
MAX_WINDOW = 512  # beyond it a server of ours reads a sender no further
SPARE_DESCRIPTORS = 64  # for the process itself, and for calls over HTTP

CUTS_A_READER = 5  # by which a run that resumes is cut up, on average
MAX_CUTS = 5_000


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Messages are numbered from 0 over all senders; `run` names this load, so that its rooms and keys are its own."""

    subs: int = 200
    pubs: int = 4
    rooms: int = 1
    messages: int = 20_000
    size: int = 100
    window: int = 64
    resume: bool = False
    run: str = msgspec.field(default_factory=lambda: secrets.token_hex(4))

    def __post_init__(self) -> None:
        """Raise `BadRequest` for a load that one process does not make."""
        for name, least, most in (
            ("subs", 0, MAX_SUBS),
            ("pubs", 1, MAX_PUBS),
            ("rooms", 1, MAX_ROOMS),
            ("messages", 1, MAX_MESSAGES),
            ("size", MIN_SIZE, MAX_SIZE),
            ("window", 1, MAX_WINDOW),
        ):
            if not least <= getattr(self, name) <= most:
                raise BadRequest(f"--{name} is {least} to {most}")
        if self.resume and not self.subs:
            raise BadRequest("--resume cuts readers off: give it at least one by --subs")

    @property
    def descriptors(self) -> int:
        """How many file descriptors a process needs that holds one end of each connection."""
        return self.subs + self.pubs + SPARE_DESCRIPTORS

    @property
    def deliveries(self) -> int:
        """How many messages are delivered to readers, all in all."""
        return sum(self.messages_in(reader % self.rooms) for reader in range(self.subs))

    @property
    def cut_every(self) -> int:
        """After how many acknowledged messages a reader is cut off, each time."""
        return max(1, self.messages // (min(MAX_CUTS, self.subs * CUTS_A_READER) + 1))

    def room(self, index: int) -> str:
        """Name a room."""
        return f"bench-{self.run}-{index}"

    def messages_in(self, room: int) -> int:
        """Return how many messages the room gets; message N goes to room N modulo the number of rooms."""
        return len(range(room, self.messages, self.rooms))

    def numbers_of(self, sender: int) -> range:
        """Return the messages that a sender publishes, in order; message N is of sender N modulo their number."""
        return range(sender, self.messages, self.pubs)

    def key(self, number: int) -> str:
        """Name one publish, for all its attempts."""
        return f"{self.run}-{number}"

    def number(self, key: str | None) -> int | None:
        """Undo `key`; None for a key that is not of this load."""
        run, _, number = (key or "").rpartition("-")
        return int(number) if run == self.run and number.isdigit() else None

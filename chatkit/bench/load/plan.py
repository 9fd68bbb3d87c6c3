"""LoadPlan: the size of a load, and which message belongs to which sender and room. Does no I/O."""

import secrets

import msgspec

from chatkit.errors import BadRequest

MAX_SUBS = 20_000  # below the number of ports for connections from one address to one server
MAX_PUBS = 2_000
MAX_ROOMS = 20_000
MAX_MESSAGES = 10_000_000  # acknowledgements and the log are held in memory until they are compared
MIN_SIZE = 24  # a body starts with the time at which it was sent
MAX_SIZE = 65_536
MAX_WINDOW = 512  # beyond this, chatkit's server stops reading a sender
SPARE_DESCRIPTORS = 64  # for the process itself and for HTTP calls

CUTS_A_READER = 5  # average number of disconnects of a reader with --resume
MAX_CUTS = 5_000


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a load. Messages are numbered from 0 over all senders; `run` makes rooms and keys unique."""

    subs: int = 200
    pubs: int = 4
    rooms: int = 1
    messages: int = 20_000
    size: int = 100
    window: int = 64
    resume: bool = False
    run: str = msgspec.field(default_factory=lambda: secrets.token_hex(4))

    def __post_init__(self) -> None:
        """Raise `BadRequest` for values out of range."""
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
            raise BadRequest("--resume disconnects readers: it needs at least one (--subs)")

    @property
    def descriptors(self) -> int:
        """The number of file descriptors that a process needs for one end of each connection."""
        return self.subs + self.pubs + SPARE_DESCRIPTORS

    @property
    def deliveries(self) -> int:
        """The total number of messages delivered to readers."""
        return sum(self.messages_in(reader % self.rooms) for reader in range(self.subs))

    @property
    def cut_every(self) -> int:
        """The number of acknowledged messages between two disconnects of readers."""
        return max(1, self.messages // (min(MAX_CUTS, self.subs * CUTS_A_READER) + 1))

    def room(self, index: int) -> str:
        """Return the name of a room."""
        return f"bench-{self.run}-{index}"

    def messages_in(self, room: int) -> int:
        """Return the number of messages of a room. Message N goes to room N modulo the number of rooms."""
        return len(range(room, self.messages, self.rooms))

    def numbers_of(self, sender: int) -> range:
        """Return the messages of a sender, in order. Message N belongs to sender N modulo the number of senders."""
        return range(sender, self.messages, self.pubs)

    def key(self, number: int) -> str:
        """Return the idempotency key of a message, the same for every attempt."""
        return f"{self.run}-{number}"

    def number(self, key: str | None) -> int | None:
        """Return the number in a key, or None for a key of another run."""
        run, _, number = (key or "").rpartition("-")
        return int(number) if run == self.run and number.isdigit() else None

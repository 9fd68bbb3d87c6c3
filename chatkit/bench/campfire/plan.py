"""CampfirePlan: the sizes of the loads, after basecamp/once-campfire-verification. Does no I/O."""

import secrets
from typing import Final

import msgspec

from chatkit.bench.load.plan import MAX_SIZE, MAX_SUBS, SPARE_DESCRIPTORS
from chatkit.errors import BadRequest

POST_CLIENTS: Final = 16  # clients that only post
ROOM_POSTERS: Final = (4, 64)  # clients that post to the room with readers: one load each
RESTART_POSTERS: Final = 4  # clients that post while the server restarts
DEFAULT_SUBS: Final = 1_000
MIN_SIZE: Final = 40  # a body starts with the time at which it was sent and the number of its client and message
MIN_SECONDS: Final = 0.1
MAX_SECONDS: Final = 60.0  # all acknowledgements are held in memory until they are audited
MAX_WARM_UP_S: Final = 1.0
WARM_UP_SHARE: Final = 0.25


class CampfirePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of the loads. Each load is measured for `seconds`, after a warm-up; `run` makes rooms unique."""

    subs: int = DEFAULT_SUBS
    seconds: float = 4.0
    size: int = 100
    run: str = msgspec.field(default_factory=lambda: secrets.token_hex(4))

    def __post_init__(self) -> None:
        """Raise `BadRequest` for values out of range."""
        for name, least, most in (
            ("subs", 1, MAX_SUBS),
            ("seconds", MIN_SECONDS, MAX_SECONDS),
            ("size", MIN_SIZE, MAX_SIZE),
        ):
            if not least <= getattr(self, name) <= most:
                raise BadRequest(f"--{name} is {least:g} to {most:g}")

    @property
    def pubs(self) -> int:
        """The largest number of clients that post at the same time."""
        return max(POST_CLIENTS, *ROOM_POSTERS)

    @property
    def descriptors(self) -> int:
        """The number of file descriptors that a process needs for one end of each connection."""
        return self.subs + self.pubs + SPARE_DESCRIPTORS

    @property
    def warm_up_s(self) -> float:
        """For how long clients post before the measurement. These posts are audited, too."""
        return min(MAX_WARM_UP_S, WARM_UP_SHARE * self.seconds)

    def room(self, load: str) -> str:
        """Return the name of a load's room."""
        return f"bench-{self.run}-{load}"

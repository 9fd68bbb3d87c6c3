"""What a follow yields beside messages and gaps, to those who ask for it. Values only."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from chatkit.core.model import Gap, Member, Message


class Joined(msgspec.Struct, frozen=True):
    """The room is delivered from here on. Comes again when it was joined anew, as its members may have changed by then.

    `members` lists at most 200; `count` is the whole. `epoch` is the life of the room's log.
    """

    room: str
    epoch: str
    first: int
    last: int
    members: Sequence[Member]
    count: int


class Presence(msgspec.Struct, frozen=True):
    """Who came and went since the last one. In a large room both are empty, and `count` is all there is."""

    room: str
    joined: Sequence[str]
    left: Sequence[str]
    count: int


class Typing(msgspec.Struct, frozen=True):
    """Somebody is writing."""

    room: str
    sender: str


class Redacted(msgspec.Struct, frozen=True):
    """A message's body was taken away."""

    room: str
    seq: int


class ConnectionLost(msgspec.Struct, frozen=True):
    """The connection is lost and is being made again, or the server's store is away; `reason` is a sentence."""

    reason: str


class ConnectionRestored(msgspec.Struct, frozen=True):
    """The connection stands again, or the store is back; what was missed follows."""


Signal: TypeAlias = Joined | Presence | Typing | Redacted | ConnectionLost | ConnectionRestored
Item: TypeAlias = Message | Gap
LinkWatcher: TypeAlias = Callable[[ConnectionLost | ConnectionRestored], None]

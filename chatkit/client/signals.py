"""The signals that a follow yields beside messages and gaps, where a reader asks for them. Values only."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from chatkit.core.model import Gap, Member, Message
from chatkit.core.signals import RoomChanged, Typing


class Joined(msgspec.Struct, frozen=True):
    """The room is joined, and its messages follow. Yielded again after a reconnection: its members may have changed.

    Attributes:
        room: The room's name.
        epoch: The epoch of the room's log: another one means that the log was created again.
        first: The `seq` of the oldest message that is stored.
        last: The `seq` of the newest message.
        members: At most 200 members.
        count: The number of all members.
        rights: What the client may do in the room: `read`, `write`, `moderate`, `admin`. None if the server is open to
            everybody who can connect to it.
        topic: The room's topic, or an empty string.
        archived: Whether the room can be read, but not written.
    """

    room: str
    epoch: str
    first: int
    last: int
    members: Sequence[Member]
    count: int
    rights: Sequence[str] | None = None
    topic: str = ""
    archived: bool = False


class Presence(msgspec.Struct, frozen=True):
    """The members that joined and left since the last such signal.

    `count` is the number of all members. In a room with more than 200, `joined` and `left` are empty.
    """

    room: str
    joined: Sequence[str]
    left: Sequence[str]
    count: int


class Redacted(msgspec.Struct, frozen=True):
    """A message was redacted: its body and data were removed."""

    room: str
    seq: int


class ConnectionLost(msgspec.Struct, frozen=True):
    """The connection is lost, and the client reconnects; or the server's store is unavailable.

    `reason` is a sentence.
    """

    reason: str


class ConnectionRestored(msgspec.Struct, frozen=True):
    """The connection or the store is available again; the messages that were missed follow."""


Signal: TypeAlias = Joined | RoomChanged | Presence | Typing | Redacted | ConnectionLost | ConnectionRestored
Item: TypeAlias = Message | Gap
ConnectionWatcher: TypeAlias = Callable[[ConnectionLost | ConnectionRestored], None]

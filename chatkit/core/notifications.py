"""What a store notifies a process of: new messages, redactions, its own state, and changes in who is present."""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from chatkit.core.model import Member, Message
from chatkit.core.signals import Typing


class RoomAdvanced(msgspec.Struct, frozen=True):
    """Notification: the room's log reached `last`.

    `messages` are the newest of the log, without holes, if they arrived with the notification. `epoch` is that of the
    log, if it is known and no message carries it.
    """

    room: str
    last: int
    messages: Sequence[Message] = ()
    epoch: str = ""


class MessageRedacted(msgspec.Struct, frozen=True):
    """Notification: the body of a message was removed."""

    room: str
    seq: int


class Disconnected(msgspec.Struct, frozen=True):
    """Notification: the connection for notifications was lost and is being restored; `reason` is a sentence."""

    reason: str


class Reconnected(msgspec.Struct, frozen=True):
    """Notification: the connection works again. Before it, a `RoomAdvanced` came for each watched room that grew."""


Notification: TypeAlias = RoomAdvanced | MessageRedacted | Typing | Disconnected | Reconnected


class PresenceChange(msgspec.Struct, frozen=True):
    """The changes in the members of one other process.

    `joined` are the members that joined, or whose time of joining changed. `left` are the rooms and names of those that
    left, even if they were never returned as joined. No name of a room is in both. If `whole`, `joined` is the complete
    list of members: for a process that was not known before, and, empty, for a process that expired.
    """

    process: str
    joined: Sequence[tuple[str, Member]] = ()
    left: Sequence[tuple[str, str]] = ()
    whole: bool = False

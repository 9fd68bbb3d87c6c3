"""Messages as JSON, on the WebSocket and over HTTP. Server and client share this module."""

from typing import Any

import msgspec

from chatkit.core.message_state import Act, Edit, MessageState, Reaction
from chatkit.core.model import Message, format_time, parse_time
from chatkit.core.reading import RoomUnread

encode = msgspec.json.Encoder().encode
"""Encode a command or an event as compact JSON."""


class WireEdit(msgspec.Struct, frozen=True):
    """The newest edit of a message as JSON. `time` is RFC 3339."""

    seq: int
    time: str


class WireReaction(msgspec.Struct, frozen=True):
    """The reactions of one emoji as JSON: how many, and at most 20 of the senders."""

    count: int
    by: tuple[str, ...]


class WireEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message as JSON, as it was written. `time` is RFC 3339."""

    room: str
    seq: int
    time: str
    sender: str
    body: str
    data: Any = None
    key: str | None = None
    redacted: bool = False
    verified: bool = False
    bot: bool = False
    of: int | None = None
    act: Act | None = None
    mentions: tuple[str, ...] = ()

    def to_message(self, epoch: str) -> Message:
        """Return the message, with the epoch of the log from which the receiver got it."""
        return Message(
            self.room,
            epoch,
            self.seq,
            parse_time(self.time),
            self.sender,
            self.body,
            self.data,
            self.key,
            self.redacted,
            self.verified,
            self.bot,
            self.of,
            self.act,
            self.mentions,
            self._to_state(),
        )

    def _to_state(self) -> MessageState | None:
        """Return the state that is sent with the message, if there is one."""
        return None


class WireMessage(WireEntry, frozen=True):
    """A message as JSON. `time` is RFC 3339.

    The fields from `edited` on are its current state, on messages of a page that is not `raw`.
    """

    edited: WireEdit | None = None
    reactions: dict[str, WireReaction] | None = None
    replies: int = 0
    pinned: bool = False

    @classmethod
    def of_message(cls, message: Message) -> "WireMessage":
        """Make the JSON form of a message."""
        parts = (
            message.room,
            message.seq,
            message.time,
            message.sender,
            message.body,
            message.data,
            message.key,
            message.redacted,
            message.verified,
            message.bot,
            message.of,
            message.act,
            message.mentions,
        )
        return cls(*parts) if message.state is None else cls(*parts, *_state_parts(message.state))

    def _to_state(self) -> MessageState | None:
        if not (self.edited or self.reactions or self.replies or self.pinned):
            return None
        edited = None if self.edited is None else Edit(self.edited.seq, parse_time(self.edited.time))
        reactions = (self.reactions or {}).items()
        return MessageState(
            edited, tuple(Reaction(emoji, each.count, each.by) for emoji, each in reactions), self.replies, self.pinned
        )


def _state_parts(state: MessageState) -> tuple[WireEdit | None, dict[str, WireReaction] | None, int, bool]:
    edited = None if state.edited is None else WireEdit(state.edited.seq, format_time(state.edited.time_ms))
    reactions = {reaction.emoji: WireReaction(reaction.count, reaction.by) for reaction in state.reactions}
    return edited, reactions or None, state.n_replies, state.is_pinned


class WireUnread(msgspec.Struct, frozen=True):
    """What a name has not read in a room as JSON; see `RoomUnread`. Counting stops at 1,000."""

    room: str
    marker: int
    last: int
    unread: int
    mentions: int

    @classmethod
    def of(cls, unread: RoomUnread) -> "WireUnread":
        """Make the JSON form."""
        return cls(unread.room, unread.marker, unread.last, unread.n_unread, unread.n_mentions)


def message_json(message: Message) -> bytes:
    """Encode a message as its JSON object."""
    return encode(WireMessage.of_message(message))

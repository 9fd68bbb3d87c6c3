"""The events of `chatkit.v1`, from server to client, each one JSON object. Server and client share this module."""

from collections.abc import Iterable
from typing import Final, TypeAlias, get_args

import msgspec

from chatkit.core.json_decoder import JsonDecoder
from chatkit.core.model import Gap, GapReason, Member, Message, Receipt, format_time
from chatkit.errors import BadRequest, ChatkitError
from chatkit.wire.codes import Details, details_of, error_of, text_of
from chatkit.wire.commands import Ref
from chatkit.wire.decoding import field_of, sentence_of
from chatkit.wire.messages import WireEntry, WireMessage, WireUnread, encode

MAX_LISTED_MEMBERS: Final = 200  # of a room: a longer list would cost too much for every reader, so the count must do


class WireMember(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member as JSON. `since` is RFC 3339."""

    name: str
    since: str
    verified: bool = False
    bot: bool = False


class WireGap(msgspec.Struct, frozen=True):
    """A gap as JSON."""

    after: int
    before: int
    reason: GapReason

    @classmethod
    def of(cls, gap: Gap) -> "WireGap":
        """Make the JSON form of a gap."""
        return cls(gap.after, gap.before, gap.reason)


class WireLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """The limits for a client, so that it can respect them.

    `body` and `data` are bytes of one message, `history` messages in one page, `rooms` rooms of one connection. `rate`
    is messages a second, `burst` messages at once, and `rate_bytes` bytes a second.
    """

    body: int
    history: int
    data: int = 0
    rooms: int = 0
    rate: float = 0
    burst: float = 0
    rate_bytes: float = 0


class ServerEvent(msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True):
    """An event from the server."""


class WelcomeEvent(ServerEvent, frozen=True, tag="welcome"):
    """The first event: the client's name, whether it is bound to a token, whether that is a bot's, and the limits."""

    name: str
    server: str
    limits: WireLimits
    verified: bool = False
    bot: bool = False


class JoinedEvent(ServerEvent, frozen=True, tag="joined"):
    """The room is delivered after `cursor`, whose number is `seq`. Its log has the messages `first` to `last`.

    `rights` are the client's in the room; None if the server is open to everybody who can connect to it.
    """

    room: str
    cursor: str
    seq: int
    first: int
    last: int
    members: list[WireMember]
    count: int
    ref: Ref | None = None
    rights: list[str] | None = None
    topic: str = ""
    archived: bool = False


class LeftEvent(ServerEvent, frozen=True, tag="left"):
    """The room is no longer delivered. If the server did that, `reason` is an error's code, `message` its sentence.

    `renamed_to` is the new name of the room if the reason is `room-renamed`. The client's cursor is valid there.
    """

    room: str
    ref: Ref | None = None
    reason: str | None = None
    message: str | None = None
    renamed_to: str | None = None

    def cause(self) -> ChatkitError | None:
        """Return why the server took the client out of the room; None if the client asked for it."""
        if self.reason is None:
            return None
        return error_of(self.reason, self.message or self.reason, Details(value=self.renamed_to))


class RoomEvent(ServerEvent, frozen=True, tag="room"):
    """The settings of a joined room changed, or the client's rights in it, which `rights` has as `joined` does."""

    room: str
    topic: str
    archived: bool
    rights: list[str] | None = None


class MessageEvent(WireEntry, ServerEvent, frozen=True, tag_field="type", tag="message"):
    """A committed message."""


class GapEvent(ServerEvent, frozen=True, tag="gap"):
    """The messages between `after` and `before`, both exclusive, are not available."""

    room: str
    after: int
    before: int
    reason: GapReason


class AckEvent(ServerEvent, frozen=True, tag="ack"):
    """The message is committed. If `repeat`, a message with its key had been committed before."""

    room: str
    seq: int
    cursor: str
    repeat: bool
    ref: Ref
    time: str


class HistoryEvent(ServerEvent, frozen=True, tag="history"):
    """A page of history. If `complete`, no more messages follow in its direction. `gap` is missing before the page.

    `last` is the number of the room's newest message. Unless the page was asked for as `raw`, the messages are in the
    state after it: a change that is delivered with a higher number is to be applied to them. `reached` is set if a
    search has ended early: it continues from this number, with `before` or `after`.
    """

    room: str
    messages: list[WireMessage]
    complete: bool
    ref: Ref | None = None
    gap: WireGap | None = None
    last: int = 0
    reached: int | None = None


class MembersEvent(ServerEvent, frozen=True, tag="members"):
    """The members of the room: at most 200 names, and the number of all."""

    room: str
    members: list[WireMember]
    count: int
    ref: Ref | None = None


class PresenceEvent(ServerEvent, frozen=True, tag="presence", kw_only=True):
    """The members that joined and left since the last such event; in a large room only the number of members.

    `verified` and `bots` are the names among `joined` that are verified, and those that are bots'.
    """

    room: str
    joined: list[str] | None = None
    left: list[str] | None = None
    count: int
    verified: list[str] | None = None
    bots: list[str] | None = None


class MarkedEvent(ServerEvent, frozen=True, tag="marked"):
    """The client's name has read the room up to the message `seq`: by this connection, if there is a `ref`."""

    room: str
    seq: int
    ref: Ref | None = None


class UnreadEvent(ServerEvent, frozen=True, tag="unread"):
    """What the client's name has not read: each room that it has marked, or that mentions it."""

    rooms: list[WireUnread]
    ref: Ref | None = None


class TypingEvent(ServerEvent, frozen=True, tag="typing"):
    """The sender is typing."""

    room: str
    sender: str


class RedactedEvent(ServerEvent, frozen=True, tag="redacted"):
    """A message's body and data were removed."""

    room: str
    seq: int


class ErrorEvent(ServerEvent, frozen=True, tag="error"):
    """A command was refused, or the store is unavailable. `message` is a sentence; see `codes.Details` for the rest."""

    code: str
    message: str
    ref: Ref | None = None
    retry_after_s: float | None = None
    limit: int | None = None
    value: str | None = None

    def to_error(self) -> ChatkitError:
        """Return the error that the event describes."""
        return error_of(self.code, self.message, Details(self.retry_after_s, self.limit, self.value))


class RestoredEvent(ServerEvent, frozen=True, tag="restored"):
    """The store is available again, after an `error` without a `ref` reported the opposite. Missed messages follow."""


class PongEvent(ServerEvent, frozen=True, tag="pong"):
    """The answer to a `ping`."""

    ref: Ref | None = None


AnyEvent: TypeAlias = (
    WelcomeEvent
    | JoinedEvent
    | LeftEvent
    | RoomEvent
    | MessageEvent
    | GapEvent
    | AckEvent
    | HistoryEvent
    | MembersEvent
    | MarkedEvent
    | UnreadEvent
    | PresenceEvent
    | TypingEvent
    | RedactedEvent
    | ErrorEvent
    | RestoredEvent
    | PongEvent
)

_EVENTS: JsonDecoder[AnyEvent] = JsonDecoder(AnyEvent)
_EVENT_TYPES = {kind.__struct_config__.tag for kind in get_args(AnyEvent)}


def decode_event(frame: bytes | str) -> AnyEvent | None:
    """Decode a server's frame. Return None for an unknown type. Raise `BadRequest` if the frame is not an event."""
    try:
        return _EVENTS.decode(frame)
    except msgspec.ValidationError as error:
        kind = field_of(frame, "type")
        if isinstance(kind, str) and kind not in _EVENT_TYPES:
            return None
        raise BadRequest(sentence_of(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"an event is one JSON object: {error}") from error


def message_event(message: Message) -> bytes:
    """Encode a message as a `message` event."""
    # Every delivered message passes here: a constructor that is shared with `WireMessage` takes 5 to 15 % longer.
    return encode(
        MessageEvent(
            message.room,
            message.seq,
            format_time(message.time_ms),
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
    )


def ack_event(receipt: Receipt, ref: Ref) -> bytes:
    """Encode the acknowledgement of a message."""
    message = receipt.message
    cursor = f"{message.epoch}:{message.seq}"
    return encode(AckEvent(message.room, message.seq, cursor, receipt.repeat, ref, format_time(message.time_ms)))


def gap_event(room: str, gap: Gap) -> bytes:
    """Encode a gap as a `gap` event."""
    return encode(GapEvent(room, gap.after, gap.before, gap.reason))


def error_event(error: ChatkitError, ref: Ref | None = None) -> ErrorEvent:
    """Make the event that describes an error."""
    return ErrorEvent(error.code, text_of(error), ref, *details_of(error))


def wire_members(members: Iterable[Member]) -> list[WireMember]:
    """Make the JSON forms of members."""
    return [WireMember(member.name, member.since, member.verified, member.bot) for member in members]


def encode_members(members: Iterable[Member]) -> bytes:
    """Encode members as the JSON array that events hold."""
    return encode(wire_members(members))

"""The commands and events of `chatkit.v1`, and the forms a message is sent in: encode and decode, nothing else.

Commands go from client to server, events from server to client, each one JSON object. Server and client share this
module.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias, TypeVar, get_args

import msgspec

from chatkit.core.model import Cursor, Gap, GapReason, Member, Message, parse_time
from chatkit.errors import BadRequest, ChatkitError, UnknownOp
from chatkit.wire.codes import Details, details_of, error_of

SUBPROTOCOL = "chatkit.v1"
MAX_POSITION = 10**18 - 1  # beyond every log, and within the 64 bits of any store
MAX_LISTED_MEMBERS = 200  # beyond it an arrival would cost every reader a list: the count has to do

Ref: TypeAlias = int | str
Position: TypeAlias = int | str
"""A `seq`, or a cursor."""


def _op(class_name: str) -> str:
    return class_name.removesuffix("Command").lower()


class Command(msgspec.Struct, frozen=True, tag_field="op", tag=_op, omit_defaults=True, kw_only=True):
    """What a client asks for. `room` may be left out where the path names it; `ref` comes back with the answer."""

    room: str | None = None
    ref: Ref | None = None


class JoinCommand(Command, frozen=True):
    """Deliver the room from the cursor `after` on, or from `history` messages before its end."""

    after: str | None = None
    history: int | None = None


class LeaveCommand(Command, frozen=True):
    """Deliver the room no more."""


class PublishCommand(Command, frozen=True):
    """Commit a message.

    `behind` is the `ref` of the message that this one was sent after; any other value where there is none. If that one
    was refused for now, this one is, too: so a client that has many messages on their way can send again in order.
    """

    body: str | None = None
    data: Any = None
    key: str | None = None
    behind: Ref | None = None


class HistoryCommand(Command, frozen=True):
    """Send a page of the room's past."""

    before: Position | None = None
    after: Position | None = None
    limit: int | None = None
    search: str | None = None


class MembersCommand(Command, frozen=True):
    """Say who is in the room."""


class TypingCommand(Command, frozen=True):
    """Show the others that this one is writing."""


class PingCommand(Command, frozen=True):
    """Ask for a `pong`: a page of a browser cannot send WebSocket pings, and must notice a dead link."""


class WireMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message as the outside sees it. `time` is RFC 3339."""

    room: str
    seq: int
    time: str
    sender: str
    body: str
    data: Any = None
    key: str | None = None
    redacted: bool = False

    @classmethod
    def of(cls, message: Message) -> "WireMessage":
        """Dress a message for the outside."""
        return cls(
            message.room,
            message.seq,
            message.time,
            message.sender,
            message.body,
            message.data,
            message.key,
            message.redacted,
        )

    def to_message(self, epoch: str) -> Message:
        """Undo `of`, in the log's life that the receiver knows it to be from."""
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
        )


class WireMember(msgspec.Struct, frozen=True):
    """A member as the outside sees them. `since` is RFC 3339."""

    name: str
    since: str


class WireGap(msgspec.Struct, frozen=True):
    """A gap as the outside sees it."""

    after: int
    before: int
    reason: GapReason

    @classmethod
    def of(cls, gap: Gap) -> "WireGap":
        """Dress a gap for the outside."""
        return cls(gap.after, gap.before, gap.reason)


class WireLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """How much may be sent: sizes in bytes, `rate` messages a second, `burst` at once, `rate_bytes` bytes a second."""

    body: int
    history: int
    data: int = 0
    rooms: int = 0
    rate: float = 0
    burst: float = 0
    rate_bytes: float = 0


class ServerEvent(msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True):
    """What a server says."""


class WelcomeEvent(ServerEvent, frozen=True, tag="welcome"):
    """The first frame: who the client is taken for, and how much it may send."""

    name: str
    server: str
    limits: WireLimits


class JoinedEvent(ServerEvent, frozen=True, tag="joined"):
    """The room is delivered from `cursor` on, that is behind `seq`; its log holds `first` to `last`."""

    room: str
    cursor: str
    seq: int
    first: int
    last: int
    members: list[WireMember]
    count: int
    ref: Ref | None = None


class LeftEvent(ServerEvent, frozen=True, tag="left"):
    """The room is delivered no more."""

    room: str
    ref: Ref | None = None


class MessageEvent(ServerEvent, frozen=True, tag="message"):
    """A committed message."""

    room: str
    seq: int
    time: str
    sender: str
    body: str
    data: Any = None
    key: str | None = None
    redacted: bool = False


class GapEvent(ServerEvent, frozen=True, tag="gap"):
    """The messages between are not to be had."""

    room: str
    after: int
    before: int
    reason: GapReason


class AckEvent(ServerEvent, frozen=True, tag="ack"):
    """The message is committed; `repeat` says that its key had been before."""

    room: str
    seq: int
    cursor: str
    repeat: bool
    ref: Ref
    time: str


class HistoryEvent(ServerEvent, frozen=True, tag="history"):
    """A page of the past; `complete` says that nothing more lies in its direction, `gap` what is missing before it."""

    room: str
    messages: list[WireMessage]
    complete: bool
    ref: Ref | None = None
    gap: WireGap | None = None


class MembersEvent(ServerEvent, frozen=True, tag="members"):
    """Who is in the room: at most 200 by name, all by count."""

    room: str
    members: list[WireMember]
    count: int
    ref: Ref | None = None


class PresenceEvent(ServerEvent, frozen=True, tag="presence", kw_only=True):
    """Who came and went since the last of these; in a large room the count alone."""

    room: str
    joined: list[str] | None = None
    left: list[str] | None = None
    count: int


class TypingEvent(ServerEvent, frozen=True, tag="typing"):
    """Somebody is writing."""

    room: str
    sender: str


class RedactedEvent(ServerEvent, frozen=True, tag="redacted"):
    """A message's body was taken away."""

    room: str
    seq: int


class ErrorEvent(ServerEvent, frozen=True, tag="error"):
    """A command was refused. `message` is a sentence; the values after `ref` are those of `codes.Details`."""

    code: str
    message: str
    ref: Ref | None = None
    retry_after_s: float | None = None
    limit: int | None = None
    value: str | None = None

    def to_error(self) -> ChatkitError:
        """Make the error again that was described."""
        return error_of(self.code, self.message, Details(self.retry_after_s, self.limit, self.value))


class RestoredEvent(ServerEvent, frozen=True, tag="restored"):
    """The store is back, after an `error` without a `ref` said that it is away. What was missed follows."""


class PongEvent(ServerEvent, frozen=True, tag="pong"):
    """The answer to `ping`."""

    ref: Ref | None = None


AnyCommand: TypeAlias = (
    JoinCommand | LeaveCommand | PublishCommand | HistoryCommand | MembersCommand | TypingCommand | PingCommand
)
AnyEvent: TypeAlias = (
    WelcomeEvent
    | JoinedEvent
    | LeftEvent
    | MessageEvent
    | GapEvent
    | AckEvent
    | HistoryEvent
    | MembersEvent
    | PresenceEvent
    | TypingEvent
    | RedactedEvent
    | ErrorEvent
    | RestoredEvent
    | PongEvent
)

_COMMANDS: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_EVENTS: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_ENCODER = msgspec.json.Encoder()
_OPS = {kind.__struct_config__.tag for kind in get_args(AnyCommand)}
_EVENT_TYPES = {kind.__struct_config__.tag for kind in get_args(AnyEvent)}

EventT = TypeVar("EventT", bound=ServerEvent)
encode = _ENCODER.encode
"""Write a command or an event as compact JSON."""


def decode_command(frame: bytes | str) -> AnyCommand:
    """Read a client's frame; raise `UnknownOp`, or `BadRequest` with a sentence that says what is wrong with it."""
    try:
        return _COMMANDS.decode(frame)
    except msgspec.ValidationError as error:
        op = _op_of(frame)
        if isinstance(op, str) and op not in _OPS:
            raise UnknownOp(op) from error
        raise BadRequest(_sentence(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"a command is one JSON object: {error}") from error


def decode_event(frame: bytes | str) -> AnyEvent | None:
    """Read a server's frame; None for a type that is not known here. Raise `BadRequest` for what is no event."""
    try:
        return _EVENTS.decode(frame)
    except msgspec.ValidationError as error:
        kind = _field(frame, "type")
        if isinstance(kind, str) and kind not in _EVENT_TYPES:
            return None
        raise BadRequest(_sentence(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"an event is one JSON object: {error}") from error


def ref_of(frame: bytes | str) -> Ref | None:
    """Find the `ref` of a frame that could not be read as a command, so that its error can be told apart."""
    ref = _field(frame, "ref")
    return ref if isinstance(ref, int | str) and not isinstance(ref, bool) else None


def _op_of(frame: bytes | str) -> Any:
    return _field(frame, "op")


def _field(frame: bytes | str, name: str) -> Any:
    try:
        value = msgspec.json.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value.get(name) if isinstance(value, dict) else None


def _sentence(error: msgspec.ValidationError) -> str:
    # msgspec says "Expected `str`, got `int` - at `$.body`": the path's `$.` means nothing to who reads it.
    return str(error).replace("$.", "").replace("`$`", "the frame")


def message_event(message: Message) -> bytes:
    """Encode a message as a `message` event."""
    return encode(
        MessageEvent(
            message.room,
            message.seq,
            message.time,
            message.sender,
            message.body,
            message.data,
            message.key,
            message.redacted,
        )
    )


def message_json(message: Message) -> bytes:
    """Encode a message as its JSON object."""
    return encode(WireMessage.of(message))


def gap_event(room: str, gap: Gap) -> bytes:
    """Encode a gap as a `gap` event."""
    return encode(GapEvent(room, gap.after, gap.before, gap.reason))


def error_event(error: ChatkitError, ref: Ref | None = None) -> ErrorEvent:
    """Describe an error to the other end."""
    return ErrorEvent(error.code, str(error), ref, *details_of(error))


def wire_members(members: Iterable[Member]) -> list[WireMember]:
    """Dress members for the outside."""
    return [WireMember(member.name, member.since) for member in members]


def position(at: Position | None) -> Cursor | int | None:
    """Read a `seq`, in digits or as a number, or a cursor. Raise `BadCursor`."""
    if at is None:
        return None
    if isinstance(at, int):
        return min(max(at, 0), MAX_POSITION)
    return int(at[:18]) if at.isascii() and at.isdigit() else Cursor.parse(at)

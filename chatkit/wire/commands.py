"""The commands of `chatkit.v1`, from client to server, each one JSON object. Server and client share this module."""

from typing import Any, Final, TypeAlias, get_args

import msgspec

from chatkit.core.json_decoder import SHORT, JsonDecoder
from chatkit.core.message_state import Act
from chatkit.core.model import Cursor
from chatkit.errors import BadRequest, UnknownOp
from chatkit.wire.decoding import check_values, field_of, sentence_of

MAX_POSITION: Final = 10**18 - 1  # above every `seq`, and within the 64 bits of any store

Ref: TypeAlias = int | str
"""A client's name for a command. The answer to the command carries it."""

Position: TypeAlias = int | str
"""A `seq`, or a cursor as text."""


def _op(class_name: str) -> str:
    return class_name.removesuffix("Command").lower()


class Command(msgspec.Struct, frozen=True, tag_field="op", tag=_op, omit_defaults=True, kw_only=True):
    """A request of a client.

    `room` may be omitted if the connection's path names it. `ref` is returned with the answer.
    """

    room: str | None = None
    ref: Ref | None = None


class JoinCommand(Command, frozen=True):
    """Start to deliver the room after the cursor `after`, or from `history` messages before its end."""

    after: str | None = None
    history: int | None = None


class LeaveCommand(Command, frozen=True):
    """Stop delivering the room."""


class PublishCommand(Command, frozen=True):
    """Commit a message. With `of`, it is a reply to that message, or, with an `act` too, a change of it.

    `behind` is the `ref` of the message that this one was sent after, or any other value for the first. If that one
    was refused temporarily, so is this one. Then a client with many messages in flight can send them again in order.
    """

    body: str | None = None
    data: Any = None
    key: str | None = None
    behind: Ref | None = None
    of: int | None = None
    act: Act | None = None


class HistoryCommand(Command, frozen=True):
    """Send a page of the room's history: messages in their current state, or, if `raw`, the log as it was written.

    `of` chooses the replies to a message, or, if `raw`, everything that refers to it.
    """

    before: Position | None = None
    after: Position | None = None
    limit: int | None = None
    search: str | None = None
    of: int | None = None
    raw: bool = False


class MembersCommand(Command, frozen=True):
    """Send the members of the room."""


class TypingCommand(Command, frozen=True):
    """Notify the other readers of the room that this client is typing."""


class MarkCommand(Command, frozen=True):
    """Note that the client's name has read the room up to the message `seq`."""

    seq: int


class UnreadCommand(Command, frozen=True):
    """Send what the client's name has not read, in all rooms. From then on, `marked` reports moved markers."""


class PingCommand(Command, frozen=True):
    """Ask for a `pong`. A browser cannot send WebSocket pings, but must detect a dead connection."""


class _AnyFrame(msgspec.Struct):
    """A frame of which only `ref` is decoded: the other values may be those that cannot be."""

    ref: Ref | None = None


AnyCommand: TypeAlias = (
    JoinCommand
    | LeaveCommand
    | PublishCommand
    | HistoryCommand
    | MembersCommand
    | TypingCommand
    | MarkCommand
    | UnreadCommand
    | PingCommand
)

_LONG: JsonDecoder[AnyCommand] = JsonDecoder(AnyCommand)
_SHORT: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)  # no calls of Python's functions
_REF: msgspec.json.Decoder[_AnyFrame] = msgspec.json.Decoder(_AnyFrame)
_OPS = {kind.__struct_config__.tag for kind in get_args(AnyCommand)}


def decode_command(frame: bytes | str) -> AnyCommand:
    """Decode a client's frame. Raise `UnknownOp`, or `BadRequest` with a sentence that describes the mistake."""
    try:
        if len(frame) <= SHORT:  # most are
            return _SHORT.decode(frame)
        check_values(frame)
        return _LONG.decode(frame)
    except msgspec.ValidationError as error:
        op = field_of(frame, "op")
        if isinstance(op, str) and op not in _OPS:
            raise UnknownOp(op) from error
        raise BadRequest(sentence_of(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"a command is one JSON object: {error}") from error


def ref_of(frame: bytes | str) -> Ref | None:
    """Return the `ref` of a frame that could not be decoded, so that the client can assign the error to it."""
    try:
        return _REF.decode(frame).ref
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def position(at: Position | None) -> Cursor | int | None:
    """Parse a `seq`, as a number or in digits, or a cursor. Raise `BadCursor`."""
    if at is None:
        return None
    if isinstance(at, int):
        return min(max(at, 0), MAX_POSITION)
    return int(at[:18]) if at.isascii() and at.isdigit() else Cursor.parse(at)

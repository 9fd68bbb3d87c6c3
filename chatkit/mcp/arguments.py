"""The arguments of the tools, with their limits and what each means, in words for a model."""

from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from chatkit.core.emoji import EMOJI_RULE
from chatkit.core.model import KEY_RULE, MAX_KEY_CHARS
from chatkit.core.text import MAX_SEARCH_CHARS
from chatkit.errors import BadRequest
from chatkit.wire.decoding import sentence_of

MAX_MESSAGES = 100  # in one result: more than a model should read at once
DEFAULT_MESSAGES = 20
MAX_WAIT_S = 30.0  # proxies and clients give up after about a minute without an answer

RoomArgument: TypeAlias = Annotated[str, Meta(description="The name of the room, such as ops.")]
SeqArgument: TypeAlias = Annotated[int, Meta(ge=1, description="The number of the message in its room (seq).")]
LimitArgument: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_MESSAGES, description="The most messages to return.")]
KeyArgument: TypeAlias = Annotated[
    Annotated[str, Meta(min_length=1, max_length=MAX_KEY_CHARS)] | None,
    Meta(
        description=f"Choose a new key for each message: {KEY_RULE}. If you repeat a call because you did not get its"
        " result, use the same key and text: the message is then stored once."
    ),
]
TextArgument: TypeAlias = Annotated[
    str,
    Meta(min_length=1, description="The text. Write @NAME to mention somebody, who is then notified."),
]


class ToolArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The arguments of a tool."""


class NoArguments(ToolArguments, frozen=True):
    """No arguments."""


class ListRoomsArguments(ToolArguments, frozen=True):
    """Which rooms to list."""

    contains: Annotated[str, Meta(description="List only rooms whose name or topic contains this text.")] = ""
    limit: Annotated[int, Meta(ge=1, le=500, description="The most rooms to return.")] = 100


class ReadArguments(ToolArguments, frozen=True):
    """Which messages of a room to read."""

    room: RoomArgument
    after: Annotated[
        str | int | None,
        Meta(description="Read the messages after this cursor, of an earlier result, or after this number."),
    ] = None
    before: Annotated[
        str | int | None,
        Meta(description="Read the messages before this number or cursor, to go back. Do not use it with after."),
    ] = None
    limit: LimitArgument = DEFAULT_MESSAGES


class WaitArguments(ToolArguments, frozen=True):
    """What to wait for."""

    room: RoomArgument
    after: Annotated[
        str | int | None,
        Meta(
            description="Wait for messages after this cursor, of an earlier result, or after this number. Without it,"
            " wait for messages that are written from now on, and miss what was written before."
        ),
    ] = None
    mentions_only: Annotated[
        bool, Meta(description="Wait for a message that mentions you, and return only that message.")
    ] = False
    timeout_s: Annotated[float, Meta(ge=0, le=MAX_WAIT_S, description="How long to wait, in seconds.")] = 20.0
    limit: LimitArgument = DEFAULT_MESSAGES


class SearchArguments(ToolArguments, frozen=True):
    """What to search for."""

    text: Annotated[
        str,
        Meta(min_length=1, max_length=MAX_SEARCH_CHARS, description="The text that messages contain; case is ignored."),
    ]
    room: Annotated[str | None, Meta(description="Search only this room. Without it, search all rooms.")] = None
    before: Annotated[
        str | int | None,
        Meta(description="The cursor of an earlier search for the same text and room, to get the older messages."),
    ] = None
    limit: LimitArgument = DEFAULT_MESSAGES


class PostArguments(ToolArguments, frozen=True):
    """A message."""

    room: RoomArgument
    text: TextArgument
    key: KeyArgument = None
    data: Annotated[Any, Meta(description="A JSON value for programs, beside the text; usually leave it out.")] = None


class ReplyArguments(ToolArguments, frozen=True):
    """A reply."""

    room: RoomArgument
    seq: SeqArgument
    text: TextArgument
    key: KeyArgument = None


class ReactArguments(ToolArguments, frozen=True):
    """A reaction."""

    room: RoomArgument
    seq: SeqArgument
    emoji: Annotated[str, Meta(description=f"{EMOJI_RULE[0].upper()}{EMOJI_RULE[1:]}.")]
    remove: Annotated[bool, Meta(description="Remove this reaction of yours instead.")] = False


class MarkReadArguments(ToolArguments, frozen=True):
    """Up to where a room was read."""

    room: RoomArgument
    seq: SeqArgument


class MentionsArguments(ToolArguments, frozen=True):
    """Which mentions to list."""

    before: Annotated[str | None, Meta(description="The cursor of an earlier result, to get older mentions.")] = None
    limit: LimitArgument = DEFAULT_MESSAGES


def read_arguments(given: dict[str, Any], kind: type[ToolArguments]) -> ToolArguments:
    """Return the arguments of a call; numbers may be written as texts. Raise `BadRequest`."""
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(sentence_of(error, "the arguments")) from error

"""The results of the tools: values that are sent as structured content. Their messages are those of the HTTP API."""

from collections.abc import Sequence

import msgspec

from chatkit.core.model import Message
from chatkit.core.page_size import size_of
from chatkit.wire.http import RoomView
from chatkit.wire.protocol import WireGap, WireMessage, WireUnread

MAX_RESULT_BYTES = 1 << 16  # of the bodies and data of one result: more would fill the context of a model


class ToolResult(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The result of a tool."""


class RoomsResult(ToolResult, frozen=True):
    """Rooms, sorted by name. `n_more` is the number of rooms that match and were left out."""

    rooms: list[RoomView]
    n_more: int = 0


class MessagesResult(ToolResult, frozen=True):
    """Messages of a room in order. To read on, use `cursor` as `after`.

    If `complete`, there are no more messages in the direction of the read. `gap` means that the messages between two
    numbers cannot be read, because they are not stored any more.
    """

    room: str
    messages: list[WireMessage]
    cursor: str
    complete: bool
    gap: WireGap | None = None


class FoundResult(ToolResult, frozen=True):
    """Messages, the newest first. To get the older ones, use `cursor` as `before`; without one, there are no more."""

    messages: list[WireMessage]
    cursor: str | None = None


class PostedResult(ToolResult, frozen=True):
    """A message that is stored. If `repeat`, it was stored before, and nothing was added.

    To read what was written after it, use `cursor` as `after`.
    """

    room: str
    seq: int
    cursor: str
    repeat: bool


class MarkedResult(ToolResult, frozen=True):
    """The number up to which you have read a room."""

    room: str
    seq: int


class UnreadResult(ToolResult, frozen=True):
    """What you have not read, in each room that you have marked or that mentions you. Counting stops at 1,000."""

    rooms: list[WireUnread]


def in_wire_form(messages: Sequence[Message]) -> list[WireMessage]:
    """Return messages as they are sent."""
    return [WireMessage.of_message(message) for message in messages]


def cut_messages(messages: Sequence[Message], *, keeps_last: bool = False) -> Sequence[Message]:
    """Return the first messages, or the last ones, that fit in a result; at least one."""
    in_order = messages[::-1] if keeps_last else messages
    n_bytes = n_kept = 0
    for message in in_order:
        n_bytes += size_of(message)
        if n_kept and n_bytes > MAX_RESULT_BYTES:
            break
        n_kept += 1
    if n_kept == len(messages):
        return messages
    return messages[-n_kept:] if keeps_last else messages[:n_kept]

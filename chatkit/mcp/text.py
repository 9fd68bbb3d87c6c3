"""The results of the tools as short text, for models whose client does not show them structured content.

A body is written as a JSON string: however it is written, it cannot look like another message or like a remark of the
server.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from chatkit.wire.http import RoomView
from chatkit.wire.protocol import WireGap, WireMessage, WireUnread

MAX_DATA_CHARS: Final = 500  # of the data of a message, which is for programs; the structured content has all of it

_REASONS: Final = {
    "trimmed": "they were deleted by the room's retention",
    "epoch": "the room began again, with new numbers",
    "no-history": "this server stores no messages",
}


def message_lines(messages: Iterable[WireMessage], *, with_room: bool = False) -> list[str]:
    """Return a line for each message."""
    return [_message_line(message, with_room=with_room) for message in messages]


def _message_line(message: WireMessage, *, with_room: bool) -> str:
    place = f"{message.room} #{message.seq}" if with_room else f"#{message.seq}"
    reply = "" if message.of is None else f", reply to #{message.of}"
    body = "(redacted)" if message.redacted else _json(message.body)
    return f"{place} {message.time} {message.sender}{_marks(message)}{reply}: {body}{_notes(message)}"


def _marks(message: WireMessage) -> str:
    words = ["verified" if message.verified else "unverified", *(["bot"] if message.bot else [])]
    return f" ({' '.join(words)})"


def _notes(message: WireMessage) -> str:
    notes = [f"{emoji} {reaction.count}" for emoji, reaction in (message.reactions or {}).items()]
    notes += ["edited"] if message.edited else []
    notes += ["pinned"] if message.pinned else []
    notes += [f"{message.replies} {'reply' if message.replies == 1 else 'replies'}"] if message.replies else []
    notes += [f"data {_cut(_json(message.data))}"] if message.data is not None else []
    return f" [{', '.join(notes)}]" if notes else ""


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _cut(text: str) -> str:
    return text if len(text) <= MAX_DATA_CHARS else f"{text[:MAX_DATA_CHARS]}…"


def gap_line(gap: WireGap) -> str:
    """Return a sentence about messages that are missing."""
    if gap.reason == "epoch":
        return f"Gap: your cursor is of an earlier log of this room; {_REASONS['epoch']}. Some messages may be missing."
    return (
        f"Gap: the messages after #{gap.after} and before #{gap.before} cannot be read, because {_REASONS[gap.reason]}."
    )


def room_lines(rooms: Sequence[RoomView]) -> list[str]:
    """Return a line for each room."""
    return [_room_line(room) for room in rooms]


def _room_line(room: RoomView) -> str:
    notes = [f"last message #{room.last}" + (f" at {room.time}" if room.time else ""), f"{room.members} present"]
    notes += ["archived"] if room.archived else []
    notes += [f"topic {_json(room.topic)}"] if room.topic else []
    return f"{room.room}: {', '.join(notes)}"


def unread_lines(rooms: Sequence[WireUnread]) -> list[str]:
    """Return a line for each room with unread messages."""
    return [
        f"{room.room}: {room.unread} unread, {room.mentions} mention you; read up to #{room.marker} of #{room.last}"
        for room in rooms
        if room.unread or room.mentions
    ]

"""The format of `chatkit export`, version 1: JSON objects, one a line. No I/O.

    {"type":"export","version":1}
    {"type":"room","room":"ops","first":1,"last":2,"topic":"on call"}
    {"room":"ops","seq":1,"time":"2026-11-20T11:47:21.123Z","sender":"ann","body":"hi"}
    {"room":"ops","seq":2,"time":"2026-11-20T11:47:24.010Z","sender":"bob","body":"hello","data":{"n":1},"key":"k1"}
    {"type":"end","rooms":1,"messages":2}

A line without `type` is a message, in the same form as everywhere in the protocol; so the output of `chatkit history
--raw --json` is an export, too. The messages of a room are in ascending order of `seq`, without holes, and as they were
written: changes are lines of their own. The line of a room comes before its messages, and has the room's settings. A
file without `end` is not complete.
"""

from typing import Final, TypeAlias

import msgspec

from chatkit.cli.formats import wire_json
from chatkit.core.json_decoder import decode_json
from chatkit.core.mentions import MAX_MENTIONS
from chatkit.core.model import (
    MAX_SEQ,
    MAX_TIME_MS,
    Message,
    check_body,
    check_data,
    check_key,
    check_room,
    check_sender,
    parse_time,
)
from chatkit.core.page_size import MAX_PAGE_BYTES
from chatkit.errors import BadBody, BadRequest
from chatkit.wire.protocol import WireMessage

VERSION: Final = 1
MAX_TEXT_BYTES: Final = MAX_PAGE_BYTES  # of a body and of data: a page of history holds either


class ExportHeader(msgspec.Struct, frozen=True, tag="export"):
    """The first line: the version of the format."""

    version: int = VERSION


class ExportedRoom(msgspec.Struct, frozen=True, omit_defaults=True, tag="room"):
    """The line before the messages of a room: which messages follow, and the room's settings."""

    room: str
    first: int
    last: int
    topic: str = ""
    keep: int | None = None
    keep_for_s: int | None = None
    archived: bool = False


class ExportEnd(msgspec.Struct, frozen=True, tag="end"):
    """The last line: how many rooms and messages the file holds."""

    rooms: int
    messages: int


Line: TypeAlias = ExportHeader | ExportedRoom | ExportEnd | Message

_FIELDS: Final = frozenset(WireMessage.__struct_fields__)


def format_line(line: ExportHeader | ExportedRoom | ExportEnd) -> str:
    """Return a line that is not a message, without a line feed."""
    return wire_json(line)


def parse_line(text: bytes) -> tuple[Line, set[str]]:
    """Parse a line; also return the fields of a message that this version does not know.

    The message has no epoch. Raise `BadInput` for anything else than a line of an export.
    """
    try:
        fields = decode_json(text)
        if not isinstance(fields, dict):
            raise BadRequest("the line is not a JSON object")
        if "type" in fields:
            return _check(msgspec.convert(fields, ExportHeader | ExportedRoom | ExportEnd)), set()
        wire = msgspec.convert(fields, WireMessage)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the line is not one of an export: {error}") from error
    return check_message(wire), fields.keys() - _FIELDS


def _check(line: ExportHeader | ExportedRoom | ExportEnd) -> ExportHeader | ExportedRoom | ExportEnd:
    if isinstance(line, ExportHeader) and line.version != VERSION:
        raise BadRequest(f"the file has version {line.version}, but this chatkit reads {VERSION}: upgrade chatkit")
    if isinstance(line, ExportedRoom):
        return msgspec.structs.replace(line, room=check_room(line.room))
    return line


def check_message(wire: WireMessage) -> Message:
    """Return the message, without an epoch. Raise `BadInput` for values that no store holds."""
    if wire.edited or wire.reactions or wire.replies or wire.pinned:
        raise BadRequest(
            "the file has the current state of messages, not the log: use 'chatkit export', or 'chatkit history --raw'"
        )
    try:
        time_ms = parse_time(wire.time)
    except (ValueError, OverflowError) as error:
        raise BadBody(f"not an RFC 3339 time: {wire.time[:40]!r}") from error
    if not 0 <= time_ms < MAX_TIME_MS:
        raise BadBody(f"the time {wire.time[:40]} is out of range")
    return Message(
        check_room(wire.room),
        "",
        wire.seq,
        time_ms,
        check_sender(wire.sender),
        "" if wire.redacted else check_body(wire.body, MAX_TEXT_BYTES),
        None if wire.redacted or wire.data is None else check_data(wire.data, MAX_TEXT_BYTES),
        None if wire.key is None else check_key(wire.key),
        wire.redacted,
        wire.verified,
        wire.bot,
        None if wire.of is None else _check_of(wire.of),
        wire.act,
        tuple(map(check_sender, wire.mentions[:MAX_MENTIONS])),
    )


def _check_of(of: int) -> int:
    if not 1 <= of <= MAX_SEQ:
        raise BadBody("`of` is the number of an earlier message")
    return of

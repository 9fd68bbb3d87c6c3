"""Checks on everything that a server sends, before the client uses it.

A value that cannot be right raises `Unavailable`; one that only has to be bounded is clamped. Reads no socket.
"""

import math
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from chatkit.core.json_decoder import JsonDecoder
from chatkit.core.message_state import MAX_LISTED_NAMES
from chatkit.core.model import MAX_TIME_MS, Cursor, Gap, Member, Message, check_data, parse_time
from chatkit.core.reading import RoomUnread
from chatkit.errors import BadRequest, ChatkitError, Unavailable
from chatkit.wire.http import MessageList, MessagePage, RoomList, RoomView
from chatkit.wire.protocol import (
    MAX_LISTED_MEMBERS,
    MAX_POSITION,
    AckEvent,
    AnyEvent,
    ErrorEvent,
    GapEvent,
    JoinedEvent,
    LeftEvent,
    MessageEvent,
    Position,
    PresenceEvent,
    RedactedEvent,
    RoomEvent,
    TypingEvent,
    WelcomeEvent,
    WireEntry,
    WireGap,
    WireLimits,
    WireMember,
    WireMessage,
    WireUnread,
    decode_event,
)

MAX_FRAME_BYTES: Final = 16 * 2**20  # an event with the largest body and data, all of it escaped, is 1 MiB
MAX_NAME_CHARS: Final = 256  # four times the longest name that this version has
MAX_SENTENCE_CHARS: Final = 1_000  # of an error's text: it is printed
MAX_RIGHTS: Final = 16  # of a client in a room: four times as many as this version knows
MAX_MENTIONS: Final = 128  # of a message: four times as many as this version computes
MAX_REACTIONS: Final = 4_096  # different emojis on one message
MAX_COUNT: Final = 2**53 - 1  # what every JSON parser reads exactly
MIN_RETRY_AFTER_S: Final = 0.1  # shorter waits are a loop that only costs round trips
MAX_RETRY_AFTER_S: Final = 300.0  # a person at a terminal gives up before
MIN_RATE: Final = 0.01  # messages a second: a server that allows less refuses, and sends how long to wait
MIN_RATE_BYTES: Final = 1_000.0
MAX_RATE: Final = 1e9
MIN_TIME_MS: Final = 0

ValueT = TypeVar("ValueT")


def incompatible(reason: object) -> Unavailable:
    """Return the error for an answer that no chatkit server of this version sends."""
    return Unavailable(f"the other end is no chatkit server of this version: {str(reason)[:MAX_SENTENCE_CHARS]}")


def decode(answer: bytes, kind: type[ValueT]) -> ValueT:
    """Parse the JSON body of an answer; raise `Unavailable`."""
    try:
        return JsonDecoder[ValueT](kind).decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise incompatible(error) from error


def read_event(frame: bytes) -> AnyEvent | None:
    """Parse and check an event; return None for a type that this version does not know. Raise `Unavailable`."""
    try:
        event = decode_event(frame)
    except BadRequest as error:
        raise incompatible(error) from error
    return None if event is None else _checked_event(event)


def _checked_event(event: AnyEvent) -> AnyEvent:  # noqa: C901, PLR0911, PLR0912 - a table of cases
    match event:
        case WelcomeEvent():
            check_name(event.name)
            return msgspec.structs.replace(event, limits=clamp_limits(event.limits))
        case MessageEvent():
            check_message(event)
        case GapEvent():
            read_gap(event)
        case JoinedEvent():
            check_log(event.first, event.last)
            read_cursor(event.cursor)
            members, count = event.members[:MAX_LISTED_MEMBERS], clamp_count(event.count)
            read_members(members)
            topic, rights = shorten(event.topic), _shorten_list(event.rights)
            return msgspec.structs.replace(event, members=members, count=count, topic=topic, rights=rights)
        case RoomEvent():
            return msgspec.structs.replace(event, topic=shorten(event.topic), rights=_shorten_list(event.rights))
        case LeftEvent(message=str() as message):
            return msgspec.structs.replace(event, message=shorten(message))
        case PresenceEvent():
            joined, left = (event.joined or [])[:MAX_LISTED_MEMBERS], (event.left or [])[:MAX_LISTED_MEMBERS]
            for name in (*joined, *left):
                check_name(name)
            return msgspec.structs.replace(event, joined=joined, left=left, count=clamp_count(event.count))
        case AckEvent():
            _check_seq(event.seq)
            read_cursor(event.cursor)
            read_time(event.time)
        case TypingEvent():
            check_name(event.sender)
        case RedactedEvent():
            _check_seq(event.seq)
        case ErrorEvent():
            return _bounded_error(event)
        case _:
            pass  # `left`, `restored` and `pong` have no values to check; the client asks for no `history`
    return event


def _shorten_list(rights: list[str] | None) -> list[str] | None:
    return None if rights is None else rights[:MAX_RIGHTS]


def clamp_limits(limits: WireLimits) -> WireLimits:
    """Return limits with which a client can go on: sizes are not negative, and no wait is endless."""
    return WireLimits(
        clamp_count(limits.body),
        clamp_count(limits.history),
        clamp_count(limits.data),
        clamp_count(limits.rooms),
        _clamp_rate(limits.rate, MIN_RATE),
        _clamp_rate(limits.burst, 0.0),
        _clamp_rate(limits.rate_bytes, MIN_RATE_BYTES),
    )


def clamp_count(count: int) -> int:
    """Return a count that is neither negative nor too large to calculate with."""
    return min(max(count, 0), MAX_COUNT)


def _clamp_rate(rate: float, least: float) -> float:
    if not rate > 0:  # NaN too; 0 means "without a limit"
        return 0.0
    return min(max(rate, least), MAX_RATE)


def clamp_retry_after(retry_after_s: float | None) -> float | None:
    """Return how long to wait before another attempt, in seconds, between 0.1 s and 5 minutes."""
    if retry_after_s is None or math.isnan(retry_after_s):
        return None
    return min(max(retry_after_s, MIN_RETRY_AFTER_S), MAX_RETRY_AFTER_S)


def shorten(text: str, max_chars: int = MAX_SENTENCE_CHARS) -> str:
    """Return a text of the other end, cut to what can be printed."""
    return text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"


def _bounded_error(event: ErrorEvent) -> ErrorEvent:
    return msgspec.structs.replace(
        event,
        code=shorten(event.code, MAX_NAME_CHARS),
        message=shorten(event.message),
        retry_after_s=clamp_retry_after(event.retry_after_s),
    )


def read_time(text: str) -> int:
    """Return an RFC 3339 time as Unix milliseconds; raise `Unavailable` for a text that is no time of 1970 to 9998."""
    try:
        time_ms = parse_time(text)
    except (ValueError, OverflowError) as error:
        raise incompatible(f"not a time: {text[:80]!r}") from error
    if not MIN_TIME_MS <= time_ms < MAX_TIME_MS:
        raise incompatible(f"not a time: {text[:80]!r}")
    return time_ms


def read_cursor(text: str) -> Cursor:
    """Return a cursor; raise `Unavailable`."""
    try:
        return Cursor.parse(text)
    except ChatkitError as error:
        raise incompatible(error) from error


def read_gap(gap: GapEvent | WireGap) -> Gap:
    """Return a gap; raise `Unavailable` for positions out of range. `after` may be of another epoch than `before`."""
    if not (0 <= gap.after <= MAX_POSITION and 1 <= gap.before <= MAX_POSITION + 1):
        raise incompatible(f"a gap from {_short(gap.after)} to {_short(gap.before)}")
    return Gap(gap.after, gap.before, gap.reason)


def read_members(members: Sequence[WireMember]) -> list[Member]:
    """Return at most 200 members; raise `Unavailable`."""
    listed = members[:MAX_LISTED_MEMBERS]
    for member in listed:
        check_name(member.name)
    return [Member(member.name, read_time(member.since), member.verified, member.bot) for member in listed]


def check_message(message: WireEntry) -> None:
    """Check a message's names, number, time and data; raise `Unavailable`."""
    _check_seq(message.seq)
    check_name(message.room)
    check_name(message.sender)
    check_name(message.key or "")
    read_time(message.time)
    for name in message.mentions[: MAX_MENTIONS + 1]:
        check_name(name)
    if len(message.mentions) > MAX_MENTIONS:
        raise incompatible(f"a message with {len(message.mentions)} mentions")
    if message.of is not None:
        _check_seq(message.of)
    if isinstance(message, WireMessage):
        _check_state(message)
    if message.data is not None:
        try:
            check_data(message.data, MAX_FRAME_BYTES)
        except ChatkitError as error:
            raise incompatible(error) from error


def _check_state(message: WireMessage) -> None:
    """Check the state of a message; raise `Unavailable`."""
    if message.edited is not None:
        _check_seq(message.edited.seq)
        read_time(message.edited.time)
    if not 0 <= message.replies <= MAX_COUNT:
        raise incompatible(f"a message with {_short(message.replies)} replies")
    reactions = message.reactions or {}
    if len(reactions) > MAX_REACTIONS:
        raise incompatible(f"a message with {len(reactions)} different reactions")
    for emoji, reaction in reactions.items():
        if len(reaction.by) > MAX_LISTED_NAMES or not len(reaction.by) <= reaction.count <= MAX_COUNT:
            raise incompatible("a reaction whose count and names do not agree")
        for name in (emoji, *reaction.by):
            check_name(name)


def read_messages(
    page: MessagePage, room: str, cursor: Cursor, *, after: Position | None, before: Position | None
) -> list[Message]:
    """Return the messages of a page; raise `Unavailable` unless they are of `room`, and in order between two positions.

    So each page of a room gets further, and reading a room page by page ends.
    """
    last, end = _seq_in(cursor, after, 0), _seq_in(cursor, before, MAX_POSITION + 1)
    for message in page.messages:
        check_message(message)
        if message.room != room or not last < message.seq < end:
            raise incompatible(f"a page with message {message.seq} of {message.room!r}, which was not asked for")
        last = message.seq
    return [message.to_message(cursor.epoch) for message in page.messages]


def read_rooms(page: RoomList, after: str | None) -> list[RoomView]:
    """Return a page of the list of rooms; raise `Unavailable` unless an incomplete one gets further than `after`."""
    rooms = [check_room_view(view) for view in page.rooms]
    if after is not None and rooms and rooms[-1].room <= after:
        raise incompatible("rooms that were listed before")
    return rooms


def read_reached(page: MessagePage, cursor: Cursor, *, after: Position | None, before: Position | None) -> int | None:
    """Return the number from which an unfinished search continues; raise `Unavailable` unless it got further."""
    if page.complete or page.reached is None:
        return None
    if not _seq_in(cursor, after, 0) < page.reached < _seq_in(cursor, before, MAX_POSITION + 1):
        raise incompatible(f"a search that continues from {page.reached}")
    return page.reached


class MessageListing(msgspec.Struct, frozen=True):
    """Messages of several rooms, the newest first. `cursor` is where the older ones start; None if no older ones exist.

    A search may end early, with few messages or none, and with a cursor from which it continues. The messages' `epoch`
    is empty: such a list says nothing of the logs.
    """

    messages: Sequence[Message]
    cursor: str | None


def read_listing(listing: MessageList) -> MessageListing:
    """Return a list of messages; raise `Unavailable`."""
    for message in listing.messages:
        check_message(message)
    if listing.cursor is not None and len(listing.cursor) > MAX_SENTENCE_CHARS:
        raise incompatible("a cursor that is too long")
    cursor = None if listing.complete else listing.cursor
    return MessageListing([message.to_message("") for message in listing.messages], cursor)


def read_unread(unread: WireUnread) -> RoomUnread:
    """Return what is unread in a room; raise `Unavailable`."""
    check_name(unread.room)
    counts = (unread.marker, unread.last, unread.unread, unread.mentions)
    return RoomUnread(unread.room, *map(clamp_count, counts))


def _seq_in(cursor: Cursor, position: Position | None, default: int) -> int:
    """Return the number of a position in the log of `cursor`; `default` where it is of another log, or None."""
    if isinstance(position, str) and ":" in position:
        at = Cursor.parse(position)
        return at.seq if at.epoch == cursor.epoch else default
    if isinstance(position, str):
        return int(position[:18]) if position.isascii() and position.isdigit() else default
    return default if position is None else max(position, 0)


def read_batch(messages: Sequence[WireMessage], room: str, cursor: str | None) -> list[Message]:
    """Return messages that a consumer has taken; raise `Unavailable` unless they are of `room` and in order.

    `cursor` is the position after them.
    """
    if not messages:
        return []
    at = read_cursor(cursor or "")
    last = 0
    for message in messages:
        check_message(message)
        if message.room != room or not last < message.seq <= at.seq:
            raise incompatible(f"a batch with message {message.seq} of {message.room!r}, which is not expected there")
        last = message.seq
    return [message.to_message(at.epoch) for message in messages]


def check_room_view(view: RoomView) -> RoomView:
    """Return the description of a room with its counts clamped; raise `Unavailable`."""
    check_name(view.room)
    check_log(view.first, view.last)
    read_cursor(view.cursor)
    if view.time is not None:
        read_time(view.time)
    return msgspec.structs.replace(
        view,
        members=clamp_count(view.members),
        topic=shorten(view.topic),
        keep=None if view.keep is None else clamp_count(view.keep),
        keep_for_s=None if view.keep_for_s is None else clamp_count(view.keep_for_s),
    )


def check_log(first: int, last: int) -> None:
    """Check the first and the last number of a log; raise `Unavailable`."""
    if not (0 <= last <= MAX_POSITION and 0 <= first <= last + 1):
        raise incompatible(f"a log from {_short(first)} to {_short(last)}")


def _check_seq(seq: int) -> None:
    if not 1 <= seq <= MAX_POSITION:
        raise incompatible(f"a message with the number {_short(seq)}")


def check_name(name: str) -> None:
    """Check that a name can be kept and printed; raise `Unavailable`."""
    if len(name) > MAX_NAME_CHARS:
        raise incompatible(f"a name of {len(name)} characters")


def _short(number: int) -> str:
    return str(number) if -MAX_COUNT <= number <= MAX_COUNT else "a number out of range"

"""The operations of the tools: each takes a `RoomAccess` and arguments, and returns a result and its text.

Knows no MCP. An operation raises the `ChatkitError` with which the server refuses it.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple

from chatkit.core.message_state import Act
from chatkit.core.model import Cursor, Gap, Message, Receipt
from chatkit.core.reading import MentionPosition
from chatkit.core.text import fold
from chatkit.errors import BadRequest
from chatkit.mcp.arguments import (
    MAX_MESSAGES,
    ListRoomsArguments,
    MarkReadArguments,
    MentionsArguments,
    NoArguments,
    PostArguments,
    ReactArguments,
    ReadArguments,
    ReplyArguments,
    SearchArguments,
    WaitArguments,
)
from chatkit.mcp.results import (
    FoundResult,
    MarkedResult,
    MessagesResult,
    PostedResult,
    RoomsResult,
    ToolResult,
    UnreadResult,
    cut_messages,
    in_wire_form,
)
from chatkit.mcp.room_access import RoomAccess, RoomListing, RoomPage
from chatkit.mcp.text import gap_line, message_lines, room_lines, unread_lines
from chatkit.wire.http import RoomView
from chatkit.wire.protocol import Position, WireGap, WireUnread, position


class ToolAnswer(NamedTuple):
    """The result of a tool, and the same as text."""

    result: ToolResult
    text: str


async def list_rooms(access: RoomAccess, arguments: ListRoomsArguments) -> ToolAnswer:
    """List the rooms that the identity may read."""
    rooms = await access.rooms()
    found = await asyncio.to_thread(_rooms_with, fold(arguments.contains), rooms)  # there may be many
    result = RoomsResult(rooms=found[: arguments.limit], n_more=max(0, len(found) - arguments.limit))
    lines = room_lines(result.rooms) or ["No room."]
    more = [f"{result.n_more} more rooms: use contains, or a larger limit."] if result.n_more else []
    return ToolAnswer(result, "\n".join(lines + more))


def _rooms_with(part: str, rooms: Sequence[RoomView]) -> list[RoomView]:
    """Return the rooms whose name or topic contains a folded text."""
    return [room for room in rooms if part in fold(room.room) or part in fold(room.topic)]


# Reading


async def read_messages(access: RoomAccess, arguments: ReadArguments) -> ToolAnswer:
    """Read a page of a room."""
    if arguments.after is not None and arguments.before is not None:
        raise BadRequest("give either after or before, not both")
    room = _room(arguments.room)
    page = await access.history(room, after=arguments.after, before=arguments.before, limit=arguments.limit)
    return _page_answer(room, page, is_forward=arguments.after is not None)


def _page_answer(room: str, page: RoomPage, *, is_forward: bool) -> ToolAnswer:
    if is_forward:
        return _some_answer(room, page, page.messages, len(page.messages))
    kept = cut_messages(page.messages, keeps_last=True)
    is_complete = page.complete and len(kept) == len(page.messages)
    return _messages_answer(_result_of(room, page, kept, page.cursor, is_complete=is_complete), is_forward=False)


def _some_answer(room: str, page: RoomPage, chosen: Sequence[Message], limit: int) -> ToolAnswer:
    """Return the first of some messages of a page. The cursor is after the page, if these are all of them."""
    kept = cut_messages(chosen[:limit])
    is_cut = len(kept) < len(chosen)
    cursor = kept[-1].cursor if is_cut else page.cursor
    result = _result_of(room, page, kept, cursor, is_complete=page.complete and not is_cut)
    return _messages_answer(result, is_forward=True)


def _result_of(
    room: str, page: RoomPage, messages: Sequence[Message], cursor: Cursor, *, is_complete: bool
) -> MessagesResult:
    return MessagesResult(
        room=room,
        messages=in_wire_form(messages),
        cursor=str(cursor),
        complete=is_complete,
        gap=None if page.gap is None else WireGap.of(page.gap),
    )


def _messages_answer(result: MessagesResult, *, is_forward: bool) -> ToolAnswer:
    lines = [] if result.gap is None else [gap_line(result.gap)]
    lines += message_lines(result.messages) or ["No messages."]
    if not result.complete and result.messages:
        older = f"There are older messages: to read them, use before={result.messages[0].seq}."
        lines.append("There are more messages." if is_forward else older)
    lines.append(f"To read on in {result.room}, use after={result.cursor}")
    return ToolAnswer(result, "\n".join(lines))


async def wait_for_messages(access: RoomAccess, arguments: WaitArguments) -> ToolAnswer:
    """Wait until somebody else writes to a room, or mentions the identity, for a limited time."""
    room = _room(arguments.room)
    at = await _start(access, room, arguments.after)
    is_wanted = _filter_of(await access.own_name(), mentions_only=arguments.mentions_only)
    now_s = asyncio.get_running_loop().time
    deadline_s = now_s() + arguments.timeout_s
    while True:
        limit = MAX_MESSAGES if arguments.mentions_only else arguments.limit
        page = await access.history(room, after=str(at), limit=limit)
        wanted = list(filter(is_wanted, page.messages))
        if arguments.mentions_only and (wanted or page.gap is not None):
            return _some_answer(room, page, wanted, arguments.limit)
        if wanted or page.gap is not None:
            return _page_answer(room, page, is_forward=True)
        at = page.cursor
        is_over = now_s() >= deadline_s
        if page.complete:
            is_over = not await _is_written(access, room, at, deadline_s, is_wanted)
        if is_over:
            result = MessagesResult(room=room, messages=[], cursor=str(at), complete=page.complete)
            return ToolAnswer(result, f"Nothing new so far. To wait on in {room}, use after={at}")


def _filter_of(own_name: str, *, mentions_only: bool) -> Callable[[Message], bool]:
    """Return whether a message ends the wait of a name."""
    if mentions_only:
        return lambda message: message.sender != own_name and own_name in message.mentions
    return lambda message: message.sender != own_name


async def _start(access: RoomAccess, room: str, after: Position | None) -> Cursor:
    """Return the cursor after which to wait: without one that of the end of the log."""
    parsed = position(after)
    if isinstance(parsed, Cursor):
        return parsed
    end = (await access.history(room, limit=1)).cursor
    return end if parsed is None else Cursor(end.epoch, min(parsed, end.seq))


async def _is_written(
    access: RoomAccess, room: str, after: Cursor, deadline_s: float, is_wanted: Callable[[Message], bool]
) -> bool:
    """Wait for a message that is wanted, and not a mere change of one, until a time of the event loop's clock."""
    try:
        async with asyncio.timeout_at(deadline_s), aclosing(access.follow(room, after=after)) as items:
            async for item in items:
                if isinstance(item, Gap) or (item.act is None and is_wanted(item)):
                    return True
    except TimeoutError:
        pass
    return False


async def search_messages(access: RoomAccess, arguments: SearchArguments) -> ToolAnswer:
    """Search one room, or all that the identity may read."""
    if arguments.room is None:
        before = None if arguments.before is None else str(arguments.before)
        return _listing_answer(await access.search(arguments.text, before=before, limit=arguments.limit))
    room = _room(arguments.room)
    page = await access.history(room, before=arguments.before, limit=arguments.limit, search=arguments.text)
    kept = cut_messages(page.messages[::-1])
    is_cut = len(kept) < len(page.messages)
    oldest = kept[-1].seq if kept and (is_cut or page.reached is None) else page.reached
    is_complete = page.complete and not is_cut
    return _found_answer(
        FoundResult(messages=in_wire_form(kept), cursor=None if is_complete or oldest is None else str(oldest))
    )


async def list_mentions(access: RoomAccess, arguments: MentionsArguments) -> ToolAnswer:
    """List the messages that mention the identity."""
    return _listing_answer(await access.mentions(before=arguments.before, limit=arguments.limit))


def _listing_answer(listing: RoomListing) -> ToolAnswer:
    kept = cut_messages(listing.messages)
    cursor = listing.cursor
    if len(kept) < len(listing.messages):
        last = kept[-1]
        cursor = str(MentionPosition(last.time_ms, last.room, last.seq))
    return _found_answer(FoundResult(messages=in_wire_form(kept), cursor=cursor))


def _found_answer(result: FoundResult) -> ToolAnswer:
    if result.cursor is None:
        lines = message_lines(result.messages, with_room=True) or ["No messages."]
    else:
        lines = message_lines(result.messages, with_room=True) or ["No messages so far."]
        lines.append(f"Older messages follow: to get them, or to search on, use before={result.cursor}")
    return ToolAnswer(result, "\n".join(lines))


async def list_unread(access: RoomAccess, _: NoArguments) -> ToolAnswer:
    """Count what the identity has not read."""
    rooms = [WireUnread.of(each) for each in await access.unread()]
    return ToolAnswer(UnreadResult(rooms=rooms), "\n".join(unread_lines(rooms) or ["Nothing is unread."]))


# Writing


async def post_message(access: RoomAccess, arguments: PostArguments) -> ToolAnswer:
    """Publish a message."""
    receipt = await access.publish(_room(arguments.room), arguments.text, data=arguments.data, key=arguments.key)
    return _posted_answer(receipt, "stored as")


async def reply(access: RoomAccess, arguments: ReplyArguments) -> ToolAnswer:
    """Publish a reply."""
    receipt = await access.publish(_room(arguments.room), arguments.text, key=arguments.key, of=arguments.seq)
    return _posted_answer(receipt, f"reply to #{arguments.seq} stored as")


async def react(access: RoomAccess, arguments: ReactArguments) -> ToolAnswer:
    """Put an emoji to a message, or remove it."""
    act = Act.UNREACT if arguments.remove else Act.REACT
    receipt = await access.publish(_room(arguments.room), arguments.emoji, of=arguments.seq, act=act)
    done = "removed from" if arguments.remove else "put to"
    unchanged = "was not there on" if arguments.remove else "was there already on"
    text = f"{arguments.emoji} {unchanged if receipt.repeat else done} #{arguments.seq}"
    return ToolAnswer(_posted(receipt), text)


async def mark_read(access: RoomAccess, arguments: MarkReadArguments) -> ToolAnswer:
    """Note up to where the identity has read a room."""
    room = _room(arguments.room)
    result = MarkedResult(room=room, seq=await access.mark(room, arguments.seq))
    return ToolAnswer(result, f"{room} is marked as read up to #{result.seq}")


def _posted_answer(receipt: Receipt, done: str) -> ToolAnswer:
    result = _posted(receipt)
    repeat = " (it was stored before)" if result.repeat else ""
    return ToolAnswer(
        result, f"{done} #{result.seq} in {result.room}{repeat}. To read the answers, use after={result.cursor}"
    )


def _posted(receipt: Receipt) -> PostedResult:
    message = receipt.message
    return PostedResult(room=message.room, seq=message.seq, cursor=str(message.cursor), repeat=receipt.repeat)


def _room(name: str) -> str:
    """Return the name of a room without the # with which people write it; the access checks it."""
    return name.removeprefix("#")

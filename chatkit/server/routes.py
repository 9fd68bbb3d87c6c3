"""The HTTP API of rooms and their messages."""

import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

from litestar import MediaType, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, HeaderParameter, QueryParameter
from litestar.response import Stream

from chatkit.core.backend import Filter
from chatkit.core.history import HistoryPage
from chatkit.core.model import Cursor, Limits, check_sender, parse_time
from chatkit.core.text import check_search, normalize
from chatkit.errors import BadRequest
from chatkit.server.admission import Admission, check_request
from chatkit.server.connect_request import read_start
from chatkit.server.consumer_routes import consumer_handlers
from chatkit.server.disconnect import while_connected
from chatkit.server.litestar_types import HttpRequest
from chatkit.server.long_answer import answer_encoded
from chatkit.server.message_routes import answer_receipt, message_handlers, readable_room
from chatkit.server.moderation_routes import room_handlers
from chatkit.server.publishing import publish_as, read_publish
from chatkit.server.read_routes import read_handlers
from chatkit.server.room_list import MAX_LISTED, RoomRange, read_room
from chatkit.server.streams import EVENT_STREAM, JSON_LINES, begin, gap_line, stream
from chatkit.session.context import StartPosition
from chatkit.session.formats import with_cursor
from chatkit.wire import protocol
from chatkit.wire.costs import JOIN_COST, LIST_COST, MEMBERS_COST, PAGE_COST, SEARCH_COST
from chatkit.wire.http import MemberList, RoomView
from chatkit.wire.page import EncodedPage, encode_page, page_json

PAGE_MESSAGES = 100  # in a page, when no limit is given
MAX_TIME_CHARS = 64  # an RFC 3339 time has about 30

_logger = logging.getLogger(__name__)


@get("/rooms")
async def list_rooms(
    *,
    admission: NamedDependency[Admission],
    request: HttpRequest,
    prefix: FromQuery[str] = "",
    after: FromQuery[str] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_LISTED)] = MAX_LISTED,
) -> Response[Any]:
    """List the rooms that have a message or a member, and that the client may read, in the order of their names.

    Unless `complete`, more follow: give the last room of the list as `after`. `prefix` chooses the rooms whose names
    begin with it. A very long list may be a few seconds old.
    """
    await admission.charge(request, LIST_COST)
    if "\0" in after or "\0" in prefix:
        raise BadRequest("names of rooms have no NUL")
    asked = RoomRange(normalize(after), normalize(prefix), limit)
    return answer_encoded(await while_connected(request, admission.read_rooms(request.user, asked)))


@get("/rooms/{room:str}")
async def show_room(room: FromPath[str], admission: NamedDependency[Admission], request: HttpRequest) -> RoomView:
    """Show a room. A room without messages exists, and is empty, for a client that may read it."""
    await admission.charge(request, PAGE_COST)
    room = readable_room(admission, request, room)
    return await read_room(admission.hub, room)


@post("/rooms/{room:str}/messages")
async def publish(
    *,
    room: FromPath[str],
    request: HttpRequest,
    admission: NamedDependency[Admission],
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
    idempotency_key: Annotated[str | None, HeaderParameter(name="Idempotency-Key")] = None,
) -> Response[protocol.WireMessage]:
    """Publish a message: JSON with `body`, `data`, `key`, `of` and `act`, or, with any other content type, the text.

    With `of`, the message is a reply to that one, or, with an `act` too, a change of it. Answer 201 with the message
    once it is committed, or 200 with the stored message if its key was published before.
    """
    sent = await request.body()
    published = read_publish(sent, idempotency_key, is_json=request.content_type[0] == MediaType.JSON)
    return answer_receipt(await publish_as(admission, request, room, published, len(sent)))


@get("/rooms/{room:str}/messages")
async def read_messages(
    *,
    room: FromPath[str],
    admission: NamedDependency[Admission],
    request: HttpRequest,
    after: FromQuery[str | None] = None,
    before: FromQuery[str | None] = None,
    limit: Annotated[int, QueryParameter(ge=1)] = PAGE_MESSAGES,
    search: FromQuery[str | None] = None,
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
    sender: FromQuery[str | None] = None,
    of: FromQuery[int | None] = None,
    pinned: FromQuery[bool] = False,
    raw: FromQuery[bool] = False,
) -> Response[Any]:
    """Return a page of messages in order of `seq`: the newest, or those `after` or `before` a cursor or `seq`.

    Each message is in its current state, without the changes that led to it; with `raw`, the log is returned as it was
    written. `of` chooses the replies to a message, or, with `raw`, all that refers to it; `pinned` those that are
    pinned now. `since` (inclusive) and `until` (exclusive) are RFC 3339 times. With `Accept: application/x-ndjson`, the
    answer has one message per line, after a line for the gap, if there is one. A search examines messages for a quarter
    of a second: if it ends early, `reached` is the number from which to continue it.
    """
    context = admission.context
    check_limit(limit, context.limits)
    client = admission.client(request)
    await admission.charge(request, SEARCH_COST if search or sender else PAGE_COST)
    room = readable_room(admission, request, room)
    reading = context.history_queue.read(
        client,
        context.hub,
        room,
        after=protocol.position(after),
        before=protocol.position(before),
        limit=limit,
        where=_read_filter(search, sender, since, until, of=of, pinned=pinned and not raw),
        folded=not raw,
    )
    history = await while_connected(request, reading)
    readable_room(admission, request, room)  # again: a search takes seconds
    page = await encode_page(history, is_forward=after is not None)
    if _accepts(request, JSON_LINES.media_type):
        return Response(_page_lines(history, page, is_forward=after is not None), media_type=JSON_LINES.media_type)
    return Response(page_json(history, page), media_type=MediaType.JSON)


def _page_lines(history: HistoryPage, page: EncodedPage, *, is_forward: bool) -> bytes:
    """Return a page as lines of JSON. The page may have fewer messages than were read: it has a largest size."""
    n_left_out = len(history.messages) - len(page.messages)
    sent = history.messages[: len(page.messages)] if is_forward else history.messages[n_left_out:]
    lines = [] if history.gap is None else [gap_line(history.gap, history.head.epoch)]
    lines += [
        with_cursor(bytes(encoded), message.cursor) + b"\n"
        for encoded, message in zip(page.messages, sent, strict=True)
    ]
    if page.reached is not None:
        lines.append(b'{"type":"reached","seq":%d}\n' % page.reached)
    return b"".join(lines)


def check_limit(limit: int, limits: Limits) -> None:
    """Raise `BadRequest` if a page may not have so many messages."""
    if limit > limits.history:
        raise BadRequest(f"limit must be at most {limits.history}")


def _read_filter(
    search: str | None, sender: str | None, since: str | None, until: str | None, *, of: int | None, pinned: bool
) -> Filter | None:
    where = Filter(
        check_search(search) if search else None,
        check_sender(sender) if sender else None,
        _read_time(since),
        _read_time(until),
        of,
        pinned,
    )
    return None if where == Filter() else where


def _read_time(text: str | None) -> int | None:
    if not text:
        return None
    if len(text) > MAX_TIME_CHARS:
        raise BadRequest("not a time; write it like 2026-11-20T11:47:21Z")
    try:
        return parse_time(text.replace(" ", "+"))  # an unescaped `+` in a query is read as a space
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"not a time: {text[:40]!r}; write it like 2026-11-20T11:47:21Z") from error


@get("/rooms/{room:str}/events")
async def follow(
    *,
    room: FromPath[str],
    admission: NamedDependency[Admission],
    request: HttpRequest,
    after: FromQuery[str | None] = None,
    history: FromQuery[str | None] = None,
    last_event_id: Annotated[str | None, HeaderParameter(name="Last-Event-ID")] = None,
) -> Stream:
    """Stream a room as server-sent events whose ids are cursors, or, with that `Accept`, as lines of JSON."""
    context = admission.context
    await admission.charge(request, JOIN_COST)
    room = readable_room(admission, request, room)
    start = read_start(after, history)
    if last_event_id:
        start = StartPosition(Cursor.parse(last_event_id), start.history)
    form = JSON_LINES if _accepts(request, JSON_LINES.media_type) else EVENT_STREAM
    n_history = context.history if start.history is None else min(start.history, context.limits.history)
    start = StartPosition(start.after, n_history)
    events = await begin(_counted(admission, stream(context.hub, request.user, room, start, form)))
    return Stream(events, media_type=form.media_type, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


async def _counted(admission: Admission, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    with admission.counted_stream():
        async for event in events:
            yield event


@get("/rooms/{room:str}/members")
async def list_members(room: FromPath[str], admission: NamedDependency[Admission], request: HttpRequest) -> MemberList:
    """List the members of a room."""
    await admission.charge(request, MEMBERS_COST)
    hub = admission.context.hub
    room = readable_room(admission, request, room)
    return MemberList(protocol.wire_members(hub.members(room, protocol.MAX_LISTED_MEMBERS)), hub.count(room))


def _accepts(request: HttpRequest, media_type: str) -> bool:
    return media_type in request.headers.get("accept", "").lower()


rooms_router = Router(
    "/",
    route_handlers=[
        list_rooms,
        show_room,
        publish,
        read_messages,
        follow,
        list_members,
        *message_handlers,
        *read_handlers,
        *consumer_handlers,
        *room_handlers,
    ],
    guards=[check_request],
)

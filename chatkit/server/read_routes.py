"""The HTTP API of what a client has read: markers, unread messages, mentions; and the search in all rooms."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, Final

from litestar import get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from chatkit.core.access import Identity, Right, is_system_room
from chatkit.core.backend import MentionPosition
from chatkit.core.model import Message
from chatkit.core.page_size import cut_page
from chatkit.core.read_state import reader_of
from chatkit.core.room_pages import RoomListPage, read_room_page
from chatkit.core.search import SearchHits, SearchPosition
from chatkit.core.text import check_search
from chatkit.errors import BadRequest
from chatkit.server.admission import Admission
from chatkit.server.disconnect import while_connected
from chatkit.server.litestar_types import HttpRequest
from chatkit.server.message_routes import readable_room
from chatkit.server.request_body import read_body
from chatkit.server.room_list import choose_rooms
from chatkit.wire.costs import LIST_COST, MARK_COST, PAGE_COST, SEARCH_ALL_COST, UNREAD_COST
from chatkit.wire.http import MarkerRequest, MarkerView, MessageList, UnreadList
from chatkit.wire.protocol import WireMessage, WireUnread

LISTED: Final = 50  # messages in a list, when no limit is given
MAX_LISTED: Final = 100


def reader_name(admission: Admission, request: HttpRequest) -> str:
    """Return the name for which the client's markers are kept. Raise `Forbidden` if it is not known whose it is."""
    return reader_of(request.user, is_open=admission.hub.access.is_open)


def readable_by(admission: Admission, request: HttpRequest) -> Callable[[str], bool]:
    """Return the check whether the client may read a room now."""
    return partial(admission.allows, request.user, Right.READ)


@get("/rooms/{room:str}/marker")
async def show_marker(
    room: FromPath[str],
    admission: NamedDependency[Admission],
    request: HttpRequest,
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
) -> MarkerView:
    """Show up to which message the client's name has read a room."""
    await admission.charge(request, PAGE_COST)
    room = readable_room(admission, request, room)
    return MarkerView(room, await admission.hub.read_state.marker(reader_name(admission, request), room))


@put("/rooms/{room:str}/marker", status_code=200)
async def mark(
    room: FromPath[str],
    admission: NamedDependency[Admission],
    request: HttpRequest,
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
) -> MarkerView:
    """Note that the client's name has read a room up to a message. A marker does not move back."""
    await admission.charge(request, MARK_COST)
    room = readable_room(admission, request, room)
    body = await read_body(request, MarkerRequest)
    return MarkerView(room, await admission.hub.read_state.mark(reader_name(admission, request), room, body.seq))


@get("/unread")
async def list_unread(
    admission: NamedDependency[Admission],
    request: HttpRequest,
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
) -> UnreadList:
    """List what the client's name has not read: in each room that it has marked, or that mentions it."""
    await admission.charge(request, UNREAD_COST)
    found = await admission.hub.read_state.unread(reader_name(admission, request), readable_by(admission, request))
    return UnreadList([WireUnread.of(each) for each in found])


@get("/mentions")
async def list_mentions(
    admission: NamedDependency[Admission],
    request: HttpRequest,
    before: FromQuery[str | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_LISTED)] = LISTED,
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
) -> MessageList:
    """List the messages of all rooms that mention the client's name, the newest first."""
    found = await while_connected(request, find_mentions(admission, request, before, limit))
    return list_messages(found, limit, readable_by(admission, request))


async def find_mentions(
    admission: Admission, request: HttpRequest, before: str | None, limit: int
) -> Sequence[Message]:
    """Return the newest mentions of the client's name, and one more than `limit` if there are more."""
    await admission.charge(request, LIST_COST)
    reader = reader_name(admission, request)
    position = MentionPosition.parse(before) if before else None

    async def read() -> Sequence[Message]:
        within = admission.readable_names(request.user)
        return await admission.hub.read_state.mentions(reader, within, before=position, limit=limit + 1)

    return await admission.context.history_queue.list(admission.client(request), read)


@get("/search")
async def search(
    *,
    admission: NamedDependency[Admission],
    request: HttpRequest,
    q: FromQuery[str] = "",
    before: FromQuery[str | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_LISTED)] = LISTED,
) -> MessageList:
    """Search all rooms that the client may read for a text, and return the newest messages first.

    A search takes about a quarter of a second. It may end with few messages, or none, and with a `cursor` from which it
    continues; then the next pages have newer messages, too.
    """
    if not q:
        raise BadRequest("search for a text: ?q=TEXT")
    found = await while_connected(request, find_text(admission, request, q, before, limit))
    may_read = readable_by(admission, request)
    messages = [WireMessage.of_message(each) for each in found.messages if may_read(each.room)]
    return MessageList(messages, found.position is None, None if found.position is None else str(found.position))


async def find_text(
    admission: Admission, request: HttpRequest, text: str, before: str | None, limit: int
) -> SearchHits:
    """Return messages of all rooms that contain a text, and where the search continues; see `search_rooms`."""
    text = check_search(text)
    position = SearchPosition.parse(before)
    await admission.charge(request, SEARCH_ALL_COST)

    async def read() -> SearchHits:
        rooms_from = partial(_readable_rooms, admission, request.user)
        return await admission.hub.search(rooms_from, text, at=position, limit=limit)

    return await admission.context.history_queue.search(admission.client(request), read)


async def _readable_rooms(admission: Admission, identity: Identity, start: str) -> RoomListPage:
    """Return a page of the rooms that an identity may read, from a name on."""
    page = await read_room_page(admission.hub, admission.readable_names(identity), start)
    may_read = partial(admission.allows, identity, Right.READ)
    readable = await choose_rooms([info.room for info in page.infos if not is_system_room(info.room)], may_read)
    return RoomListPage([info for info in page.infos if info.room in readable], page.following)


def list_messages(found: Sequence[Message], limit: int, may_read: Callable[[str], bool]) -> MessageList:
    """Return the list of at most `limit` of the messages that were found, without those that may not be read any more.

    If more than `limit` were found, or they are too large for a page, the list has a cursor.
    """
    messages = cut_page(found[:limit], is_forward=True)
    is_complete = len(messages) == len(found)
    last = messages[-1] if messages else None
    cursor = None if last is None or is_complete else str(MentionPosition(last.time_ms, last.room, last.seq))
    return MessageList([WireMessage.of_message(each) for each in messages if may_read(each.room)], is_complete, cursor)


read_handlers: Final[tuple[Any, ...]] = (show_marker, mark, list_unread, list_mentions, search)

"""Rooms and messages over HTTP."""

import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from litestar import MediaType, Request, Response, Router, delete, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, HeaderParameter, QueryParameter
from litestar.response import Stream

from chatkit.core.backend import Filter
from chatkit.core.history import HistoryPage
from chatkit.core.hub import Hub
from chatkit.core.model import ANONYMOUS, Cursor, Draft, Head, check_room, check_sender, format_time, parse_time
from chatkit.errors import BadBody, BadRequest, NotFound, RateLimited
from chatkit.server.access import COOKIE, SAFE_METHODS, bearer
from chatkit.server.cookies import find_cookie
from chatkit.server.streams import EVENT_STREAM, JSON_LINES, begin, json_line, stream
from chatkit.server.websockets import Admission, read_start
from chatkit.wire import protocol
from chatkit.wire.http import Health, MemberList, MessagePage, PublishRequest, RoomList, RoomView

NDJSON = "application/x-ndjson"
PAGE_MESSAGES = 100  # a page when no limit is given
MAX_TIME_CHARS = 64  # an RFC 3339 time has some 30
MAX_SEQ = (1 << 63) - 1  # what a store's numbers hold


async def admit(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: raise `Forbidden` or `Unauthorized` for a request that may not be."""
    lobby: Admission = connection.app.state.lobby
    headers = connection.headers
    lobby.gate.check_host(headers.get("host"))
    if isinstance(connection, Request) and connection.method not in SAFE_METHODS:
        lobby.gate.check_origin(headers.get("origin"), headers.get("host"))
    given = bearer(headers.get("authorization")) or connection.query_params.get("token")
    lobby.gate.check_token(given or find_cookie(headers.get("cookie"), COOKIE))


async def provide_lobby(request: Request[Any, Any, Any]) -> Admission:
    """Hand handlers what the application was made with."""
    lobby: Admission = request.app.state.lobby
    return lobby


@get("/rooms", summary="What rooms there are")
async def list_rooms(lobby: NamedDependency[Admission]) -> RoomList:
    """List the rooms that hold a message or in which somebody is."""
    hub = lobby.house.hub
    rooms = {info.room: _view(hub, info.room, info.head, info.time_ms) for info in await hub.rooms()}
    for room, head in hub.heads().items():
        rooms.setdefault(room, _view(hub, room, head, None))
    for room in hub.occupied - rooms.keys():  # by way of other servers, and never written to
        rooms[room] = _view(hub, room, (await hub.history(room, limit=1)).head, None)
    return RoomList([rooms[room] for room in sorted(rooms)])


@get("/rooms/{room:str}", summary="One room")
async def show_room(room: FromPath[str], lobby: NamedDependency[Admission]) -> RoomView:
    """Show a room; one that was never written to is an empty one."""
    room = check_room(room)
    page = await lobby.house.hub.history(room, limit=1)
    time_ms = page.messages[-1].time_ms if page.messages else None
    return _view(lobby.house.hub, room, page.head, time_ms)


def _view(hub: Hub, room: str, head: Head, time_ms: int | None) -> RoomView:
    cursor = Cursor(head.epoch, head.last)
    time = None if time_ms is None else format_time(time_ms)
    return RoomView(room, head.first, head.last, str(cursor), hub.count(room), time)


@post("/rooms/{room:str}/messages", summary="Publish")
async def publish(
    *,
    room: FromPath[str],
    request: Request[Any, Any, Any],
    lobby: NamedDependency[Admission],
    name: FromQuery[str | None] = None,
    idempotency_key: Annotated[str | None, HeaderParameter(name="Idempotency-Key")] = None,
) -> Response[protocol.WireMessage]:
    """Publish a message: JSON with `body`, `data` and `key`, or, in any other type, the raw text itself.

    The answer is 201 with the message once it is committed, 200 with the stored one if its key was known.
    """
    sent = await request.body()
    asked = _read_publish(request.content_type[0], sent)
    draft = Draft.new(
        room,
        asked.body or "",
        sender=name or ANONYMOUS,
        data=asked.data,
        key=asked.key if idempotency_key is None else idempotency_key,
        limits=lobby.house.limits,
    )
    limiter = lobby.rates.of(request.client.host if request.client else "", draft.sender)
    if limiter is not None and (wait_s := limiter.take(len(sent))):
        raise RateLimited(wait_s)
    receipt = await lobby.house.hub.publish(draft)
    return Response(protocol.WireMessage.of(receipt.message), status_code=200 if receipt.repeat else 201)


def _read_publish(media_type: str, body: bytes) -> PublishRequest:
    if media_type != MediaType.JSON:
        if not body:
            raise BadRequest("a message needs a body")
        try:
            return PublishRequest(body.decode())
        except UnicodeDecodeError as error:
            raise BadBody("a body is UTF-8 text") from error
    try:
        asked = msgspec.json.decode(body, type=PublishRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"not a message: {error}") from error
    if asked.body is None and asked.data is None:
        raise BadRequest("a message needs a body")
    return asked


@get("/rooms/{room:str}/messages", summary="Read the past")
async def read_messages(
    *,
    room: FromPath[str],
    lobby: NamedDependency[Admission],
    request: Request[Any, Any, Any],
    after: FromQuery[str | None] = None,
    before: FromQuery[str | None] = None,
    limit: Annotated[int, QueryParameter(ge=1)] = PAGE_MESSAGES,
    search: FromQuery[str | None] = None,
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
    sender: FromQuery[str | None] = None,
) -> Response[Any]:
    """Return a page of messages in order of `seq`: the newest, those `after` a cursor or `seq`, or those `before` one.

    `since` (inclusive) and `until` are RFC 3339. With `Accept: application/x-ndjson`, one message a line, behind a line
    that is the gap, if there is one.
    """
    house = lobby.house
    if limit > house.limits.history:
        raise BadRequest(f"limit is at most {house.limits.history}")
    past = await house.hub.history(
        check_room(room),
        after=protocol.position(after),
        before=protocol.position(before),
        limit=limit,
        where=_read_filter(search, sender, since, until),
    )
    if _accepts(request, NDJSON):
        lines = [] if past.gap is None else [json_line(past.gap)]
        lines += [json_line(message) for message in past.messages]
        return Response(b"".join(lines), media_type=NDJSON)
    return Response(_page(past))


def _read_filter(search: str | None, sender: str | None, since: str | None, until: str | None) -> Filter | None:
    if not (search or sender or since or until):
        return None
    return Filter(search or None, sender and check_sender(sender), _read_time(since), _read_time(until))


def _read_time(text: str | None) -> int | None:
    if not text:
        return None
    if len(text) > MAX_TIME_CHARS:
        raise BadRequest("not a time; one is 2026-11-20T11:47:21Z")
    try:
        return parse_time(text.replace(" ", "+"))  # a query's `+` arrives as a space where it was not escaped
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"not a time: {text[:40]!r}; one is 2026-11-20T11:47:21Z") from error


def _page(past: HistoryPage) -> MessagePage:
    head = past.head
    gap = None if past.gap is None else protocol.WireGap.of(past.gap)
    messages = [protocol.WireMessage.of(message) for message in past.messages]
    return MessagePage(messages, str(past.cursor), head.first, head.last, past.complete, gap)


@get("/rooms/{room:str}/events", summary="Follow a room")
async def follow(
    *,
    room: FromPath[str],
    lobby: NamedDependency[Admission],
    request: Request[Any, Any, Any],
    after: FromQuery[str | None] = None,
    history: FromQuery[str | None] = None,
    last_event_id: Annotated[str | None, HeaderParameter(name="Last-Event-ID")] = None,
) -> Stream:
    """Stream a room as server-sent events whose ids are cursors; with `Accept: application/x-ndjson`, as JSON lines."""
    house = lobby.house
    start = read_start(last_event_id or after, history)
    form = JSON_LINES if _accepts(request, NDJSON) else EVENT_STREAM
    n_history = house.history if start.history is None else min(start.history, house.limits.history)
    events = await begin(_counted(lobby, stream(house.hub, check_room(room), start, n_history, form)))
    return Stream(events, media_type=form.media_type, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


async def _counted(lobby: Admission, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    with lobby.connection():
        lobby.check_load()
        async for event in events:
            yield event


@get("/rooms/{room:str}/members", summary="Who is there")
async def list_members(room: FromPath[str], lobby: NamedDependency[Admission]) -> MemberList:
    """List who is in a room."""
    hub = lobby.house.hub
    room = check_room(room)
    return MemberList(protocol.wire_members(hub.members(room, protocol.MAX_LISTED_MEMBERS)), hub.count(room))


@delete("/rooms/{room:str}/messages/{seq:int}", summary="Redact", status_code=200)
async def redact(room: FromPath[str], seq: FromPath[int], lobby: NamedDependency[Admission]) -> protocol.WireMessage:
    """Take a message's body and data away for good; its number stays."""
    room = check_room(room)
    if not 0 < seq <= MAX_SEQ:
        raise NotFound(f"there is no message {seq} in {room}")
    return protocol.WireMessage.of(await lobby.house.hub.redact(room, seq))


@get("/health", summary="Whether the server can do its work")
async def health(lobby: NamedDependency[Admission], state: State) -> Response[Health]:
    """Answer 200, or 503 with what is wrong."""
    hub = lobby.house.hub
    n_workers: int = state.n_workers
    fault = hub.fault
    counts = hub.counts
    report = Health(
        "unavailable" if fault else "ok",
        lobby.house.server.partition("/")[2],
        lobby.n_connections,
        counts["rooms"],
        counts["subscriptions"],
        fault,
        n_workers,
        os.getpid() if n_workers > 1 else None,
    )
    return Response(report, status_code=503 if fault else 200)


def _accepts(request: Request[Any, Any, Any], media_type: str) -> bool:
    return media_type in request.headers.get("accept", "").lower()


rooms_router = Router(
    "/",
    route_handlers=[list_rooms, show_room, publish, read_messages, follow, list_members, redact],
    guards=[admit],
    tags=["rooms"],
)

"""Rooms and messages over HTTP."""

import os
from collections.abc import AsyncIterator
from typing import Annotated, Any, cast

import msgspec
from litestar import MediaType, Request, Response, Router, delete, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, HeaderParameter, QueryParameter
from litestar.response import Stream

from chatkit.core.backend import Filter
from chatkit.core.history import HistoryPage
from chatkit.core.model import ANONYMOUS, Cursor, Draft, check_key, check_room, check_sender, parse_time
from chatkit.core.text import check_search
from chatkit.errors import BadBody, BadRequest, Forbidden, NotFound, RateLimited, Unauthorized
from chatkit.server.access import SAFE_METHODS, AccessPolicy, bearer
from chatkit.server.disconnect import while_connected
from chatkit.server.room_list import SLICE_BYTES, slices, view_room
from chatkit.server.streams import EVENT_STREAM, JSON_LINES, begin, json_line, stream, with_cursor
from chatkit.server.token_attempts import client_address
from chatkit.server.websockets import Admission, read_start
from chatkit.session.session import StartPosition
from chatkit.wire import protocol
from chatkit.wire.costs import JOIN_COST, LIST_COST, MEMBERS_COST, PAGE_COST, SEARCH_COST
from chatkit.wire.http import Health, HealthStatus, MemberList, MessagePage, PublishRequest, RoomList, RoomView
from chatkit.wire.page import EncodedPage, encode_page
from chatkit.wire.protocol import encode

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
    lobby.gate.check(*credentials(connection))


def credentials(connection: ASGIConnection[Any, Any, Any, Any]) -> tuple[str | None, str | None, str]:
    """Return the token and the `Cookie` header of a request, and the address that it comes from."""
    headers = connection.headers
    token = bearer(headers.get("authorization")) or connection.query_params.get("token")
    peer = connection.client.host if connection.client else ""
    return token, headers.get("cookie"), client_address(peer, headers.get("x-forwarded-for"))


async def provide_lobby(request: Request[Any, Any, Any]) -> Admission:
    """Hand handlers what the application was made with."""
    lobby: Admission = request.app.state.lobby
    return lobby


@get("/rooms", summary="What rooms there are", responses={200: ResponseSpec(RoomList, generate_examples=False)})
async def list_rooms(lobby: NamedDependency[Admission], request: Request[Any, Any, Any]) -> Response[Any]:
    """List the rooms that hold a message or in which somebody is. A list of very many may be some seconds old."""
    await lobby.charge(request, LIST_COST)
    encoded = await while_connected(request, lobby.rooms.read())
    if len(encoded) <= SLICE_BYTES:
        return Response(encoded, media_type=MediaType.JSON)
    return Stream(slices(encoded), media_type=MediaType.JSON, headers={"Content-Length": str(len(encoded))})


@get("/rooms/{room:str}", summary="One room")
async def show_room(
    room: FromPath[str], lobby: NamedDependency[Admission], request: Request[Any, Any, Any]
) -> RoomView:
    """Show a room; one that was never written to is an empty one."""
    await lobby.charge(request, PAGE_COST)
    room = check_room(room)
    page = await lobby.house.hub.history(room, limit=1)
    time_ms = page.messages[-1].time_ms if page.messages else None
    return view_room(lobby.house.hub, room, page.head, time_ms)


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
    if asked.key is not None:
        check_key(asked.key)  # also where the header has another one, which counts
    draft = Draft.new(
        room,
        asked.body or "",
        sender=name or ANONYMOUS,
        data=asked.data,
        key=asked.key if idempotency_key is None else idempotency_key,
        limits=lobby.house.limits,
    )
    limiter = lobby.limiter(request, draft.sender)
    if limiter is not None and (wait_s := limiter.consume(len(sent))):
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
    client = lobby.client(request)
    await lobby.charge(request, SEARCH_COST if search or sender else PAGE_COST)
    reading = house.history_queue.read(
        client,
        house.hub,
        check_room(room),
        after=protocol.position(after),
        before=protocol.position(before),
        limit=limit,
        where=_read_filter(search, sender, since, until),
    )
    past = await while_connected(request, reading)
    page = await encode_page(past, is_forward=after is not None)
    if _accepts(request, NDJSON):
        lines = [] if past.gap is None else [json_line(past.gap, past.head.epoch)]
        n_left_out = len(past.messages) - len(page.messages)
        sent = past.messages[: len(page.messages)] if after is not None else past.messages[n_left_out:]
        lines += [with_cursor(bytes(raw), message.cursor) for raw, message in zip(page.messages, sent, strict=True)]
        return Response(b"".join(lines), media_type=NDJSON)
    return Response(encode(_page(past, page)), media_type=MediaType.JSON)


def _read_filter(search: str | None, sender: str | None, since: str | None, until: str | None) -> Filter | None:
    if not (search or sender or since or until):
        return None
    return Filter(
        check_search(search) if search else None, sender and check_sender(sender), _read_time(since), _read_time(until)
    )


def _read_time(text: str | None) -> int | None:
    if not text:
        return None
    if len(text) > MAX_TIME_CHARS:
        raise BadRequest("not a time; one is 2026-11-20T11:47:21Z")
    try:
        return parse_time(text.replace(" ", "+"))  # a query's `+` arrives as a space where it was not escaped
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"not a time: {text[:40]!r}; one is 2026-11-20T11:47:21Z") from error


def _page(past: HistoryPage, page: EncodedPage) -> MessagePage:
    head = past.head
    gap = None if past.gap is None else protocol.WireGap.of(past.gap)
    messages = cast("list[protocol.WireMessage]", page.messages)  # which are encoded already
    return MessagePage(messages, str(page.cursor), head.first, head.last, page.complete, gap)


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
    await lobby.charge(request, JOIN_COST)
    start = read_start(after, history)
    if last_event_id:
        start = StartPosition(Cursor.parse(last_event_id), start.history)
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
async def list_members(
    room: FromPath[str], lobby: NamedDependency[Admission], request: Request[Any, Any, Any]
) -> MemberList:
    """List who is in a room."""
    await lobby.charge(request, MEMBERS_COST)
    hub = lobby.house.hub
    room = check_room(room)
    return MemberList(protocol.wire_members(hub.members(room, protocol.MAX_LISTED_MEMBERS)), hub.count(room))


@delete("/rooms/{room:str}/messages/{seq:int}", summary="Redact", status_code=200)
async def redact(
    room: FromPath[str], seq: FromPath[int], lobby: NamedDependency[Admission], request: Request[Any, Any, Any]
) -> protocol.WireMessage:
    """Take a message's body and data away for good; its number stays."""
    await lobby.charge(request, PAGE_COST)
    room = check_room(room)
    if not 0 < seq <= MAX_SEQ:
        raise NotFound(f"there is no message {seq} in {room}")
    return protocol.WireMessage.of(await lobby.house.hub.redact(room, seq))


@get("/health", summary="Whether the server can do its work")
async def health(request: Request[Any, Any, Any], lobby: NamedDependency[Admission], state: State) -> Response[Health]:
    """Answer 200, or 503 when it cannot; counts and reasons are for who has the token."""
    fault = lobby.house.hub.fault
    status: HealthStatus = "unavailable" if fault else "ok"
    report = _report(lobby, status, state.n_workers) if _may_see_details(request, lobby.gate) else Health(status)
    return Response(report, status_code=503 if fault else 200)


def _report(lobby: Admission, status: HealthStatus, n_workers: int) -> Health:
    hub = lobby.house.hub
    counts = hub.counts
    return Health(
        status,
        lobby.house.server.partition("/")[2],
        lobby.n_connections,
        counts["rooms"],
        counts["subscriptions"],
        hub.fault,
        n_workers,
        os.getpid() if n_workers > 1 else None,
    )


def _may_see_details(request: Request[Any, Any, Any], gate: AccessPolicy) -> bool:
    """Return whether the client has the token or, where there is none, only this machine reaches the server."""
    try:
        gate.check_host(request.headers.get("host"))
        gate.check(*credentials(request))
    except (Forbidden, Unauthorized, RateLimited):
        return False
    return gate.token is not None or gate.is_loopback


def _accepts(request: Request[Any, Any, Any], media_type: str) -> bool:
    return media_type in request.headers.get("accept", "").lower()


rooms_router = Router(
    "/",
    route_handlers=[list_rooms, show_room, publish, read_messages, follow, list_members, redact],
    guards=[admit],
    tags=["rooms"],
)

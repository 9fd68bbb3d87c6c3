"""The HTTP API of consumers: make, show, move and delete them; take messages, and settle them."""

from typing import Any, Final, Literal

from litestar import Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from chatkit.core.access import Identity, Right
from chatkit.core.consumer import Consumer, OwnerCheck
from chatkit.core.consumers import Start
from chatkit.core.model import Cursor
from chatkit.errors import Forbidden
from chatkit.server.admission import Admission
from chatkit.server.disconnect import while_connected
from chatkit.server.litestar_types import HttpRequest
from chatkit.server.message_routes import readable_room
from chatkit.server.request_body import read_body
from chatkit.server.while_allowed import while_allowed
from chatkit.wire.consumers import (
    ConsumerList,
    ConsumerRequest,
    ConsumerView,
    ExtendRequest,
    LeaseRequest,
    RetryRequest,
    TakenView,
)
from chatkit.wire.costs import LIST_COST, MARK_COST, PAGE_COST

_STARTS: Final[dict[str, Literal["start", "end"]]] = {"start": "start", "end": "end"}


@get("/consumers")
async def list_all_consumers(admission: NamedDependency[Admission], request: HttpRequest) -> ConsumerList:
    """List the consumers of all rooms that the client may read."""
    await admission.charge(request, LIST_COST)
    found = await admission.hub.consumers.statuses()
    return ConsumerList(
        [ConsumerView.of(each) for each in found if admission.allows(request.user, Right.READ, each.room)]
    )


@get("/rooms/{room:str}/consumers")
async def list_consumers(
    room: FromPath[str], admission: NamedDependency[Admission], request: HttpRequest
) -> ConsumerList:
    """List the consumers of a room."""
    await admission.charge(request, LIST_COST)
    room = readable_room(admission, request, room)
    return ConsumerList([ConsumerView.of(each) for each in await admission.hub.consumers.statuses(room)])


@get("/rooms/{room:str}/consumers/{consumer:str}")
async def show_consumer(
    room: FromPath[str], consumer: FromPath[str], admission: NamedDependency[Admission], request: HttpRequest
) -> ConsumerView:
    """Show a consumer."""
    await admission.charge(request, PAGE_COST)
    return ConsumerView.of(await _consumer(admission, request, room, consumer).status())


@put("/rooms/{room:str}/consumers/{consumer:str}")
async def put_consumer(
    *,
    room: FromPath[str],
    consumer: FromPath[str],
    admission: NamedDependency[Admission],
    request: HttpRequest,
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
) -> Response[ConsumerView]:
    """Make a consumer (201), or move it and change its settings (200). It belongs to the client's name."""
    await admission.charge(request, MARK_COST)
    room = readable_room(admission, request, room)
    body = await read_body(request, ConsumerRequest)
    check = _owner_check(admission, request.user, room)
    check(request.user.name)
    status, is_new = await admission.hub.consumers.put(
        room,
        consumer,
        owner=request.user.name,
        after=None if body.after is None else _start(body.after),
        only_if_missing=body.only_if_missing,
        retries=body.retries,
        ordered=body.ordered,
        check=check,
    )
    return Response(ConsumerView.of(status), status_code=201 if is_new else 200)


@delete("/rooms/{room:str}/consumers/{consumer:str}")
async def delete_consumer(
    *,
    room: FromPath[str],
    consumer: FromPath[str],
    admission: NamedDependency[Admission],
    request: HttpRequest,
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
) -> Response[None]:
    """Delete a consumer: its position is forgotten, and its leases end."""
    await admission.charge(request, MARK_COST)
    await _consumer(admission, request, room, consumer).delete()
    return Response(None, status_code=204)


@post("/rooms/{room:str}/consumers/{consumer:str}/take", status_code=200)
async def receive(
    *,
    room: FromPath[str],
    consumer: FromPath[str],
    admission: NamedDependency[Admission],
    request: HttpRequest,
    limit: FromQuery[int] = 10,
    lease_s: FromQuery[float] = 30.0,
    wait_s: FromQuery[float] = 0.0,
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
) -> TakenView:
    """Lease the next messages. Wait for the first one for `wait_s` seconds, and then answer without a lease."""
    await admission.charge(request, PAGE_COST)
    used = _consumer(admission, request, room, consumer)
    taking = used.receive(limit=limit, lease_s=lease_s, wait_s=wait_s)
    if not wait_s:
        return TakenView.of(await taking)
    with admission.counted_stream():
        return TakenView.of(await while_connected(request, while_allowed(admission, request.user, used.room, taking)))


@post("/rooms/{room:str}/consumers/{consumer:str}/ack", status_code=200)
async def ack(
    *,
    room: FromPath[str],
    consumer: FromPath[str],
    admission: NamedDependency[Admission],
    request: HttpRequest,
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
) -> ConsumerView:
    """Settle messages of a lease. To repeat it after success changes nothing."""
    await admission.charge(request, MARK_COST)
    body = await read_body(request, LeaseRequest)
    return ConsumerView.of(await _consumer(admission, request, room, consumer).ack(body.lease, body.seqs))


@post("/rooms/{room:str}/consumers/{consumer:str}/retry", status_code=200)
async def retry(
    *,
    room: FromPath[str],
    consumer: FromPath[str],
    admission: NamedDependency[Admission],
    request: HttpRequest,
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
) -> ConsumerView:
    """Report that messages of a lease have failed. They come again, or, after too many failures, are given up.

    The reason is published then, so a client that may not write to the room gives none.
    """
    await admission.charge(request, MARK_COST)
    body = await read_body(request, RetryRequest)
    used = _consumer(admission, request, room, consumer)
    reason = body.reason if admission.allows(request.user, Right.WRITE, used.room) else ""
    return ConsumerView.of(await used.retry(body.lease, body.seqs, delay_s=body.delay_s, reason=reason))


@post("/rooms/{room:str}/consumers/{consumer:str}/release", status_code=200)
async def release(
    *,
    room: FromPath[str],
    consumer: FromPath[str],
    admission: NamedDependency[Admission],
    request: HttpRequest,
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
) -> ConsumerView:
    """Give messages of a lease back: they were not tried, and come again at once."""
    await admission.charge(request, MARK_COST)
    body = await read_body(request, LeaseRequest)
    return ConsumerView.of(await _consumer(admission, request, room, consumer).release(body.lease, body.seqs))


@post("/rooms/{room:str}/consumers/{consumer:str}/extend", status_code=200)
async def extend(
    *,
    room: FromPath[str],
    consumer: FromPath[str],
    admission: NamedDependency[Admission],
    request: HttpRequest,
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
) -> ConsumerView:
    """Let a lease run out later, for work that takes long."""
    await admission.charge(request, MARK_COST)
    body = await read_body(request, ExtendRequest)
    return ConsumerView.of(await _consumer(admission, request, room, consumer).extend(body.lease, body.lease_s))


def _consumer(admission: Admission, request: HttpRequest, room: str, name: str) -> Consumer:
    room = readable_room(admission, request, room)
    check = _owner_check(admission, request.user, room)
    return admission.hub.consumers.consumer(room, name, check=check, token_id=request.user.token_id or "")


def _owner_check(admission: Admission, identity: Identity, room: str) -> OwnerCheck:
    """Return the check whether an identity may use the consumers of a name: its own, or all that it may moderate."""

    def check(owner: str) -> None:
        if identity.is_verified and owner == identity.name:
            return
        if not admission.allows(identity, Right.MODERATE, room):  # on an open server, everybody may
            raise Forbidden(
                f"the consumer belongs to {owner!r}" if identity.is_verified else "a consumer needs a token with a name"
            )

    return check


def _start(after: str) -> Start:
    return _STARTS.get(after) or Cursor.parse(after)


consumer_handlers: Final[tuple[Any, ...]] = (
    list_all_consumers,
    list_consumers,
    show_consumer,
    put_consumer,
    delete_consumer,
    receive,
    ack,
    retry,
    release,
    extend,
)

"""The HTTP API of moderation: bans, kicks, and the settings and the end of rooms.

`Moderation` checks the grants. Bans of the client that asks are checked here.
"""

from litestar import Response, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from chatkit.core.access import ALL_ROOMS, Ban, Identity, Right
from chatkit.core.model import check_room
from chatkit.core.moderation import no_such_ban
from chatkit.errors import BadRequest, Forbidden
from chatkit.server.admission import Admission, check_request
from chatkit.server.litestar_types import HttpRequest
from chatkit.server.long_answer import answer_list
from chatkit.server.request_body import read_body
from chatkit.server.room_list import read_room
from chatkit.wire.access import (
    BanListing,
    BanRequest,
    BanView,
    KickRequest,
    RenameRequest,
    RoomSettingsChange,
    read_wire_time,
)
from chatkit.wire.costs import LIST_COST
from chatkit.wire.http import RoomView


@get("/bans")
async def list_bans(admission: NamedDependency[Admission], request: HttpRequest) -> Response[BanListing]:
    """List the bans of the rooms that the client moderates."""
    await admission.charge(request, LIST_COST)
    bans = await _bans(admission, admission.current(request))
    return await answer_list("bans", bans, BanView.of)


async def _bans(admission: Admission, by: Identity) -> list[Ban]:
    """Return the bans that `by` may remove. Raise `Forbidden` if `by` moderates nothing."""
    if not any(grant.includes(Right.MODERATE) for grant in by.grants):
        raise Forbidden("this needs the right 'moderate' in a room")
    bans = await admission.hub.moderation.bans(by)
    if admission.allows(by, Right.ADMIN, None):
        return bans
    moderated = {room for room in {ban.room for ban in bans} if admission.allows(by, Right.MODERATE, room)}
    return [ban for ban in bans if ban.room in moderated]


@post("/bans")
async def add_ban(admission: NamedDependency[Admission], request: HttpRequest) -> BanView:
    """Ban or mute a name, a network or a token, in one room or in all."""
    admission.consume(request)
    body = await read_body(request, BanRequest)
    by = _moderator(admission, request, body.room)
    ban = await admission.hub.moderation.ban(
        by,
        body.subject,
        kind=body.kind,
        room=body.room,
        until_ms=read_wire_time(body.until),
        reason=body.reason,
        is_mute=body.mute,
    )
    return BanView.of(ban)


@delete("/bans/{ban_id:str}", status_code=200)
async def remove_ban(ban_id: FromPath[str], admission: NamedDependency[Admission], request: HttpRequest) -> BanView:
    """Remove a ban."""
    admission.consume(request)
    by = admission.current(request)
    if all(ban.id != ban_id for ban in await _bans(admission, by)):  # such as that of `by`
        raise no_such_ban(ban_id)
    return BanView.of(await admission.hub.moderation.unban(by, ban_id))


@post("/rooms/{room:str}/kick")
async def kick(room: FromPath[str], admission: NamedDependency[Admission], request: HttpRequest) -> BanView:
    """Ban a name from a room for a minute, which also takes it out of the room."""
    admission.consume(request)
    body = await read_body(request, KickRequest)
    room = check_room(room)
    by = _moderator(admission, request, room)
    return BanView.of(await admission.hub.moderation.kick(by, body.name, room, body.reason))


@patch("/rooms/{room:str}")
async def set_room(room: FromPath[str], admission: NamedDependency[Admission], request: HttpRequest) -> RoomView:
    """Change the settings of a room."""
    admission.consume(request)
    change = await read_body(request, RoomSettingsChange)
    if change == RoomSettingsChange():
        raise BadRequest("nothing to change: send topic, keep, keep_for_s or archived")
    room = check_room(room)
    by = _moderator(admission, request, room)
    await admission.hub.moderation.set_room(by, room, change.apply)
    return await read_room(admission.hub, room)


@delete("/rooms/{room:str}")
async def delete_room(
    room: FromPath[str], admission: NamedDependency[Admission], request: HttpRequest
) -> Response[None]:
    """Delete a room with its log and its settings permanently. Its readers get a gap."""
    admission.consume(request)
    room = check_room(room)
    by = _moderator(admission, request, room)
    await admission.hub.moderation.delete_room(by, room)
    return Response(None, status_code=204)


@post("/rooms/{room:str}/rename", status_code=200)
async def rename_room(room: FromPath[str], admission: NamedDependency[Admission], request: HttpRequest) -> RoomView:
    """Give a room another name. Its readers follow."""
    admission.consume(request)
    body = await read_body(request, RenameRequest)
    room, new = check_room(room), check_room(body.name)
    by = _moderator(admission, request, room)
    await admission.hub.moderation.rename_room(by, room, new)
    return await read_room(admission.hub, new)


def _moderator(admission: Admission, request: HttpRequest, room: str) -> Identity:
    """Return who sends a request. Raise what keeps that client from moderating the room, also a ban from it.

    Administrators moderate every room, also one from which a moderator has banned them.
    """
    by = admission.current(request)
    if room != ALL_ROOMS and not admission.allows(by, Right.ADMIN, None):
        admission.check(by, Right.MODERATE, check_room(room))
    return by


moderation_router = Router(
    "/", route_handlers=[list_bans, add_ban, remove_ban, kick, rename_room], guards=[check_request]
)
room_handlers = (set_room, delete_room)  # of the router that has the other handlers at their address

"""The HTTP API of single messages: show, edit, react, redact."""

import logging
from typing import Any, Final

from litestar import Response, delete, get, patch, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from chatkit.core.access import Identity, Right, is_system_room
from chatkit.core.hub import Hub
from chatkit.core.message_state import Act
from chatkit.core.model import Message, Receipt, check_readable_room
from chatkit.core.moderation import redaction_right
from chatkit.errors import Forbidden
from chatkit.server.admission import Admission
from chatkit.server.litestar_types import HttpRequest, IdentifiedRequest
from chatkit.server.publishing import publish_as
from chatkit.server.request_body import read_body
from chatkit.wire import protocol
from chatkit.wire.costs import PAGE_COST
from chatkit.wire.http import EditRequest, PublishRequest

MAX_EDIT_BYTES: Final = 1 << 20  # of JSON, which writes some characters of a body as six

_logger = logging.getLogger(__name__)


def readable_room(admission: Admission, request: IdentifiedRequest, room: str) -> str:
    """Return the name of a room that the client may read. Raise `BadName`, `NotFound` or `Banned`."""
    room = check_readable_room(room)
    admission.check(request.user, Right.READ, room)
    return room


def answer_receipt(receipt: Receipt) -> Response[protocol.WireMessage]:
    """Answer 201 with the message, or 200 with the one that was stored before."""
    return Response(protocol.WireMessage.of_message(receipt.message), status_code=200 if receipt.repeat else 201)


@get("/rooms/{room:str}/messages/{seq:int}")
async def show_message(
    room: FromPath[str], seq: FromPath[int], admission: NamedDependency[Admission], request: HttpRequest
) -> protocol.WireMessage:
    """Show a message in its current state."""
    await admission.charge(request, PAGE_COST)
    room = readable_room(admission, request, room)
    return protocol.WireMessage.of_message(await admission.hub.find(room, seq, folded=True))


@patch("/rooms/{room:str}/messages/{seq:int}", status_code=200)
async def edit(
    *,
    room: FromPath[str],
    seq: FromPath[int],
    admission: NamedDependency[Admission],
    request: HttpRequest,
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
) -> protocol.WireMessage:
    """Give a message another text, and return the entry that does so. Only its sender may."""
    changed = await read_body(request, EditRequest, MAX_EDIT_BYTES)
    published = PublishRequest(changed.body, of=seq, act=Act.EDIT)
    receipt = await publish_as(admission, request, room, published, len(await request.body()))
    return protocol.WireMessage.of_message(receipt.message)


@put("/rooms/{room:str}/messages/{seq:int}/reactions/{emoji:str}")
async def react(
    *,
    room: FromPath[str],
    seq: FromPath[int],
    emoji: FromPath[str],
    admission: NamedDependency[Admission],
    request: HttpRequest,
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
) -> Response[protocol.WireMessage]:
    """Put an emoji to a message. Answer 201 with the entry, or 200 with the message if the emoji was there."""
    published = PublishRequest(emoji, of=seq, act=Act.REACT)
    return answer_receipt(await publish_as(admission, request, room, published, len(emoji)))


@delete("/rooms/{room:str}/messages/{seq:int}/reactions/{emoji:str}", status_code=200)
async def unreact(
    *,
    room: FromPath[str],
    seq: FromPath[int],
    emoji: FromPath[str],
    admission: NamedDependency[Admission],
    request: HttpRequest,
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
) -> protocol.WireMessage:
    """Remove a reaction. Answer 200 with the entry, or with the message if the emoji was not there."""
    published = PublishRequest(emoji, of=seq, act=Act.UNREACT)
    receipt = await publish_as(admission, request, room, published, len(emoji))
    return protocol.WireMessage.of_message(receipt.message)


@delete("/rooms/{room:str}/messages/{seq:int}", status_code=200)
async def redact(
    *,
    room: FromPath[str],
    seq: FromPath[int],
    admission: NamedDependency[Admission],
    request: HttpRequest,
    name: FromQuery[str | None] = None,  # noqa: ARG001 - the guard reads it
) -> protocol.WireMessage:
    """Remove a message's body, data and edits permanently; its `seq` stays, and an entry of the log says so.

    This needs `moderate`, or the token of the message's sender. It counts as a message.
    """
    room = readable_room(admission, request, room)
    admission.consume(request)
    if is_system_room(room):
        raise Forbidden(f"nobody changes {room!r}")
    message = await admission.hub.find(room, seq)
    admission.check(request.user, redaction_right(request.user, message), room)
    return protocol.WireMessage.of_message(await _redact(admission.hub, request.user, message))


async def _redact(hub: Hub, by: Identity, message: Message) -> Message:
    is_open = hub.access.is_open  # then nobody is known, and everybody may read the audit
    redacted = await hub.moderation.redact(by, message, is_audited=not is_open)
    if is_open and not message.redacted:
        _logger.warning(
            "%s, from %s, redacted message %d of %s in %s",
            by.name, by.address or "this machine", message.seq, message.sender, message.room,
        )  # fmt: skip
    return redacted


message_handlers: Final[tuple[Any, ...]] = (show_message, edit, react, unreact, redact)

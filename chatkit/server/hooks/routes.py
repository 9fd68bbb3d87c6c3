"""`/hooks/TOKEN`: incoming webhooks. The token is a hook's: it names the room, and can do nothing but write there.

`/hooks/TOKEN/FORMAT` fixes the format, as the suffixes `/slack` and `/github` of Discord's URLs do.
"""

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from litestar import MediaType, Response, Router, route
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler

from chatkit.core.access import Identity, Right
from chatkit.core.model import Draft, Receipt
from chatkit.errors import BadRequest, Forbidden, KeyConflict, NotFound, TooLarge, Unauthorized
from chatkit.server.admission import Admission, check_site
from chatkit.server.hooks import discord
from chatkit.server.hooks.body import MULTIPART, read_body, read_form
from chatkit.server.hooks.delivery_key import key_of
from chatkit.server.hooks.formats import HookFormat
from chatkit.server.hooks.preparation import Prepared, prepare
from chatkit.server.hooks.signature import NOT_SIGNED, WRONG_SIGNATURE, is_right, is_signed
from chatkit.server.litestar_types import HttpRequest

MAX_BYTES: Final = 1 << 20  # of a payload: the server reads no longer body
SHORT_BYTES: Final = 8_192  # of a payload that takes less than a millisecond to convert


async def check_hook(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Find whose webhook a request is for, by its URL alone. A Litestar guard.

    Raise `Forbidden` for a wrong host or origin, and as `Authenticator.by_hook` does.
    """
    admission: Admission = connection.app.state.admission
    credentials = check_site(connection, admission)
    authenticator = admission.authenticator
    connection.scope["user"] = authenticator.by_hook(
        connection.path_params["token"], authenticator.address(credentials)
    )


@route(["/hooks/{token:str}", "/hooks/{token:str}/{format:str}"], http_method=["POST", "PUT"], status_code=200)
async def receive_hook(admission: NamedDependency[Admission], request: HttpRequest) -> Response[Any]:
    """Publish what another service reports, in its own format."""
    room = _room_of(request.user)
    admission.check(request.user, Right.WRITE, room)
    given = request.path_params.get("format")
    hook_format = None if given is None else _named_format(given)
    sent = await _read(request)
    admission.consume(request, len(sent))
    _check_signature(admission, request, sent)
    prepared = await _prepare(admission, request, hook_format, sent)
    receipt = await _publish(admission, request, room, prepared, sent)
    return _answer(request, prepared.hook_format, receipt)


def _room_of(identity: Identity) -> str:
    """Return the room that a hook's token names. Raise `Forbidden` if it names none, or several."""
    rooms = [grant.rooms for grant in identity.grants if grant.includes(Right.WRITE)]
    if len(rooms) != 1 or rooms[0].endswith("*"):
        raise Forbidden(
            "the token of a webhook has to name one room: make one with 'chatkit token add NAME --hook ROOM'"
        )
    return rooms[0]


def _named_format(name: str) -> HookFormat:
    try:
        return HookFormat(name)
    except ValueError as error:
        raise NotFound(f"a webhook has one of the formats {', '.join(HookFormat)}") from error


async def _read(request: HttpRequest) -> bytes:
    try:
        return await request.body()
    except HTTPException as error:
        if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise TooLarge("body", MAX_BYTES) from error
        raise


def _check_signature(admission: Admission, request: HttpRequest, sent: bytes) -> None:
    """Raise `Unauthorized` if the token has a signing secret and the request does not prove it, `TooManyAttempts`."""
    token = admission.hub.access.token(request.user.token_id or "")
    if token is None or token.signing_secret is None:
        return
    if not is_signed(request.headers):
        raise Unauthorized(NOT_SIGNED)
    admission.authenticator.check_proof(
        request.user.address, partial(is_right, token.signing_secret, request.headers, sent), WRONG_SIGNATURE
    )


async def _prepare(admission: Admission, request: HttpRequest, hook_format: HookFormat | None, sent: bytes) -> Prepared:
    """Convert a payload; a long one in a thread, because that may take tens of milliseconds."""
    media_type = request.content_type[0]
    if media_type == MULTIPART:
        read = partial(read_form, await _read_form(request))
    else:
        read = partial(read_body, media_type, sent)
    job = partial(prepare, hook_format, dict(request.headers), read, admission.context.limits)
    return job() if len(sent) <= SHORT_BYTES else await asyncio.to_thread(job)


async def _read_form(request: HttpRequest) -> dict[str, Any]:
    try:
        return dict(await request.form())
    except (UnicodeDecodeError, LookupError) as error:  # of the text or the charset of a field
        raise BadRequest("a field of this form is not text") from error


async def _publish(
    admission: Admission, request: HttpRequest, room: str, prepared: Prepared, sent: bytes
) -> Receipt | None:
    """Publish a message. Return None if it is a delivery that was stored before, in other words."""
    admission.check(request.user, Right.WRITE, room)  # again: the body may have taken long to arrive
    key = key_of(request.headers, sent)
    draft = Draft.new(
        room,
        prepared.body,
        sender=request.user.name,
        data=prepared.data,
        key=None if key is None else key.key,
        limits=admission.context.limits,
        verified=request.user.is_verified,
        bot=request.user.is_bot,
    )
    try:
        return await admission.hub.publish(draft)
    except KeyConflict:
        if key is None or not key.is_delivery_id:
            raise
        return None


def _answer(request: HttpRequest, hook_format: HookFormat, receipt: Receipt | None) -> Response[Any]:
    """Answer as the sender expects it: Discord with nothing or, if the client waits, with the message; others `ok`."""
    if hook_format is HookFormat.DISCORD:
        if receipt is None or request.query_params.get("wait", "").lower() not in {"true", "1"}:
            return Response(None, status_code=HTTPStatus.NO_CONTENT)
        return Response(discord.message_object(receipt.message), media_type=MediaType.JSON)
    return Response("ok", media_type=MediaType.TEXT)


hooks_router = Router("/", route_handlers=[receive_hook], guards=[check_hook])

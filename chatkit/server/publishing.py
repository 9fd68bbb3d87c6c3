"""Publishing over HTTP: a request's body as a message, and its draft with the rights and the rates of its sender."""

import msgspec
from msgspec.structs import replace

from chatkit.core.access import Right
from chatkit.core.json_decoder import JsonDecoder
from chatkit.core.model import Draft, Receipt, check_key, check_room
from chatkit.errors import BadBody, BadRequest
from chatkit.server.admission import Admission
from chatkit.server.litestar_types import IdentifiedRequest
from chatkit.wire.decoding import check_values
from chatkit.wire.http import PublishRequest

_decode = JsonDecoder[PublishRequest](PublishRequest).decode


def read_publish(body: bytes, idempotency_key: str | None, *, is_json: bool) -> PublishRequest:
    """Return the message in a body: JSON, or the text itself. The header's key overrides that of the JSON.

    Raise `BadRequest`, `BadBody`, or `BadName` for a key in the JSON.
    """
    published = _read_json(body) if is_json else _read_text(body)
    if published.key is not None:
        check_key(published.key)  # also if it is overridden
    return published if idempotency_key is None else replace(published, key=idempotency_key)


def _read_text(body: bytes) -> PublishRequest:
    if not body:
        raise BadRequest("a message needs a body")
    try:
        return PublishRequest(body.decode())
    except UnicodeDecodeError as error:
        raise BadBody("a body is UTF-8 text") from error


def _read_json(body: bytes) -> PublishRequest:
    check_values(body)
    try:
        published = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"not a message: {error}") from error
    if published.body is None and published.data is None and published.act is None:
        raise BadRequest("a message needs a body")
    return published


async def publish_as(
    admission: Admission, request: IdentifiedRequest, room: str, published: PublishRequest, n_bytes: int
) -> Receipt:
    """Publish what the client of a request sent."""
    admission.check(request.user, Right.WRITE, check_room(room))
    draft = Draft.new(
        room,
        published.body or "",
        sender=request.user.name,
        data=published.data,
        key=published.key,
        limits=admission.context.limits,
        verified=request.user.is_verified,
        bot=request.user.is_bot,
        of=published.of,
        act=published.act,
    )
    admission.consume(request, n_bytes)
    return await admission.context.hub.publish(draft)

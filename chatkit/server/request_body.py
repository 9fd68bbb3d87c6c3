"""The JSON body of a request that changes access or a room, decoded strictly."""

from typing import Final, TypeVar

import msgspec
from litestar import MediaType

from chatkit.errors import BadRequest, TooLarge
from chatkit.server.litestar_types import HttpRequest
from chatkit.wire.decoding import sentence_of

MAX_BYTES: Final = 1 << 16  # a token with as many grants as it may have is a fifth of this

Body = TypeVar("Body", bound=msgspec.Struct)


async def read_body(request: HttpRequest, kind: type[Body], max_bytes: int = MAX_BYTES) -> Body:
    """Return the body of a request. An empty one stands for an object without fields.

    Raise `BadRequest` for anything but JSON of this kind, also for unknown fields, and `TooLarge`. No error repeats
    more of the body than a word.
    """
    sent = await request.body()
    if len(sent) > max_bytes:
        raise TooLarge("body", max_bytes)
    if sent and request.content_type[0] != MediaType.JSON:  # a form of a web page cannot send JSON
        raise BadRequest("send JSON, with 'Content-Type: application/json'")
    try:
        return msgspec.json.decode(sent or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise BadRequest(sentence_of(error, "the body")) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("the body is not JSON") from error

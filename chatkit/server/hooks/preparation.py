"""The whole way from a request's payload to the body and the data of its message. Knows nothing of connections."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from chatkit.core.model import Limits
from chatkit.server.hooks.body import JsonBody, TextBody
from chatkit.server.hooks.formats import HookFormat, convert, format_of
from chatkit.server.hooks.message import body_of, data_of


class Prepared(msgspec.Struct, frozen=True):
    """The body and the data of a message, and the format in which it was sent."""

    hook_format: HookFormat
    body: str
    data: Any


def prepare(
    hook_format: HookFormat | None,
    headers: Mapping[str, str],
    read: Callable[[], JsonBody | TextBody],
    limits: Limits,
) -> Prepared:
    """Return the message of what `read` returns. The names of `headers` are in lower case.

    Raise as `read` does, and `BadRequest` if the payload cannot have the format, or says nothing.
    """
    sent = read()
    hook_format = hook_format or format_of(headers, sent)
    message = convert(hook_format, headers, sent, limits.data)
    body, lines = body_of(message, limits.body)
    return Prepared(hook_format, body, data_of(message, hook_format, lines, limits.data))

"""Reads the body of a webhook's request: JSON, a form whose field `payload` is JSON, or text.

Senders are not exact about `Content-Type`: `curl -d` sends JSON as a form, and others send it as text. So a body that
looks like JSON is read as JSON. If that fails, it is text, unless its type is JSON.
"""

from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from chatkit.core import json_decoder
from chatkit.errors import BadBody, BadRequest

# Of JSON: a megabyte of values of a few bytes, or of empty objects, would take tens of milliseconds to decode.
MAX_VALUES: Final = 50_000
MAX_CONTAINERS: Final = 10_000
MAX_FORM_FIELDS: Final = 100
FIELDS: Final = ("payload", "payload_json")  # of a form: Slack's and GitHub's, and Discord's
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"

_BOM: Final = b"\xef\xbb\xbf"


class JsonBody(msgspec.Struct, frozen=True):
    """A body that is JSON, decoded."""

    value: Any


class TextBody(msgspec.Struct, frozen=True):
    """A body that is text."""

    text: str


def read_body(media_type: str, sent: bytes) -> JsonBody | TextBody:
    """Return the body of a request that is not a form of several parts.

    Raise `BadRequest` if it is said to be JSON and is not, or is empty, and `BadBody` if it is not UTF-8 text.
    """
    sent = sent.removeprefix(_BOM)
    if media_type == JSON or media_type.endswith("+json"):
        return JsonBody(decode_json(sent))
    if media_type == FORM and (field := _form_field(sent)) is not None:
        return JsonBody(decode_json(field.encode()))
    if sent.lstrip()[:1] in (b"{", b"["):
        try:
            return JsonBody(decode_json(sent))
        except NotJson:
            pass  # text in braces
    return TextBody(_text(sent))


def read_form(form: dict[str, Any]) -> JsonBody | TextBody:
    """Return the JSON in a form of several parts. Its files are left out. Raise `BadRequest` if it holds no JSON."""
    for name in FIELDS:
        if isinstance(field := form.get(name), str):
            return JsonBody(decode_json(field.encode()))
    raise BadRequest(f"this form has no field {' or '.join(FIELDS)}")


class NotJson(BadRequest):
    """The body is not JSON."""


def decode_json(sent: bytes) -> Any:
    """Return the value of a JSON text. Raise `NotJson`, or `BadRequest` if it has more values than are read."""
    if sent.count(b",") > MAX_VALUES or sent.count(b"[") + sent.count(b"{") > MAX_CONTAINERS:
        raise BadRequest(f"a payload has at most {MAX_VALUES} values, {MAX_CONTAINERS} of them objects or lists")
    try:
        return json_decoder.decode_json(sent)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NotJson("the payload is not JSON") from error


def _form_field(sent: bytes) -> str | None:
    if not any(name.encode() + b"=" in sent for name in FIELDS):
        return None  # `curl -d TEXT`
    try:
        fields = dict(parse_qsl(sent.decode(), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS))
    except ValueError as error:
        raise BadRequest("the body is not a form") from error
    return next((fields[name] for name in FIELDS if name in fields), None)


def _text(sent: bytes) -> str:
    if not sent.strip():
        raise BadRequest("the body is empty")
    try:
        return sent.decode()
    except UnicodeDecodeError as error:
        raise BadBody("a body is UTF-8 text, or JSON") from error

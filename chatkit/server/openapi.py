"""The OpenAPI document of the HTTP API, written by hand: each operation with its parameters, body and responses."""

from typing import Any, Final

import msgspec

from chatkit import __version__
from chatkit.core.model import MAX_KEY_CHARS, MAX_ROOM_CHARS, MAX_SENDER_CHARS, Limits
from chatkit.wire.http import Health, MemberList, MessagePage, Problem, PublishRequest, RoomList, RoomView
from chatkit.wire.protocol import WireMessage

Json = dict[str, Any]

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
PROBLEM: Final = "application/problem+json"
ROOM_PATTERN: Final = r"^[\p{L}\p{M}\p{Nd}_-][\p{L}\p{M}\p{Nd}._-]*$"
_SHOWN: Final = r"\p{L}\p{M}\p{N}\p{P}\p{S}"
# The server removes spaces at the ends of a name before it checks the length. An empty name means no name.
SENDER_PATTERN: Final = rf"^( *[{_SHOWN}]([{_SHOWN} ]{{0,{MAX_SENDER_CHARS - 2}}}[{_SHOWN}])? *)?$"
CURSOR_PATTERN: Final = r"^([A-Za-z0-9]{1,32}:[0-9]{1,18})?$"
POSITION_PATTERN: Final = r"^([A-Za-z0-9]{1,32}:)?[0-9]{1,18}$"
DESCRIPTION: Final = (
    "Rooms are logs of messages. Every message has a `seq`, and every answer a `cursor` from which to read on. "
    "Errors are problem details (RFC 9457) with a `code`. The WebSocket is at `/ws/{room}`."
)
_STRUCTS: Final = (RoomList, RoomView, MemberList, MessagePage, WireMessage, PublishRequest, Health, Problem)

ERRORS: Final = {
    400: "A name, cursor, query parameter or body is invalid.",
    401: "The token is missing or wrong.",
    403: "The request comes from another site, or its `Host` is not a name of this server.",
    404: "The message does not exist.",
    409: "The key belongs to another message.",
    413: "The body or the data is larger than the limit.",
    429: "The client exceeds the rate limit; `Retry-After` and `retry_after_s` give the seconds to wait.",
    503: "The store is unavailable, or the server is full or shutting down; nothing was stored.",
}


def openapi_document(limits: Limits, path_prefix: str, *, needs_token: bool) -> Json:
    """Return the document for a server with these limits at this path prefix."""
    security: list[Json] = [{"bearer": []}, {"query": []}, {"cookie": []}]
    _, schemas = msgspec.json.schema_components(_STRUCTS, ref_template="#/components/schemas/{name}")
    schemas["PublishRequest"] |= _publish_schema(limits)
    return {
        "openapi": "3.1.0",
        "info": {"title": "chatkit", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": path_prefix or "/"}],
        "security": security if needs_token else [{}, *security],  # an empty requirement makes the token optional
        "tags": [{"name": "rooms"}, {"name": "server"}],
        "paths": _paths(limits),
        "components": {
            "schemas": schemas,
            "responses": {f"Error{status}": _error_response(status) for status in ERRORS},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The server's token."},
                "query": {"type": "apiKey", "in": "query", "name": "token", "description": "For EventSource."},
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "chatkit_8000",
                    "description": "Set by `/?token=TOKEN`; the name contains the port.",
                },
            },
        },
    }


def _publish_schema(limits: Limits) -> Json:
    """Return the parts of the schema that msgspec cannot derive: a body or data is required, and both have limits."""
    body = {"type": ["string", "null"], "description": f"Text of at most {limits.body} bytes of UTF-8."}
    data = {"description": f"Any JSON value of at most {limits.data} bytes."}
    return {
        "properties": {"body": body, "data": data, "key": {"anyOf": [_key_schema(), {"type": "null"}]}},
        "anyOf": [
            {"required": ["body"], "properties": {"body": {"type": "string"}}},
            {"required": ["data"], "properties": {"data": {"not": {"type": "null"}}}},
        ],
        "example": {"body": "hello"},
    }


def _paths(limits: Limits) -> dict[str, Json]:
    return {
        "/rooms": {"get": _operation("listRooms", "List the rooms", _responses(RoomList, 400, 503))},
        "/rooms/{room}": {
            "parameters": [_room_parameter()],
            "get": _operation("showRoom", "Show a room", _responses(RoomView, 400, 503)),
        },
        "/rooms/{room}/messages": {
            "parameters": [_room_parameter()],
            "get": _read_operation(limits),
            "post": _publish_operation(limits),
        },
        "/rooms/{room}/messages/{seq}": {
            "parameters": [
                _room_parameter(),
                _parameter("seq", "path", {"type": "integer", "minimum": 1}, "The message."),
            ],
            "delete": _operation(
                "redact", "Redact a message: remove its body and data", _responses(WireMessage, 400, 404, 503)
            ),
        },
        "/rooms/{room}/events": {"parameters": [_room_parameter()], "get": _follow_operation(limits)},
        "/rooms/{room}/members": {
            "parameters": [_room_parameter()],
            "get": _operation("listMembers", "List the members of a room", _responses(MemberList, 400, 503)),
        },
        "/health": {"get": _health_operation()},
    }


def _read_operation(limits: Limits) -> Json:
    text = {"type": "string"}
    time = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "maxLength": 0}]}
    position = {"type": "string", "pattern": POSITION_PATTERN}
    parameters = [
        _parameter("after", "query", position, "A `seq` or a cursor; the page starts after it."),
        _parameter("before", "query", position, "A `seq` or a cursor; the page ends before it."),
        _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": limits.history, "default": 100}, ""),
        _parameter("search", "query", text, "Text that the body contains; case is ignored."),
        _parameter("since", "query", time, "Inclusive."),
        _parameter("until", "query", time, "Exclusive."),
        _parameter("sender", "query", _sender_schema(), "Only messages of this sender."),
    ]
    responses = _responses(MessagePage, 400, 503, other={NDJSON: {"schema": {"type": "string"}}})
    return _operation(
        "readMessages", "Read a page of messages: the newest, without `after` and `before`", responses, parameters
    )


def _publish_operation(limits: Limits) -> Json:
    parameters = [
        _parameter("name", "query", _sender_schema(), "The sender."),
        _parameter(
            "Idempotency-Key", "header", _key_schema(), "The message's key: repeated requests store the message once."
        ),
    ]
    message = {"content": {JSON: {"schema": _ref(WireMessage)}}}
    responses = {
        "201": {"description": "The message is committed.", **message},
        "200": {"description": "A message with this key was stored before; this is that message.", **message},
        **_error_responses(400, 409, 413, 429, 503),
    }
    raw = {"schema": {"type": "string", "minLength": 1, "example": "hello"}}
    body = {
        "required": True,
        "description": f"JSON; or, with any other content type, the text itself, of at most {limits.body} bytes.",
        "content": {JSON: {"schema": _ref(PublishRequest)}, "text/plain": raw},
    }
    return {**_operation("publish", "Publish a message", responses, parameters), "requestBody": body}


def _follow_operation(limits: Limits) -> Json:
    cursor = {"type": "string", "pattern": CURSOR_PATTERN, "example": "k3f9x2ab:42"}
    history = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
    parameters = [
        _parameter("after", "query", cursor, "The cursor to resume from."),
        _parameter(
            "history", "query", history, f"How many messages to start with, without `after`; {limits.history} at most."
        ),
        _parameter("Last-Event-ID", "header", cursor, "The cursor to resume from; it overrides `after`."),
    ]
    event = {
        "type": "object",
        "properties": {
            "id": cursor,
            "event": {
                "type": "string",
                "description": "Absent for a message; otherwise `ping`, `gap`, `restored` or an error code.",
            },
            "data": {"type": "string", "description": "JSON: a message, if the event has no name."},
            "retry": {"type": "integer"},
        },
    }
    stream = {
        "description": "Events whose ids are cursors, or lines of JSON. After every 15 s of silence there is a `ping`.",
        "content": {"text/event-stream": {"schema": event}, NDJSON: {"schema": {"type": "string"}}},
    }
    return _operation("followRoom", "Follow a room", {"200": stream, **_error_responses(400, 503)}, parameters)


def _health_operation() -> Json:
    content = {"content": {JSON: {"schema": _ref(Health)}}}
    responses = {
        "200": {"description": "The server works.", **content},
        "503": {"description": "The store is unavailable.", **content},
    }
    description = "Every client gets `status`; the other fields need the token."
    return {
        "operationId": "health",
        "summary": "Check whether the server works",
        "description": description,
        "tags": ["server"],
        "security": [{}, {"bearer": []}, {"query": []}, {"cookie": []}],
        "responses": responses,
    }


def _operation(name: str, summary: str, responses: Json, parameters: list[Json] | None = None) -> Json:
    optional = {"parameters": parameters} if parameters else {}
    return {"operationId": name, "summary": summary, "tags": ["rooms"], **optional, "responses": responses}


def _responses(struct: type, *errors: int, other: Json | None = None) -> Json:
    content = {JSON: {"schema": _ref(struct)}, **(other or {})}
    return {
        "200": {"description": (struct.__doc__ or "").splitlines()[0], "content": content},
        **_error_responses(*errors),
    }


def _error_responses(*statuses: int) -> Json:
    return {str(status): {"$ref": f"#/components/responses/Error{status}"} for status in (*statuses, 401, 403)}


def _error_response(status: int) -> Json:
    retry = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}} if status == 429 else {}
    return {
        "description": ERRORS[status],
        "content": {PROBLEM: {"schema": _ref(Problem)}},
        **({"headers": retry} if retry else {}),
    }


def _room_parameter() -> Json:
    schema = {"type": "string", "pattern": ROOM_PATTERN, "minLength": 1, "maxLength": MAX_ROOM_CHARS}
    return _parameter("room", "path", schema, "Letters, marks and digits of any script, `-`, `_` and `.`, in NFC.")


def _sender_schema() -> Json:
    return {"type": "string", "pattern": SENDER_PATTERN, "example": "ann"}


def _key_schema() -> Json:
    return {"type": "string", "pattern": "^[ -~]+$", "minLength": 1, "maxLength": MAX_KEY_CHARS}


def _parameter(name: str, location: str, schema: Json, description: str) -> Json:
    required = {"required": True} if location == "path" else {}
    described = {"description": description} if description else {}
    return {"name": name, "in": location, **required, **described, "schema": schema}


def _ref(struct: type) -> Json:
    return {"$ref": f"#/components/schemas/{struct.__name__}"}

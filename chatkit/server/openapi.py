"""The OpenAPI document of the HTTP API, written by hand: each operation with its parameters, body and responses."""

from typing import Final

import msgspec

from chatkit import __version__
from chatkit.core.model import Limits
from chatkit.server.metrics import METRICS, WORKER
from chatkit.server.openapi_access import STRUCTS as ACCESS_STRUCTS
from chatkit.server.openapi_access import access_paths, access_schemas, room_operations
from chatkit.server.openapi_consumers import STRUCTS as CONSUMER_STRUCTS
from chatkit.server.openapi_consumers import consumer_paths
from chatkit.server.openapi_errors import error_examples, name_errors
from chatkit.server.openapi_examples import EVENTS, LINES
from chatkit.server.openapi_hooks import hook_paths, hook_schemas
from chatkit.server.openapi_mcp import mcp_paths, mcp_schemas
from chatkit.server.openapi_messages import STRUCTS as MESSAGE_STRUCTS
from chatkit.server.openapi_messages import message_paths
from chatkit.server.openapi_parts import (
    NDJSON,
    POSITION_PATTERN,
    SECURITY,
    SECURITY_SCHEMES,
    Json,
    cursor_schema,
    draft_schemas,
    error_responses,
    json_content,
    key_schema,
    mark_times,
    operation,
    parameter,
    responses_of,
    room_parameter,
    sender_schema,
    start_schema,
)
from chatkit.wire.http import Health, MemberList, MessagePage, Problem, PublishRequest, RoomList, RoomView
from chatkit.wire.protocol import WireMessage

DESCRIPTION: Final = (
    "Rooms are logs of messages. Every message has a `seq`, and every answer a `cursor` from which to read on. "
    "A token is a name with rights; a room that a client may not read does not exist for it. "
    "Errors are problem details (RFC 9457) with a `code`. The WebSocket is described by `asyncapi.json` beside this."
)
STRUCTS: Final = (RoomList, RoomView, MemberList, MessagePage, WireMessage, PublishRequest, Health, Problem)


def openapi_document(limits: Limits, path_prefix: str, *, needs_token: bool) -> Json:
    """Return the document for a server with these limits at this path prefix."""
    structs = (*STRUCTS, *ACCESS_STRUCTS, *MESSAGE_STRUCTS, *CONSUMER_STRUCTS)
    _, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    schemas |= mcp_schemas()
    schemas["PublishRequest"] |= _publish_schema(limits)
    for name, properties in access_schemas().items():
        schemas[name]["properties"] |= properties
    schemas |= hook_schemas()
    schemas["RoomSettingsChange"]["minProperties"] = 1
    schemas["Problem"]["required"] = ["code", "title", "status", "detail"]  # optional only in the answers of proxies
    mark_times(schemas)
    paths = _paths(limits)
    responses = name_errors(paths, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "chatkit", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": path_prefix or "/"}],
        "security": SECURITY if needs_token else [{}, *SECURITY],  # an empty requirement makes the token optional
        "tags": [{"name": name} for name in ("rooms", "access", "moderation", "server")],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": responses,
            "examples": error_examples(),
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _publish_schema(limits: Limits) -> Json:
    """Return the parts of the schema that msgspec cannot derive: a body or data is required, and both have limits.

    `not` says that one of them is required, because generators of clients make several classes from an `anyOf`.
    """
    null = {"type": "null"}
    return {
        "properties": draft_schemas(limits),
        "not": {"properties": {"body": null, "data": null}},
    }


def _paths(limits: Limits) -> dict[str, Json]:
    return {
        "/rooms": {"get": operation("listRooms", "List the rooms", responses_of(RoomList, 400, 503))},
        "/rooms/{room}": {
            "parameters": [room_parameter()],
            "get": operation("showRoom", "Show a room", responses_of(RoomView, 400, 404, 503)),
            **room_operations(),
        },
        "/rooms/{room}/messages": {
            "parameters": [room_parameter()],
            "get": _read_operation(limits),
            "post": _publish_operation(limits),
        },
        **message_paths(limits),
        "/rooms/{room}/events": {"parameters": [room_parameter()], "get": _follow_operation(limits)},
        "/rooms/{room}/members": {
            "parameters": [room_parameter()],
            "get": operation("listMembers", "List the members of a room", responses_of(MemberList, 400, 404, 503)),
        },
        **consumer_paths(),
        **access_paths(),
        **hook_paths(),
        **mcp_paths(),
        "/health": {"get": _health_operation()},
        "/metrics": {"get": _metrics_operation()},
    }


def _read_operation(limits: Limits) -> Json:
    text = {"type": "string"}
    time = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "maxLength": 0}]}
    position = {"type": "string", "pattern": POSITION_PATTERN}
    parameters = [
        parameter("after", "query", position, "A `seq` or a cursor; the page starts after it."),
        parameter("before", "query", position, "A `seq` or a cursor; the page ends before it."),
        parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": limits.history, "default": 100}, ""),
        parameter("search", "query", text, "Text that the body contains; case is ignored."),
        parameter("since", "query", time, "Inclusive."),
        parameter("until", "query", time, "Exclusive."),
        parameter("sender", "query", sender_schema(), "Only messages of this sender."),
        parameter("of", "query", {"type": "integer"}, "Replies to this message; with `raw`, all that refers to it."),
        parameter("pinned", "query", {"type": "boolean", "default": False}, "Only messages that are pinned now."),
        parameter("raw", "query", {"type": "boolean", "default": False}, "The log as it was written."),
    ]
    responses = responses_of(MessagePage, 400, 404, 503, other=_lines())
    return operation(
        "readMessages", "Read a page of messages: the newest, without `after` and `before`", responses, parameters
    )


def _lines() -> Json:
    return {NDJSON: {"schema": {"type": "string"}, "example": LINES}}


def _publish_operation(limits: Limits) -> Json:
    parameters = [
        parameter("name", "query", sender_schema(), "The sender."),
        parameter(
            "Idempotency-Key", "header", key_schema(), "The message's key: repeated requests store the message once."
        ),
    ]
    message = {"content": json_content(WireMessage)}
    responses = {
        "201": {"description": "The message is committed.", **message},
        "200": {"description": "A message with this key was stored before; this is that message.", **message},
        **error_responses(400, 404, 409, 413, 422, 503),
    }
    raw = {"schema": {"type": "string", "minLength": 1}, "example": "hello"}
    body = {
        "required": True,
        "description": f"JSON; or, with any other content type, the text itself, of at most {limits.body} bytes.",
        "content": {**json_content(PublishRequest), "text/plain": raw},
    }
    return {**operation("publish", "Publish a message", responses, parameters), "requestBody": body}


def _follow_operation(limits: Limits) -> Json:
    cursor = cursor_schema()
    parameters = [
        parameter("after", "query", cursor, "The cursor to resume from."),
        parameter(
            "history",
            "query",
            start_schema(),
            f"How many messages to start with, without `after`; {limits.history} at most.",
        ),
        parameter("Last-Event-ID", "header", cursor, "The cursor to resume from; it overrides `after`."),
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
        "content": {"text/event-stream": {"schema": event, "example": EVENTS}, **_lines()},
    }
    return operation("followRoom", "Follow a room", {"200": stream, **error_responses(400, 404, 503)}, parameters)


def _health_operation() -> Json:
    content = {"content": json_content(Health)}
    responses = {
        "200": {"description": "The server works.", **content},
        "503": {"description": "The store is unavailable.", **content},
    }
    description = "Every client gets `status`; the other fields need an administrator's token or the server's secret."
    return {
        "operationId": "health",
        "summary": "Check whether the server works",
        "description": description,
        "tags": ["server"],
        "security": [{}, *SECURITY],
        "responses": responses,
    }


def _metrics_operation() -> Json:
    text = {"schema": {"type": "string"}, "example": 'chatkit_connections{kind="json",worker="0"} 12.0'}
    responses = {
        "200": {"description": "One line for each value.", "content": {"text/plain": text}},
        **error_responses(429),
    }
    listed = " ".join(f"`{metric.name}` ({metric.kind}): {metric.meaning}" for metric in METRICS)
    return {
        "operationId": "metrics",
        "summary": "Read the metrics of all workers, in the text format of Prometheus",
        "description": f"For operators. Every metric has the label `{WORKER}`. {listed}",
        "tags": ["server"],
        "responses": responses,
    }

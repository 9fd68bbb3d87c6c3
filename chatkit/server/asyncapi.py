"""The AsyncAPI document of the WebSocket, made from the types with which server and client decode its frames."""

from typing import Final, get_args

import msgspec

from chatkit import __version__
from chatkit.core.model import Limits
from chatkit.server.asyncapi_examples import COMMANDS, EVENTS, json_examples, text_examples
from chatkit.server.openapi_parts import (
    JSON,
    SECURITY_SCHEMES,
    Json,
    cursor_schema,
    draft_schemas,
    mark_times,
    room_schema,
    sender_schema,
    start_schema,
    start_text,
)
from chatkit.session.formats import FORMATS
from chatkit.websocket.codes import CloseCode
from chatkit.wire.codes import LAST_FATAL_CLOSE_CODE, AnyCloseCode, PrivateCloseCode
from chatkit.wire.protocol import (
    SUBPROTOCOL,
    AckEvent,
    AnyCommand,
    AnyEvent,
    Command,
    ErrorEvent,
    HistoryCommand,
    HistoryEvent,
    JoinCommand,
    JoinedEvent,
    LeaveCommand,
    LeftEvent,
    MarkCommand,
    MarkedEvent,
    MembersCommand,
    MembersEvent,
    PingCommand,
    PongEvent,
    PublishCommand,
    ServerEvent,
    UnreadCommand,
    UnreadEvent,
    WireGap,
    WireMessage,
)

DESCRIPTION: Final = (
    f"The server receives commands and sends events. With the subprotocol `{SUBPROTOCOL}`, each text frame is one JSON "
    "object, and unknown fields are ignored; without a subprotocol, a text frame is the body of a message. The answer "
    "to a command has its `ref`. HTTP is described by `openapi.json`, beside this document."
)
ANSWERS: Final[dict[type[Command], type[ServerEvent]]] = {
    JoinCommand: JoinedEvent,
    LeaveCommand: LeftEvent,
    PublishCommand: AckEvent,
    HistoryCommand: HistoryEvent,
    MembersCommand: MembersEvent,
    MarkCommand: MarkedEvent,
    UnreadCommand: UnreadEvent,
    PingCommand: PongEvent,
}
"""The event that answers a command with a `ref`, unless an `error` does. The other commands have no answer."""

CLOSE_CODES: Final[dict[AnyCloseCode, str]] = {
    CloseCode.UNSUPPORTED_DATA: "a binary frame was received",
    CloseCode.INVALID_PAYLOAD: "a text frame was not UTF-8",
    CloseCode.POLICY_VIOLATION: "a request that the server cannot carry out; the reason explains it",
    CloseCode.MESSAGE_TOO_BIG: "a frame or message is too big",
    CloseCode.SERVICE_RESTART: "the server restarts",
    PrivateCloseCode.UNAUTHORIZED: "no valid token, or it was revoked or has expired",
    PrivateCloseCode.FORBIDDEN: "not allowed, banned, or the name belongs to somebody else",
    PrivateCloseCode.NOT_FOUND: (
        "no such address (rooms are at `/ws`), or no such room for this client, or the room of a plain-text connection "
        "was renamed"
    ),
    PrivateCloseCode.UNAVAILABLE: "the store is unavailable",
    PrivateCloseCode.OVERLOADED: "the client is too slow, or there are too many connections or wrong tokens",
}
_JSON_CHANNELS: Final = {"rooms": "/ws", "room": "/ws/{room}"}
_TEXT_CHANNELS: Final = {"textRoom": "/ws/{room}", "textChat": "/ws"}
_SUMMARIES: Final = {
    "rooms": f"`{SUBPROTOCOL}`, at first in no room.",
    "room": f"`{SUBPROTOCOL}`, in the room at once.",
    "textRoom": "Plain text, in the room.",
    "textChat": "Plain text, in the room `chat`.",
}
_COMMAND_TYPES: Final[tuple[type[Command], ...]] = get_args(AnyCommand)
_EVENT_TYPES: Final[tuple[type[ServerEvent], ...]] = get_args(AnyEvent)
_TEXT_FRAMES: Final = ("Text", "JsonMessage")


def asyncapi_document(limits: Limits, path_prefix: str, *, needs_token: bool) -> Json:
    """Return the document for a server with these limits at this path prefix."""
    token = {"security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in SECURITY_SCHEMES]}
    host = {"default": "127.0.0.1:8000", "description": "The server's name and port."}
    server = {
        "host": "{host}",
        **({"pathname": path_prefix} if path_prefix else {}),
        "description": "A token is required." if needs_token else "A token is optional.",
        "variables": {"host": host},
        **(token if needs_token else {}),  # an AsyncAPI document cannot make security optional
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "chatkit", "version": __version__, "description": DESCRIPTION},
        "defaultContentType": JSON,
        "servers": {protocol: {"protocol": protocol, **server} for protocol in ("ws", "wss")},
        "channels": _channels(limits),
        "operations": _operations(),
        "components": {
            "messages": {**_json_messages(), **_text_messages()},
            "schemas": _schemas(limits),
            "securitySchemes": {name: _security_scheme(scheme) for name, scheme in SECURITY_SCHEMES.items()},
        },
        "x-close-codes": [
            {"code": int(code), "meaning": meaning, "reconnect": reconnects(code)}
            for code, meaning in CLOSE_CODES.items()
        ],
    }


def reconnects(code: AnyCloseCode) -> str:
    """Return whether a client reconnects automatically after a close code; nothing if that is up to the client."""
    if code == CloseCode.SERVICE_RESTART:
        return "yes"
    if code < PrivateCloseCode.UNAUTHORIZED:
        return ""
    return "no" if code <= LAST_FATAL_CLOSE_CODE else "yes, with back-off"


def _security_scheme(scheme: Json) -> Json:
    return {**scheme, "type": "httpApiKey"} if scheme["type"] == "apiKey" else scheme


# Channels


def _channels(limits: Limits) -> Json:
    json_messages = [kind.__name__ for kind in (*_COMMAND_TYPES, *_EVENT_TYPES)]
    query = _query(limits)
    text_query = {**query, "format": {"type": "string", "enum": list(FORMATS), "default": "text"}}
    offered = {"Sec-WebSocket-Protocol": {"type": "string", "const": SUBPROTOCOL}}
    return {
        **{name: _channel(name, path, json_messages, query, offered) for name, path in _JSON_CHANNELS.items()},
        **{name: _channel(name, path, _TEXT_FRAMES, text_query, {}) for name, path in _TEXT_CHANNELS.items()},
    }


def _channel(name: str, path: str, messages: list[str] | tuple[str, ...], query: Json, headers: Json) -> Json:
    room = {"parameters": {"room": {"description": "The room's name, percent-encoded."}}} if "{room}" in path else {}
    required = {"required": list(headers)} if headers else {}
    return {
        "address": path,
        "summary": _SUMMARIES[name],
        **room,
        "messages": {each: {"$ref": f"#/components/messages/{each}"} for each in messages},
        "bindings": {
            "ws": {
                "method": "GET",
                "query": {"type": "object", "properties": query},
                "headers": {"type": "object", "properties": headers, **required},
                "bindingVersion": "0.1.0",
            }
        },
    }


def _query(limits: Limits) -> Json:
    return {
        "name": {**sender_schema(), "description": "The sender, unless a token names it."},
        "token": {"type": "string", "description": "The token, for clients that cannot send headers."},
        "after": {**cursor_schema(), "description": "The cursor to resume from."},
        "history": {**start_schema(), "description": start_text(limits)},
    }


# Operations


def _operations() -> Json:
    operations: Json = {}
    for channel in _JSON_CHANNELS:
        for kind in _COMMAND_TYPES:
            operations[f"{channel}{kind.__name__.removesuffix('Command')}"] = _command(channel, kind)
        operations[f"{channel}Events"] = _operation("send", channel, *(kind.__name__ for kind in _EVENT_TYPES))
    for channel in _TEXT_CHANNELS:
        operations[f"{channel}Publish"] = _operation("receive", channel, "Text")
        operations[f"{channel}Messages"] = _operation("send", channel, *_TEXT_FRAMES)
    return operations


def _command(channel: str, kind: type[Command]) -> Json:
    received = _operation("receive", channel, kind.__name__)
    if kind not in ANSWERS:
        return received
    answer = _operation("send", channel, ANSWERS[kind].__name__, ErrorEvent.__name__)
    return {**received, "reply": {"channel": answer["channel"], "messages": answer["messages"]}}


def _operation(action: str, channel: str, *messages: str) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }


# Messages


def _json_messages() -> Json:
    return {
        **{kind.__name__: _message(kind) for kind in _COMMAND_TYPES},
        **{kind.__name__: _message(kind) for kind in _EVENT_TYPES},
    }


def _message(kind: type[Command | ServerEvent]) -> Json:
    examples = [{"payload": msgspec.to_builtins(each)} for each in (*COMMANDS, *EVENTS) if type(each) is kind]
    correlation = {"correlationId": {"location": "$message.payload#/ref"}}
    return {
        "name": kind.__struct_config__.tag,
        "summary": (kind.__doc__ or "").partition("\n")[0],
        "contentType": JSON,
        **(correlation if "ref" in kind.__struct_fields__ else {}),
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        "examples": examples,
    }


def _text_messages() -> Json:
    """Return the frames of plain text, whose objects are those of messages and gaps, with a cursor in addition."""
    objects = [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in (WireMessage, WireGap)]
    return {
        "Text": {
            "name": "text",
            "summary": "The body of a message, in the format `line` after its sender; `! ` begins a line of the server",
            "contentType": "text/plain",
            "payload": {"type": "string"},
            "examples": [{"payload": each} for each in text_examples()],
        },
        "JsonMessage": {
            "name": "json",
            "summary": "A message or a gap in the format `json`, with the cursor to resume from.",
            "contentType": JSON,
            "payload": {
                "type": "object",
                "properties": {"cursor": cursor_schema()},
                "required": ["cursor"],
                "anyOf": objects,
            },
            "examples": [{"payload": each} for each in json_examples()],
        },
    }


def _schemas(limits: Limits) -> Json:
    kinds = (*_COMMAND_TYPES, *_EVENT_TYPES, WireMessage, WireGap)
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    mark_times(schemas)
    schemas["PublishCommand"]["properties"] |= draft_schemas(limits)
    for kind in _COMMAND_TYPES:
        schemas[kind.__name__]["properties"]["room"] = {"anyOf": [room_schema(), {"type": "null"}], "default": None}
    return schemas

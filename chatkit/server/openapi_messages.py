"""The part of the OpenAPI document about single messages, and about what a client has read."""

from typing import Any, Final
from urllib.parse import quote

from chatkit.core.emoji import MAX_EMOJI_CHARS
from chatkit.core.model import Limits
from chatkit.core.text import MAX_SEARCH_CHARS
from chatkit.server.openapi_examples import ENTRY
from chatkit.server.openapi_parts import (
    Json,
    error_responses,
    json_content,
    operation,
    parameter,
    responses_of,
    room_parameter,
    sender_schema,
)
from chatkit.server.read_routes import LISTED, MAX_LISTED
from chatkit.wire.http import EditRequest, MarkerRequest, MarkerView, MessageList, UnreadList
from chatkit.wire.protocol import WireMessage

STRUCTS: Final = (EditRequest, MarkerRequest, MarkerView, MessageList, UnreadList)
LISTING_PATTERN: Final = r"^([0-9]{1,18}:[0-9]{1,18}:.+)?$"


def message_paths(limits: Limits) -> dict[str, Json]:
    """Return the addresses of single messages, and those of what a client has read."""
    show = operation("showMessage", "Show a message in its current state", responses_of(WireMessage, 400, 404, 503))
    redacted = responses_of(WireMessage, 400, 404, 422, 503)
    redact = operation("redact", "Redact a message: remove its body, data and edits", redacted, [_name_parameter()])
    return {
        "/rooms/{room}/messages/{seq}": {
            "parameters": [room_parameter(), _seq_parameter()],
            "get": show,
            "patch": _edit_operation(limits),
            "delete": redact,
        },
        "/rooms/{room}/messages/{seq}/reactions/{emoji}": {
            "parameters": [room_parameter(), _seq_parameter(), _emoji_parameter()],
            "put": _react_operation(),
            "delete": operation("unreact", "Remove a reaction", _answers(), [_name_parameter()]),
        },
        "/rooms/{room}/marker": {
            "parameters": [room_parameter()],
            "get": operation(
                "showMarker",
                "Show what was read of a room",
                responses_of(MarkerView, 400, 404, 503),
                [_name_parameter()],
            ),
            "put": _mark_operation(),
        },
        "/unread": {
            "get": operation(
                "listUnread", "List what was not read", responses_of(UnreadList, 400, 503), [_name_parameter()]
            )
        },
        "/mentions": {
            "get": operation(
                "listMentions",
                "List the messages that mention the client's name",
                responses_of(MessageList, 400, 503),
                [*_listing_parameters(), _name_parameter()],
            )
        },
        "/search": {"get": _search_operation()},
    }


def _edit_operation(limits: Limits) -> Json:
    described = {
        "required": True,
        "description": f"The new text, of at most {limits.body} bytes of UTF-8.",
        "content": json_content(EditRequest, {"body": "corrected"}),
    }
    edit = operation("edit", "Give one's own message another text", _answers(413), [_name_parameter()])
    return {**edit, "requestBody": described}


def _react_operation() -> Json:
    responses = {
        "201": {"description": "The entry that was stored.", "content": json_content(WireMessage, ENTRY)},
        "200": {"description": "The emoji was there; this is the message.", "content": json_content(WireMessage)},
        **error_responses(400, 404, 422, 503),
    }
    return operation("react", "Put an emoji to a message", responses, [_name_parameter()])


def _mark_operation() -> Json:
    mark = operation(
        "mark", "Note what was read of a room", responses_of(MarkerView, 400, 404, 409, 413, 503), [_name_parameter()]
    )
    described = "The number of the newest message that was read."
    body = {
        "required": True,
        "description": described,
        "content": json_content(MarkerRequest, {"seq": 42}),
    }
    return {**mark, "requestBody": body}


def _search_operation() -> Json:
    text = {"type": "string", "minLength": 1, "maxLength": MAX_SEARCH_CHARS}
    wanted = parameter("q", "query", text, "Text that the body contains; case is ignored.") | {"required": True}
    return operation(
        "search",
        "Search all rooms that the client may read",
        responses_of(MessageList, 400, 503),
        [wanted, *_listing_parameters()],
    )


def _answers(*errors: int) -> Json:
    return responses_of(WireMessage, 400, 404, 422, 503, *errors)


def _listing_parameters() -> list[Json]:
    cursor = {"type": "string", "pattern": LISTING_PATTERN}
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_LISTED, "default": LISTED}
    return [
        parameter("before", "query", cursor, "The `cursor` of an earlier list, for the older messages."),
        parameter("limit", "query", limit, ""),
    ]


def _name_parameter() -> Json:
    return parameter("name", "query", sender_schema(), "The client's name, unless its token has one.")


def _seq_parameter() -> Json:
    return parameter("seq", "path", {"type": "integer", "minimum": 1}, "The message.")


def _emoji_parameter() -> Json:
    schema: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": MAX_EMOJI_CHARS, "example": ":tada:"}
    return parameter("emoji", "path", schema, f"One emoji, such as `{quote('👍')}`, or a name between colons.")

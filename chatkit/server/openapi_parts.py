"""The parts of the OpenAPI document that its operations share: parameters, schemas of values, and responses."""

from typing import Any, Final

from chatkit.core.model import MAX_KEY_CHARS, MAX_ROOM_CHARS, MAX_SENDER_CHARS
from chatkit.wire.http import Problem

Json = dict[str, Any]

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
PROBLEM: Final = "application/problem+json"
ROOM_PATTERN: Final = r"^[\p{L}\p{M}\p{Nd}_-][\p{L}\p{M}\p{Nd}._-]*$"
_SHOWN: Final = r"\p{L}\p{M}\p{N}\p{P}\p{S}"
# The server removes spaces at the ends of a name before it checks the length.
_NAME: Final = rf" *[{_SHOWN}]([{_SHOWN} ]{{0,{MAX_SENDER_CHARS - 2}}}[{_SHOWN}])? *"
NAME_PATTERN: Final = f"^{_NAME}$"
SENDER_PATTERN: Final = f"^({_NAME})?$"  # an empty name means no name
CURSOR_PATTERN: Final = r"^([A-Za-z0-9]{1,32}:[0-9]{1,18})?$"
POSITION_PATTERN: Final = r"^([A-Za-z0-9]{1,32}:)?[0-9]{1,18}$"

SECURITY: Final[list[Json]] = [{"bearer": []}, {"query": []}, {"cookie": []}]

ERRORS: Final[dict[int, str]] = {
    400: "A name, cursor, query parameter or body is invalid.",
    401: "The token is missing or wrong.",
    403: (
        "The client does not have the right, or is banned; the name belongs to somebody else; the invite was used; the "
        "request comes from another site, or its `Host` is not a name of this server. See `code`."
    ),
    404: "There is no such room, message, consumer, token, ban or webhook, or the client may not know of it.",
    409: "The key belongs to another message, or the lease has run out. See `code`.",
    413: "The body or the data is larger than the limit.",
    422: "A message cannot refer to that one: it does not exist, is a change itself, or was redacted.",
    429: (
        "The client exceeds the rate limit, or its address has sent too many wrong tokens; `Retry-After` and "
        "`retry_after_s` give the seconds to wait."
    ),
    503: "The store is unavailable, or the server is full or shutting down; nothing was stored.",
}


def operation(
    name: str, summary: str, responses: Json, parameters: list[Json] | None = None, *, tag: str = "rooms"
) -> Json:
    """Return an operation."""
    optional = {"parameters": parameters} if parameters else {}
    return {"operationId": name, "summary": summary, "tags": [tag], **optional, "responses": responses}


def responses_of(struct: type, *errors: int, other: Json | None = None, status: int = 200) -> Json:
    """Return the responses of an operation that answers with a value, beside the errors of every operation."""
    content = {JSON: {"schema": ref(struct)}, **(other or {})}
    return {
        str(status): {"description": (struct.__doc__ or "").splitlines()[0], "content": content},
        **error_responses(*errors),
    }


def error_responses(*statuses: int) -> Json:
    """Return the responses for errors with these statuses, and with those of every operation."""
    return {str(status): {"$ref": f"#/components/responses/Error{status}"} for status in (*statuses, 401, 403, 429)}


def error_response(status: int) -> Json:
    """Return the response for errors with a status, to which `error_responses` refers."""
    retry = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}} if status == 429 else {}
    return {
        "description": ERRORS[status],
        "content": {PROBLEM: {"schema": ref(Problem)}},
        **({"headers": retry} if retry else {}),
    }


def room_parameter() -> Json:
    """Return the parameter of a path that names a room."""
    return parameter(
        "room", "path", room_schema(), "Letters, marks and digits of any script, `-`, `_` and `.`, in NFC."
    )


def room_schema() -> Json:
    """Return the schema of a room's name."""
    return {"type": "string", "pattern": ROOM_PATTERN, "minLength": 1, "maxLength": MAX_ROOM_CHARS}


def sender_schema() -> Json:
    """Return the schema of a sender's name."""
    return {"type": "string", "pattern": SENDER_PATTERN, "example": "ann"}


def name_schema() -> Json:
    """Return the schema of a name that is required."""
    return {"type": "string", "pattern": NAME_PATTERN, "example": "ann"}


def key_schema() -> Json:
    """Return the schema of a message's key."""
    return {"type": "string", "pattern": "^[ -~]+$", "minLength": 1, "maxLength": MAX_KEY_CHARS}


def parameter(name: str, location: str, schema: Json, description: str) -> Json:
    """Return a parameter in the path, the query or a header."""
    required = {"required": True} if location == "path" else {}
    described = {"description": description} if description else {}
    return {"name": name, "in": location, **required, **described, "schema": schema}


def ref(struct: type) -> Json:
    """Return the reference to the schema of a body."""
    return {"$ref": f"#/components/schemas/{struct.__name__}"}

"""The parts that operations of the OpenAPI document share: parameters, schemas of values, and responses.

The AsyncAPI document uses those that have no HTTP in them.
"""

from typing import Any, Final

from chatkit.core.message_state import Act
from chatkit.core.model import MAX_KEY_CHARS, MAX_ROOM_CHARS, MAX_SENDER_CHARS, Limits
from chatkit.server.openapi_examples import EXAMPLES

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

TIMES: Final = {
    "time", "since", "created", "expires", "last_used", "revoked", "previous_until", "until",
    "failing_since", "next_try", "parked",
}  # RFC 3339  # fmt: skip
_ACTS: Final = [act.value for act in Act if act is not Act.REDACT]

SECURITY_SCHEMES: Final[dict[str, Json]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token, or the server's secret."},
    "query": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "For clients that cannot send headers, such as EventSource.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "chatkit_8000",
        "description": "Set by `POST /session` and `/?token=TOKEN`; the name contains the port.",
    },
}
SECURITY: Final[list[Json]] = [{name: []} for name in SECURITY_SCHEMES]

ERRORS: Final[dict[int, str]] = {
    400: "A name, cursor, query parameter or body is invalid.",
    401: "The token is missing or wrong.",
    403: (
        "The client does not have the right, or is banned; the name belongs to somebody else; the invite was used; the "
        "request comes from another site, or its `Host` is not a name of this server. See `code`."
    ),
    404: "There is no such room, message, consumer, token, ban or webhook, or the client may not know of it.",
    409: (
        "The room was renamed, a setting was changed at the same time, the key belongs to another message, the lease "
        "has run out, or a bot has to wait until a person has written. See `code`."
    ),
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


def summary_of(struct: type) -> str:
    """Return the first line of the description of a value; it is empty if Python runs without docstrings."""
    return (struct.__doc__ or "").partition("\n")[0]


def responses_of(struct: type, *errors: int, other: Json | None = None, status: int = 200) -> Json:
    """Return the responses of an operation that answers with a value, beside the errors of every operation."""
    content = {**json_content(struct), **(other or {})}
    return {
        str(status): {"description": summary_of(struct), "content": content},
        **error_responses(*errors),
    }


def error_responses(*statuses: int) -> Json:
    """Return the responses for errors with these statuses, and those of every operation. `name_errors` fills them."""
    return {str(status): {} for status in (*statuses, 401, 403, 429)}


def json_content(struct: type, example: Json | None = None) -> Json:
    """Return a body of JSON, with the example of its type unless another is given."""
    return {JSON: {"schema": ref(struct), "example": example or EXAMPLES[struct]}}


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


def cursor_schema() -> Json:
    """Return the schema of a cursor; an empty one means none."""
    return {"type": "string", "pattern": CURSOR_PATTERN, "example": "k3f9x2ab:42"}


def start_schema() -> Json:
    """Return the schema of the number of messages with which a reader starts."""
    return {"type": "integer", "minimum": 0, "maximum": 999_999_999}


def start_text(limits: Limits) -> str:
    """Return the description of that number."""
    return f"How many messages to start with, without `after`; {limits.history} at most."


def draft_schemas(limits: Limits) -> dict[str, Json]:
    """Return the schemas of the properties of a message to publish, whose limits msgspec cannot derive."""
    null = {"type": "null"}
    return {
        "body": {"type": ["string", "null"], "description": f"Text of at most {limits.body} bytes of UTF-8."},
        "data": {"description": f"Any JSON value of at most {limits.data} bytes."},
        "key": {"anyOf": [key_schema(), null]},
        "of": {"anyOf": [{"type": "integer", "minimum": 1}, null], "description": "The message that it refers to."},
        "act": {
            "anyOf": [{"type": "string", "enum": _ACTS}, null],
            "description": "What it does to that message; without it, it is a reply.",
        },
    }


def mark_times(schemas: dict[str, Json]) -> None:
    """Give the times of answers their format: msgspec derives plain strings."""
    for schema in schemas.values():
        for name in TIMES & schema.get("properties", {}).keys():
            for variant in (schema["properties"][name], *schema["properties"][name].get("anyOf", ())):
                if variant.get("type") == "string":
                    variant["format"] = "date-time"


def parameter(name: str, location: str, schema: Json, description: str) -> Json:
    """Return a parameter in the path, the query or a header."""
    required = {"required": True} if location == "path" else {}
    described = {"description": description} if description else {}
    return {"name": name, "in": location, **required, **described, "schema": schema}


def ref(struct: type) -> Json:
    """Return the reference to the schema of a body."""
    return {"$ref": f"#/components/schemas/{struct.__name__}"}

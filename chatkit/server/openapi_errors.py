"""The errors of each operation in the OpenAPI document, with the codes that its parameters and its body can cause."""

from typing import Any, Final

import msgspec

from chatkit.server.openapi_examples import ERROR_EXAMPLES
from chatkit.server.openapi_parts import ERRORS, JSON, PROBLEM, Json, ref
from chatkit.wire.codes import status_of
from chatkit.wire.http import Problem

_CAUSES: Final[dict[str, set[str]]] = {
    "bad-room": {"room", "rooms"},
    "bad-sender": {"name", "sender"},
    "bad-key": {"key", "Idempotency-Key"},
    "bad-cursor": {"after", "before", "Last-Event-ID"},
    "bad-body": {"body", "data", "emoji"},
    "data-too-large": {"data"},
    "name-taken": {"name"},
    "invite-used": {"secret"},
    "room-renamed": {"room"},
    "version-conflict": {"consumer", "seq", "topic", "overlap_s"},
    "key-conflict": {"key", "Idempotency-Key"},
    "lease-expired": {"lease"},
    "bot-loop": {"of"},
}
"""The parameters and properties of which an operation needs one to be refused with a code. Other codes need none."""

_NOT_FOR_READS: Final = frozenset({"version-conflict", "bot-loop"})
"""Codes that refuse only a change."""


def error_examples() -> Json:
    """Return an example of each code, to which the responses refer."""
    return {error.code: {"value": msgspec.to_builtins(Problem.of(error))} for error in ERROR_EXAMPLES}


def name_errors(paths: dict[str, Json], schemas: Json) -> Json:
    """Let the responses of all operations name their codes, and return these responses as components.

    Operations with the same codes for a status share a component.
    """
    components: Json = {}
    for path, item in paths.items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            unused = _NOT_FOR_READS if method == "get" else frozenset[str]()
            fields = _fields(item.get("parameters", []), operation, schemas)
            if "{room}" in path:
                operation["responses"].setdefault("409", {})
            declared = operation["responses"] = dict(sorted(operation["responses"].items()))
            for status in (each for each in declared if not declared[each]):
                codes = [code for code in _codes(int(status), fields) if code not in unused]
                name = f"Error{status}-{'-or-'.join(codes)}"
                components.setdefault(name, _response(int(status), codes))
                declared[status] = {"$ref": f"#/components/responses/{name}"}
    return components


def _fields(shared: list[Json], operation: Json, schemas: Json) -> set[str]:
    """Return the names of an operation's parameters and of the properties of its body."""
    content: dict[str, Any] = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
    properties = schemas[content["schema"]["$ref"].rpartition("/")[2]].get("properties", {}) if content else {}
    return {each["name"] for each in (*shared, *operation.get("parameters", []))} | set(properties)


def _codes(status: int, fields: set[str]) -> list[str]:
    return [
        error.code
        for error in ERROR_EXAMPLES
        if status_of(error) == status and (error.code not in _CAUSES or _CAUSES[error.code] & fields)
    ]


def _response(status: int, codes: list[str]) -> Json:
    retry = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}} if status == 429 else {}
    examples = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}
    return {
        "description": ERRORS[status],
        **({"headers": retry} if retry else {}),
        "content": {PROBLEM: {"schema": ref(Problem), "examples": examples}},
    }

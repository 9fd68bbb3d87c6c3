"""The operation of the OpenAPI document for agents. What its bodies hold is described by MCP itself."""

from typing import Final

from chatkit.server.openapi_parts import JSON, Json, error_responses, operation, parameter, sender_schema

_ID: Final[Json] = {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]}
_VERSION: Final[Json] = {"type": "string", "const": "2.0"}
_OBJECT: Final[Json] = {"type": "object"}


def mcp_schemas() -> dict[str, Json]:
    """Return the schemas of the bodies."""
    call = {"name": "read_messages", "arguments": {"room": "ops"}}
    return {
        "McpRequest": {
            "type": "object",
            "description": "A request or a notification of MCP, as JSON-RPC.",
            "properties": {"jsonrpc": _VERSION, "id": _ID, "method": {"type": "string"}, "params": _OBJECT},
            "required": ["jsonrpc", "method"],
            "example": {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call},
        },
        "McpAnswer": {
            "type": "object",
            "description": "The answer to a request. Errors of tools are results with `isError`.",
            "properties": {"jsonrpc": _VERSION, "id": _ID, "result": _OBJECT, "error": _OBJECT},
            "required": ["jsonrpc", "id"],
        },
    }


def mcp_paths() -> dict[str, Json]:
    """Return the path of MCP."""
    responses = {
        "200": {"description": "The answer.", "content": {JSON: {"schema": _schema_of("McpAnswer")}}},
        "202": {"description": "A notification, which has no answer."},
        **error_responses(400, 404, 413),
    }
    name = parameter("name", "query", sender_schema(), "The sender, on a server that needs no token.")
    post = operation("mcp", "Use rooms as tools (Model Context Protocol)", responses, [name], tag="server")
    body = {
        "required": True,
        "description": "One message of the protocol; it has no lists of them.",
        "content": {JSON: {"schema": _schema_of("McpRequest")}},
    }
    description = "Stateless streamable HTTP: there are no sessions and no streams. 404 if the SDK is not installed."
    return {"/mcp": {"post": {**post, "description": description, "requestBody": body}}}


def _schema_of(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}

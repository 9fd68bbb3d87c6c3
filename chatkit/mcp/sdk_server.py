"""The MCP server: lists the tools, runs them on a `RoomAccess`, and turns their errors into results.

It is made for each request or connection, because making it costs microseconds and keeps clients apart.
"""

import logging
from functools import cache
from typing import Any, Final

import mcp_types as types
import msgspec
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from chatkit import __version__
from chatkit.core.token import mask_secrets
from chatkit.errors import ChatkitError
from chatkit.mcp.arguments import read_arguments
from chatkit.mcp.room_access import RoomAccess
from chatkit.mcp.tool_list import INSTRUCTIONS, TOOLS, ToolDefinition
from chatkit.wire.codes import details_of, text_of

CODE_META: Final = "chatkit/code"  # where the result of a failed call has the code of the error
RETRY_META: Final = "chatkit/retry_after_s"

_BY_NAME: Final = {tool.name: tool for tool in TOOLS}

_logger = logging.getLogger(__name__)


def make_server(access: RoomAccess) -> Server[Any]:
    """Return a server whose tools use the rooms of an access."""

    async def list_tools(_context: object, _params: object) -> types.ListToolsResult:
        return types.ListToolsResult(tools=list(_listed_tools()))

    async def call_tool(_context: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = _BY_NAME.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"there is no tool {mask_secrets(params.name[:80])!r}")
        return await _call(tool, access, params.arguments or {})

    return Server(
        "chatkit",
        version=__version__,
        title="chatkit",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def _call(tool: ToolDefinition, access: RoomAccess, given: dict[str, Any]) -> types.CallToolResult:
    try:
        result, text = await tool.run(access, read_arguments(given, tool.arguments))
    except ChatkitError as error:
        return _failure(error)
    except Exception:
        _logger.exception("the tool %s failed", tool.name)
        return _failure(ChatkitError("the server failed; its log has the reason"))
    return types.CallToolResult(content=[_text(text)], structured_content=msgspec.to_builtins(result))


def _failure(error: ChatkitError) -> types.CallToolResult:
    """Return the result that reports an error. It has no structured content, which would not fit the tool's schema."""
    meta: dict[str, Any] = {CODE_META: error.code}
    retry_after_s = details_of(error).retry_after_s
    if retry_after_s is not None:
        meta[RETRY_META] = retry_after_s
    return types.CallToolResult(content=[_text(f"{error.code}: {text_of(error)}")], is_error=True, _meta=meta)


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)


@cache
def _listed_tools() -> tuple[types.Tool, ...]:
    return tuple(_listed(tool) for tool in TOOLS)


def _listed(tool: ToolDefinition) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=schema_of(tool.arguments),
        output_schema=schema_of(tool.result),
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=not tool.changes,
            destructive_hint=False,
            idempotent_hint=tool.is_idempotent,
            open_world_hint=True,  # what others wrote, or will read
        ),
    )


def schema_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a struct: an object at its root, as MCP requires, and the other types in `$defs`."""
    _, components = msgspec.json.schema_components((kind,), ref_template="#/$defs/{name}")
    schema = {key: value for key, value in components.pop(kind.__name__).items() if key != "title"}
    return {**schema, "$defs": components} if components else schema

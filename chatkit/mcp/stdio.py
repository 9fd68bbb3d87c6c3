"""MCP on standard input and output: the tools use a client of a chatkit server."""

import json
from collections.abc import AsyncIterator
from typing import Any, TextIO, cast

import anyio
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter

from chatkit.client import Client
from chatkit.mcp.sdk_server import make_server


class AgentClient(Client):
    """A client of a server, as a `RoomAccess`."""

    async def own_name(self) -> str:
        """Return the name of this client's messages: that of its token, if it has one. Connect, if it has not."""
        connection = self._connection()
        await connection.ready()
        return connection.name


class RequestLines:
    """The lines of an agent's input that are messages of JSON-RPC. Any other is answered: the SDK would drop it.

    `answers` is to be set before the first line is read.
    """

    answers: Any

    def __init__(self, stdin: TextIO) -> None:
        self._lines = anyio.wrap_file(stdin)

    async def __aiter__(self) -> AsyncIterator[str]:
        async for line in self._lines:
            error = refusal_of(line)
            if error is not None:
                await self.answers.send(SessionMessage(error))
            elif line.strip():
                yield line


def refusal_of(line: str) -> JSONRPCError | None:
    """Return the error that answers a line, or None for a message of JSON-RPC or a blank line.

    Bytes that were not UTF-8 are surrogates in the line.
    """
    if not line.strip():
        return None
    try:
        jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        code, reason, request_id = _explain(line)
        return JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=reason))
    return None


def _explain(line: str) -> tuple[int, str, int | str | None]:
    """Return the code of an error, its sentence, and the id of the request, if the line has one."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return PARSE_ERROR, "the line is not valid JSON", None
    request_id = value.get("id") if isinstance(value, dict) else None
    if isinstance(request_id, bool) or not isinstance(request_id, int | str) or not _is_unicode(str(request_id)):
        request_id = None
    if not _is_unicode(json.dumps(value, ensure_ascii=False)):
        return PARSE_ERROR, "the text has half of a character, or bytes that are not UTF-8", request_id
    return INVALID_REQUEST, "the line is not a message of JSON-RPC 2.0", request_id


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


async def serve(client: AgentClient, stdin: TextIO, stdout: TextIO) -> None:
    """Serve one agent, which writes to `stdin` and reads `stdout`, until its input ends.

    The errors of the streams are raised, in groups.
    """
    lines = RequestLines(stdin)
    async with (
        client,
        stdio_server(cast("anyio.AsyncFile[str]", lines), anyio.wrap_file(stdout)) as (requests, answers),
    ):
        lines.answers = answers  # its task has not run yet
        server = make_server(client)
        await server.run(requests, answers, server.create_initialization_options())

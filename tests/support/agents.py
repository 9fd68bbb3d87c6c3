"""Agents: clients of the MCP SDK, over HTTP or on a client of the server, as `chatkit mcp` uses it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import httpx2
import mcp
import msgspec
from access_server import NO_TLS, AccessServer
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from chatkit.core.administration import NewToken
from chatkit.mcp.sdk_server import make_server
from chatkit.mcp.stdio import AgentClient


class Agent(msgspec.Struct, frozen=True):
    """An agent, which has listed the tools, so that the SDK checks each result against its schema."""

    session: mcp.Client

    async def call(self, tool: str, /, **arguments: Any) -> Any:
        """Call a tool, and return its structured result."""
        result = await self.result(tool, **arguments)
        assert not result.is_error, text_of(result)
        return result.structured_content

    async def text(self, tool: str, /, **arguments: Any) -> str:
        """Call a tool, and return its result as text."""
        result = await self.result(tool, **arguments)
        assert not result.is_error, text_of(result)
        return text_of(result)

    async def code(self, tool: str, /, **arguments: Any) -> str:
        """Call a tool that fails, and return the code of its error."""
        result = await self.result(tool, **arguments)
        assert result.is_error
        assert result.structured_content is None
        assert result.meta is not None
        code = str(result.meta["chatkit/code"])
        assert text_of(result).startswith(f"{code}: ")
        return code

    async def result(self, tool: str, /, **arguments: Any) -> CallToolResult:
        return await self.session.call_tool(tool, arguments)


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert content.type == "text"
    return content.text


Connect: TypeAlias = Callable[[AccessServer, NewToken], AbstractAsyncContextManager[Agent]]


def http_client(token: NewToken | None, **headers: str) -> httpx2.AsyncClient:
    authorization = {} if token is None else {"authorization": f"Bearer {token.secret}"}
    return httpx2.AsyncClient(headers=authorization | headers, timeout=20, verify=NO_TLS)


def over_http(mode: str) -> Connect:
    @asynccontextmanager
    async def connect(server: AccessServer, token: NewToken) -> AsyncIterator[Agent]:
        async with http_client(token) as http:
            transport = streamable_http_client(f"{server.url}/mcp", http_client=http)
            async with mcp.Client(transport, mode=mode) as session:
                await session.list_tools()
                yield Agent(session)

    return connect


@asynccontextmanager
async def over_a_client(server: AccessServer, token: NewToken) -> AsyncIterator[Agent]:
    """Connect as `chatkit mcp` does, in this process."""
    async with AgentClient(server.url, "login", token.secret) as client, mcp.Client(make_server(client)) as session:
        await session.list_tools()
        yield Agent(session)


CONNECTIONS = {"http": over_http("auto"), "http-2025": over_http("legacy"), "client": over_a_client}

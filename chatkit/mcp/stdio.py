"""MCP on standard input and output: the tools use a client of a chatkit server."""

from typing import TextIO

import anyio
from mcp.server.stdio import stdio_server

from chatkit.client import Client
from chatkit.mcp.sdk_server import make_server


class AgentClient(Client):
    """A client of a server, as a `RoomAccess`."""

    async def own_name(self) -> str:
        """Return the name of this client's messages: that of its token, if it has one. Connect, if it has not."""
        connection = self._connection()
        await connection.ready()
        return connection.name


async def serve(client: AgentClient, stdin: TextIO, stdout: TextIO) -> None:
    """Serve one agent, which writes to `stdin` and reads `stdout`, until its input ends.

    The errors of the streams are raised, in groups.
    """
    streams = anyio.wrap_file(stdin), anyio.wrap_file(stdout)
    async with client, stdio_server(*streams) as (requests, answers):
        server = make_server(client)
        await server.run(requests, answers, server.create_initialization_options())

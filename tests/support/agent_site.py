"""A server for tests of the tools of agents: one for each module, with rooms and names of its own for each test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import count
from typing import Any, TypeAlias

import pytest
from access_server import AccessServer, access_server, grant
from agents import CONNECTIONS, Agent

from chatkit.core.model import Draft
from chatkit.core.token import TokenKind

NUMBERS = count(1)  # each test has rooms and names of its own on the server that all share
DEADLINE_S = 60

Use: TypeAlias = Callable[["Site", Agent], Coroutine[Any, Any, None]]
both = pytest.mark.parametrize("connection", ["http", "client"])
each = pytest.mark.parametrize("connection", CONNECTIONS)


class Site:
    """A server with a person, ann, and a bot in a room of its own."""

    def __init__(self, server: AccessServer) -> None:
        self.server = server
        self.hub = server.hub
        self.room, self.other, self.bot = "", "", ""

    async def write(self, body: str, room: str | None = None, **parts: Any) -> int:
        """Write as ann, and return the number of the message."""
        draft = Draft(room or self.room, "ann", body, verified=True, **parts)
        return (await self.hub.publish(draft)).message.seq

    @asynccontextmanager
    async def agent(self, connection: str, *rights: str) -> AsyncIterator[Agent]:
        """Connect a bot that may read and write the room, or only has the given rights."""
        number = next(NUMBERS)
        self.room, self.other, self.bot = f"ops-{number}", f"dev-{number}", f"helper-{number}"
        token = await self.server.token(
            self.bot, grant(f"{self.room}*", *(rights or ("read", "write"))), kind=TokenKind.BOT
        )
        async with CONNECTIONS[connection](self.server, token) as agent:
            yield agent


class Shared:
    """The server of this module, and the event loop in which it runs while a test does."""

    def __init__(self, runner: asyncio.Runner, site: Site) -> None:
        self._runner = runner
        self._site = site

    def run(self, connection: str, use: Use, *rights: str) -> None:
        async def limited() -> None:
            async with asyncio.timeout(DEADLINE_S), self._site.agent(connection, *rights) as agent:
                await use(self._site, agent)

        self._runner.run(limited())


@contextmanager
def shared_server() -> Iterator[Shared]:
    """Run a server until the block ends."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def begin() -> Site:
            server = await stack.enter_async_context(access_server(host="localhost", secret="not-used-here"))
            await server.token("ann", grant("*", "moderate"))
            return Site(server)

        try:
            yield Shared(runner, runner.run(begin()))
        finally:
            runner.run(stack.aclose())


def bodies(result: Any) -> list[str]:
    return [message["body"] for message in result["messages"]]

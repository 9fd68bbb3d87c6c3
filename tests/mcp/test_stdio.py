"""`chatkit mcp`: an agent's application starts the command, and talks to it by its standard streams."""

import sys
from pathlib import Path

import mcp
import pytest
from access_server import access_server, grant
from agents import Agent
from cli_runner import CommandRunner
from raw_client import run
from serving import clean_environment

from chatkit.core.token import TokenKind
from chatkit.mcp.installation import MISSING


def test_an_agent_uses_rooms_by_the_command_until_it_closes_its_input(tmp_path: Path) -> None:
    async def test() -> None:
        async with access_server(host="localhost", secret="eight-or-more") as server:
            helper = await server.token("helper", grant("ops", "read", "write"), kind=TokenKind.BOT)
            command = mcp.StdioServerParameters(
                command=sys.executable,
                args=["-m", "chatkit.cli", "mcp", "--server", server.url],
                env=clean_environment({"CHATKIT_TOKEN": helper.secret, "HOME": str(tmp_path)}),
                cwd=tmp_path,
            )
            async with mcp.Client(mcp.stdio_client(command)) as session:
                await session.list_tools()
                agent = Agent(session)
                assert await agent.code("read_messages", room="dev") == "not-found"
                posted = await agent.call("post_message", room="ops", text="grüße")
                found = await agent.call("wait_for_messages", room="ops", after=0, timeout_s=0.01)
                assert found["messages"] == []
                (message,) = (await agent.call("read_messages", room="ops"))["messages"]
                assert (message["body"], message["sender"], message["bot"]) == ("grüße", "helper", True)
                assert posted["seq"] == message["seq"]

    run(test())


def test_the_command_says_how_to_install_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    assert CommandRunner(tmp_path, monkeypatch).refused("mcp", status=2) == MISSING

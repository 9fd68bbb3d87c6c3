"""`chatkit mcp`: an agent's application starts the command, and talks to it by its standard streams."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


@contextmanager
def started(folder: Path, stdin: int, stdout: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command, which connects to no server before a tool is called."""
    command = [sys.executable, "-m", "chatkit.cli", "mcp", "--server", "http://127.0.0.1:1"]
    env = clean_environment({"HOME": str(folder)})
    with subprocess.Popen(command, cwd=folder, env=env, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE) as process:
        yield process
        process.kill()


def request(number: int, method: str, **params: Any) -> bytes:
    sent = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return json.dumps(sent).encode() + b"\n"


CLIENT = {"name": "test", "version": "1"}
INITIALIZE = request(0, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=CLIENT)


def test_an_agent_talks_to_the_command_by_pipes_that_do_not_block(tmp_path: Path) -> None:
    (stdin, requests), (answers, stdout) = os.pipe(), os.pipe()
    for descriptor in (stdin, stdout):  # as Node and ssh leave them
        os.set_blocking(descriptor, False)
    n_answers = 10  # some 20 KB each, more than fits into the pipe
    with started(tmp_path, stdin, stdout), os.fdopen(requests, "wb") as asked, os.fdopen(answers, "rb") as answered:
        for descriptor in (stdin, stdout):
            os.close(descriptor)
        asked.write(b"\xef\xbb\xbf" + INITIALIZE)
        asked.flush()
        assert json.loads(answered.readline())["id"] == 0
        asked.writelines(request(number, "tools/list") for number in range(1, n_answers + 1))
        asked.flush()
        assert {json.loads(answered.readline())["id"] for _ in range(n_answers)} == set(range(1, n_answers + 1))


def test_what_is_no_request_is_answered_and_the_next_one_is_read(tmp_path: Path) -> None:
    half = request(1, "tools/call", name="post_message", arguments={"room": "ops", "text": "\ud83d"})
    latin = '{"jsonrpc":"2.0","id":2,"method":"caf\u00e9"}\n'.encode("latin-1")
    with started(tmp_path, subprocess.PIPE, subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = [b"\n", half, latin, b"not json\n", b"[" * 100_000 + b"\n", b'{"jsonrpc":"2.0"}\n', INITIALIZE]
        process.stdin.writelines(lines)
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in range(6)]
    errors = [(answer["id"], answer["error"]["code"]) for answer in answers[:5]]
    assert errors == [(1, -32700), (2, -32700), (None, -32700), (None, -32700), (None, -32600)]
    assert "half of a character" in answers[0]["error"]["message"]
    assert answers[5]["result"]["serverInfo"]["name"] == "chatkit"


@pytest.mark.parametrize("stream", ["input", "output"])
def test_a_standard_stream_that_fails_is_reported(tmp_path: Path, stream: str) -> None:
    with (
        Path("/dev/full").open("wb") as full,
        started(tmp_path, full.fileno() if stream == "input" else subprocess.PIPE, full.fileno()) as process,
    ):
        _, errors = process.communicate(INITIALIZE if stream == "output" else None, 60)
    assert process.returncode == 1
    assert errors.startswith(b"chatkit: standard %s could not be " % stream.encode())
    assert errors.count(b"\n") == 1


def test_the_command_says_how_to_install_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    assert CommandRunner(tmp_path, monkeypatch).refused("mcp", status=2) == MISSING

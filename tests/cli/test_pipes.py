"""Pipes that end badly, streams that are closed, servers that go away: nothing is lost, and what is, is told."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cli_process import PATIENCE_S, Shell, wait_until
from harness import run, turns
from serving import ServerProcess, serve
from websockets.sync.client import connect

from chatkit.cli.chat import Chat
from chatkit.cli.terminal import PipeInterface, Style
from chatkit.client import Client, Item, Joined, Signal
from chatkit.core.model import Gap, Message, Receipt

CROWD = 210  # more than the 200 that a server lists by name


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("server") / "rooms.db", "--rate-limit", "0") as process:
        yield process


@pytest.fixture
def shell(server: ServerProcess, tmp_path: Path) -> Shell:
    return Shell(tmp_path, server.url)


def test_what_came_before_a_line_that_is_no_message_is_stored_and_shown(shell: Shell) -> None:
    lines = [str(number) for number in range(900)]
    printed = shell.run("join", "joined", "--history", "0", given="\n".join(lines).encode() + b"\n\xff\n", status=1)
    assert shell.stderr == "chatkit: line 901 is not UTF-8 text\n"
    assert [line.partition(": ")[2] for line in printed.splitlines()] == lines
    assert shell.bodies("joined") == lines


@pytest.mark.parametrize("store", ["memory://", "rooms.db"])
def test_a_joined_pipe_ends_though_the_room_began_anew(tmp_path: Path, store: str) -> None:
    with serve(store if "://" in store else tmp_path / store, folder=tmp_path) as server:
        shell = Shell(tmp_path, server.url)
        with shell.start("join", "ops", "--history", "0", stdin=subprocess.PIPE) as pipe:
            assert pipe.stdin is not None
            assert pipe.stdout is not None
            pipe.stdin.write(b"one\ntwo\nthree\n")
            pipe.stdin.flush()
            assert [pipe.stdout.readline()[-4:] for _ in range(3)] == [b"one\n", b"two\n", b"ree\n"]
            server.kill9()
            for file in tmp_path.glob("rooms.db*"):
                file.unlink()
            server.start()
            out, said = pipe.communicate(b"four\n", PATIENCE_S)
            assert out.endswith(b": four\n")
            assert b"began anew" in said
            assert pipe.returncode == 5


@pytest.mark.parametrize("is_told_first", [True, False])
def test_what_is_stored_in_a_log_that_began_anew_is_waited_for(is_told_first: bool) -> None:
    async def main() -> None:
        conversation = Chat(Client("http://127.0.0.1"), "ops", PipeInterface(), Style(is_coloured=False))
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        answer.set_result(Receipt(said("new", 1)))
        conversation.hear(Joined("ops", "old", 1, 0, [], 0))
        for seq in (1, 2, 3):
            conversation.hear(said("old", seq))
        anew: list[Item | Signal] = [Joined("ops", "new", 1, 1, [], 0), Gap(3, 1, "epoch")]
        if is_told_first:
            for item in anew:
                conversation.hear(item)
        conversation._answered(answer)
        ending = asyncio.ensure_future(conversation._end())
        await turns()
        assert not ending.done()
        if not is_told_first:
            for item in anew:
                conversation.hear(item)
            await turns()
            assert not ending.done()
        conversation.hear(said("new", 1))
        await ending

    run(main())


def said(epoch: str, seq: int) -> Message:
    return Message("ops", epoch, seq, 0, "ann", f"{seq}")


def test_a_pipe_that_prints_what_is_stored_survives_a_killed_server(tmp_path: Path) -> None:
    with serve(tmp_path / "rooms.db") as server:
        shell = Shell(tmp_path, server.url)
        with shell.start("publish", "ops", "--json", stdin=subprocess.PIPE) as pipe:
            assert pipe.stdin is not None
            pipe.stdin.write(b"one\n")
            pipe.stdin.flush()
            wait_until(shell.counts("ops", 1))
            server.kill9()
            pipe.stdin.write(b"two\n")
            pipe.stdin.flush()
            assert pipe.stderr is not None
            assert b"trying again" in pipe.stderr.readline()
            server.start()
            printed, _ = pipe.communicate(b"three\n", PATIENCE_S)
            assert pipe.returncode == 0
        assert printed.decode() == shell.run("history", "ops", "--json")
        assert [json.loads(line)["body"] for line in printed.splitlines()] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("publish closed", 0),
        ("publish closed --whole", 0),
        ("publish closed hi --json", 0),
        ("join closed", 0),
        ("history closed", 0),
        ("rooms", 0),
        ("--version", 0),
        ("--help", 0),
        ("publish a/b hi", 2),
    ],
)
def test_a_command_without_standard_streams_works(shell: Shell, words: str, status: int) -> None:
    command = f'"{sys.executable}" -m chatkit.cli {words}'
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["sh", "-c", f"{command} {closed}"],
            cwd=shell.folder,
            env=shell.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == status, (closed, done.stderr)
        assert b"Traceback" not in done.stderr


def test_a_crowd_is_counted_though_not_all_are_named(shell: Shell, server: ServerProcess) -> None:
    with ExitStack() as crowd:
        for number in range(CROWD):
            crowd.enter_context(connect(f"{server.ws_url}/ws/crowd?name=m{number}&history=0"))
        wait_until(lambda: f"here      {CROWD}\n" in shell.run("rooms", "crowd"))
        shown = shell.run("rooms", "crowd").splitlines()
        assert shown[-1].split() == ["and", str(CROWD - 200), "more"]
        assert len(shown) == 4 + 200 + 1


def test_help_is_wrapped_where_the_terminal_ends(shell: Shell) -> None:
    shell.env["COLUMNS"] = "80"
    assert "connection that breaks is made again, and every message is stored once and in" in shell.run("publish", "-h")

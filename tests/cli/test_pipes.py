"""Pipes with errors, closed streams and servers that fail: nothing is lost without a report."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from chat_display import context_of, entry
from cli_process import PATIENCE_S, STDERR, STDIN, STDOUT, Shell, wait_until
from harness import run, turns
from serving import ServerProcess, serve
from websockets.sync.client import connect

from chatkit.cli.chat.interface import PipeInterface
from chatkit.cli.chat.room_display import RoomDisplay
from chatkit.client import Item, Joined, Signal
from chatkit.core.model import Gap, Receipt

CROWD = 210  # more than the 200 members that a server lists


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("server") / "rooms.db", "--rate-limit", "0") as process:
        yield process


@pytest.fixture
def shell(server: ServerProcess, tmp_path: Path) -> Shell:
    return Shell(tmp_path, server.url)


def test_lines_before_an_invalid_line_are_stored_and_shown(shell: Shell) -> None:
    lines = [str(number) for number in range(900)]
    printed = shell.run("join", "joined", "--history", "0", given="\n".join(lines).encode() + b"\n\xff\n", status=1)
    assert shell.stderr == "chatkit: line 901 is not UTF-8 text\n"
    assert [line.partition(": ")[2] for line in printed.splitlines()] == lines
    assert shell.bodies("joined") == lines


@pytest.mark.parametrize("store", ["memory://", "rooms.db"])
def test_a_joined_pipe_ends_after_the_log_was_reset(tmp_path: Path, store: str) -> None:
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
            out, errors = pipe.communicate(b"four\n", PATIENCE_S)
            assert out.endswith(b": four\n")
            assert b"the room's log was reset" in errors
            assert pipe.returncode == 5


def test_pipes_into_a_renamed_room_follow_or_say_its_new_name(tmp_path: Path) -> None:
    with serve(tmp_path / "rooms.db", folder=tmp_path) as server:
        shell = Shell(tmp_path, server.url)
        with shell.start("join", "ops", "--history", "0", stdin=subprocess.PIPE) as pipe:
            assert pipe.stdin is not None
            assert pipe.stdout is not None
            assert pipe.stderr is not None
            pipe.stdin.write(b"one\n")
            pipe.stdin.flush()
            assert pipe.stdout.readline().endswith(b": one\n")
            shell.run("room", "rename", "ops", "dev", "--yes", "--backend", server.store)
            # Until the server has read the new name, it refuses lines for a while, and that would be a notice, too.
            assert pipe.stderr.readline() == b"chatkit: the room 'ops' was renamed to 'dev'\n"
            pipe.stdin.write(b"".join(b"%d\n" % number for number in range(100)))
            out, errors = pipe.communicate(timeout=PATIENCE_S)
            assert pipe.returncode == 0
        assert errors == b""
        assert [line.rpartition(b" ")[2] for line in out.splitlines()] == [b"%d" % number for number in range(100)]
        shell.run("join", "ops", "--history", "0", given="late\n")
        assert shell.stderr == "chatkit: the room 'ops' was renamed to 'dev'\n"
        shell.run("publish", "ops", "-", given="refused\n", status=1)
        assert shell.stderr == "chatkit: the room 'ops' was renamed to 'dev'\n"
        assert shell.bodies("dev") == ["one", *map(str, range(100)), "late"]


@pytest.mark.parametrize("is_reset_reported_first", [True, False])
def test_a_message_in_a_log_that_was_reset_is_shown_before_the_end(is_reset_reported_first: bool) -> None:
    async def main() -> None:
        context = context_of(PipeInterface())
        display, publisher = RoomDisplay("ops", context), context.publisher
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        answer.set_result(Receipt(entry(1, "ann", epoch="new")))
        display.receive(Joined("ops", "old", 1, 0, [], 0))
        for seq in (1, 2, 3):
            display.receive(entry(seq, "ann", epoch="old"))
        reset: list[Item | Signal] = [Joined("ops", "new", 1, 1, [], 0), Gap(3, 1, "epoch")]
        if is_reset_reported_first:
            for item in reset:
                display.receive(item)
        publisher.on_answer(answer)
        ending = asyncio.ensure_future(publisher.finish())
        await turns()
        assert not ending.done()
        if not is_reset_reported_first:
            for item in reset:
                display.receive(item)
            await turns()
            assert not ending.done()
        display.receive(entry(1, "ann", epoch="new"))
        await ending

    run(main())


def test_a_pipe_that_prints_stored_messages_survives_a_killed_server(tmp_path: Path) -> None:
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


READS, WRITES = {STDIN}, {STDOUT}


@pytest.mark.parametrize(
    ("words", "needed", "status"),
    [
        ("publish closed", READS, 0),
        ("publish closed --whole", READS, 0),
        ("publish closed hi --json", WRITES, 0),
        ("join closed", READS | WRITES, 0),
        ("history closed", WRITES, 0),
        ("rooms", WRITES, 0),
        ("--version", WRITES, 0),
        ("--help", WRITES, 0),
        ("publish a/b hi", set(), 2),
    ],
)
def test_a_command_fails_only_without_a_standard_stream_that_it_needs(
    shell: Shell, words: str, needed: set[int], status: int
) -> None:
    shell.publish("closed", "hi")
    for closed in ({STDIN}, {STDOUT}, {STDERR}, {STDIN, STDOUT, STDERR}):
        done = shell.run_without(closed, *words.split())
        wanted = 1 if needed & closed else status
        assert done.returncode == wanted, (closed, done.stderr)
        assert b"Traceback" not in done.stderr


def test_all_members_of_a_large_room_are_counted(shell: Shell, server: ServerProcess) -> None:
    with ExitStack() as crowd:
        for number in range(CROWD):
            crowd.enter_context(connect(f"{server.ws_url}/ws/crowd?name=m{number}&history=0"))
        wait_until(lambda: f"here      {CROWD}\n" in shell.run("rooms", "crowd"))
        shown = shell.run("rooms", "crowd").splitlines()
        assert shown[-1].split() == ["and", str(CROWD - 200), "more"]
        assert len(shown) == 4 + 200 + 1


def test_help_is_wrapped_to_the_width_of_the_terminal(shell: Shell) -> None:
    shell.env["COLUMNS"] = "80"
    assert "The command ends when everything is stored, each message once and in order. It" in shell.run(
        "publish", "-h"
    )

"""`chatkit publish`: one message, and each line of a pipe, also if the pipe or the server ends."""

import json
import signal
import subprocess
from pathlib import Path

import pytest
from cli_process import PATIENCE_S, Shell, wait_until
from serving import serve

pytest_plugins = ["shell_fixtures"]


def test_a_message_is_published_and_read(shell: Shell) -> None:
    assert shell.run("publish", "#ops", "backup", "done") == ""
    assert shell.stderr == ""
    assert shell.run("history", "ops").endswith(" ann: backup done\n")


def test_json_is_the_stored_message(shell: Shell) -> None:
    stored = json.loads(shell.run("publish", "stored", "hi", "--key", "k", "--data", '{"n": 1}', "--json"))
    assert (stored["seq"], stored["sender"], stored["data"], stored["key"]) == (1, "ann", {"n": 1}, "k")
    again = json.loads(shell.run("publish", "stored", "hi", "--key", "k", "--data", '{"n": 1}', "--json"))
    assert again == stored
    shell.run("publish", "stored", "other", "--key", "k", status=1)
    assert "has the key 'k'" in shell.stderr
    assert json.loads(shell.run("history", "stored", "--json")) == stored


def test_each_line_of_a_pipe_is_a_message(shell: Shell) -> None:
    assert shell.run("publish", "lines", given="one\r\n\nthree\nno end") == ""
    assert shell.bodies("lines") == ["one", "", "three", "no end"]
    printed = shell.run("publish", "lines", "-", "--json", given="five\nsix\n")
    assert [json.loads(line)["seq"] for line in printed.splitlines()] == [5, 6]


def test_a_line_is_published_as_soon_as_it_arrives(shell: Shell) -> None:
    with shell.start("publish", "tail", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for count in (1, 2):
            process.stdin.write(b"line\n")
            process.stdin.flush()
            wait_until(shell.counts("tail", count))
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0


def test_an_interrupted_pipe_reports_how_many_lines_are_published(shell: Shell) -> None:
    with shell.start("publish", "interrupted", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"one\ntwo\nnot ended")
        process.stdin.flush()
        wait_until(shell.counts("interrupted", 2))
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b"chatkit: stopped: 2 of the 2 lines read are published\n"


def test_whole_input_is_one_message(shell: Shell) -> None:
    shell.run("publish", "whole", "--whole", given="one\ntwo\n")
    assert shell.bodies("whole") == ["one\ntwo"]
    assert shell.run("history", "whole").endswith(" ann: one\n    two\n")


def test_a_pipe_longer_than_the_rate_limit_burst_arrives_complete_and_in_order(tmp_path: Path) -> None:
    lines = [str(n) for n in range(4_800)]  # a server accepts a burst of ten seconds of 400
    with serve(tmp_path / "rooms.db", "--rate-limit", "400") as server:
        shell = Shell(tmp_path, server.url)
        shell.run("publish", "long", given="\n".join(lines))
        assert shell.bodies("long") == lines


def test_a_pipe_survives_a_killed_server(tmp_path: Path) -> None:
    with serve(tmp_path / "rooms.db", "--rate-limit", "0") as server:
        shell = Shell(tmp_path, server.url)
        with shell.start("history", "ops", "-n", "0", "--follow", "--json") as follow:
            with shell.start("publish", "ops", stdin=subprocess.PIPE) as pipe:
                assert pipe.stdin is not None
                for life in range(3):
                    pipe.stdin.write(b"".join(b"%d\n" % n for n in range(life * 3_000, life * 3_000 + 3_000)))
                    pipe.stdin.flush()
                    wait_until(shell.counts("ops", life * 3_000 + 1))
                    server.kill9()
                    server.start()
                assert pipe.communicate(timeout=PATIENCE_S)[0] == b""
                assert pipe.returncode == 0
            assert shell.bodies("ops") == [str(n) for n in range(9_000)]
            assert follow.stdout is not None
            followed = [json.loads(follow.stdout.readline())["body"] for _ in range(9_000)]
            assert followed == [str(n) for n in range(9_000)]
            follow.terminate()
            follow.communicate(timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (b"one\ntwo\n\xff\xfe\nfour\n", "line 3 is not UTF-8 text"),
        (b"one\ntwo\n" + b"x" * 65_537 + b"\nfour\n", "a body holds at most 65536 bytes"),
        (b"one\ntwo\n" + b"x" * (17 << 20), "line 3 is too long"),
    ],
)
def test_a_pipe_stops_at_an_invalid_line_and_names_it(
    shell: Shell, given: bytes, why: str, request: pytest.FixtureRequest
) -> None:
    room = f"stops-{len(given)}"
    shell.run("publish", room, given=given, status=1)
    assert why in shell.stderr
    assert "stopped at line 3" in shell.stderr
    assert "2 of the 3 lines read are published" in shell.stderr
    assert shell.bodies(room) == ["one", "two"]

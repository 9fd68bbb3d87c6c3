"""`chatkit on` as a process: it acts on each message although it was away and is killed, and refuses wrong usage."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import short_times
from cli_process import PATIENCE_S, Shell, wait_until

pytest_plugins = ["shell_fixtures"]


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def start(shell: Shell, *words: str) -> "subprocess.Popen[bytes]":
    """Start `chatkit on` with a lease of a second: what a killed process has begun comes again after it."""
    return subprocess.Popen(
        [*short_times.COMMAND, "on", *words],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=shell.folder,
        env=shell.env | short_times.shortened("chatkit.cli.on_runner.LEASE_S", 1.0),
    )


def stop(process: "subprocess.Popen[bytes]", number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    process.communicate(timeout=PATIENCE_S)
    return process.returncode


def test_a_consumer_that_was_away_and_is_killed_acts_on_each_mention_in_order(shell: Shell) -> None:
    begun, hold = shell.folder / "begun", shell.folder / "hold"
    script = 'echo "$CHATKIT_SEQ" >> begun; while [ "$CHATKIT_SEQ" = 20 ] && [ -e hold ]; do sleep 0.05; done'
    words = ("story", "--as", "deployer", "--mention", "deployer", "--", "sh", "-c", script)
    away = start(shell, *words)
    wait_until(lambda: "deployer" in shell.run("consumers", "story", "--json"))
    assert stop(away) == 0
    bodies = [f"@deployer {n}" if n in {10, 20, 30} else f"message {n}" for n in range(1, 51)]
    shell.run("publish", "story", given="\n".join(bodies))
    hold.touch()
    killed = start(shell, *words)
    wait_until(lambda: len(lines(begun)) == 2)
    stop(killed, signal.SIGKILL)
    hold.unlink()
    again = start(shell, *words)
    wait_until(lambda: len(lines(begun)) == 4)
    wait_until(lambda: '"lag":0' in shell.run("consumers", "show", "story", "deployer", "--json"))
    assert stop(again, signal.SIGINT) == 130
    assert lines(begun) == ["10", "20", "20", "30"]


def test_a_store_is_read_without_a_server(shell: Shell) -> None:
    store = ("--backend", "sqlite:///own.db")
    shell.run("publish", "ops", "one", *store)
    process = start(shell, "ops", *store, "--as", "c", "--after", "start", "--reply", "--", "echo", "done")
    wait_until(lambda: "done" in shell.run("history", "ops", *store))
    assert stop(process) == 0
    table = shell.run("consumers", *store)
    assert table.splitlines()[1].split()[:2] == ["ops", "c"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["ops", "--", "no-such-program"], "there is no command 'no-such-program'"),
        (["ops"], "give the command behind --"),
        (["ops", "--"], "give the command behind --"),
        (["--", "true"], "missing argument"),
        (["o ps", "--", "true"], "a room is"),
        (["ops", "--as", "a b", "--", "true"], "the name of a consumer"),
        (["ops", "--after", "start", "--", "true"], "give its name with --as"),
        (["ops", "--as", "c", "--after", "middle", "--", "true"], "not a cursor"),
        (["ops", "--match", "(", "--", "true"], "--match is not a regular expression"),
        (["ops", "--timeout", "0s", "--", "true"], "'--timeout': it must be at least 1s"),
        (["ops", "--workers", "0", "--", "true"], "at least 1"),
    ],
)
def test_wrong_usage_is_refused(shell: Shell, words: list[str], sentence: str) -> None:
    shell.run("on", *words, status=2)
    assert sentence in shell.stderr.lower()


def test_options_behind_the_dashes_are_the_commands_own(shell: Shell) -> None:
    shell.run("publish", "dashes", "one")
    process = start(
        shell, "dashes", "--as", "c", "--after", "start", "--", "sh", "-c", 'echo "$@" > words', "--as", "--", "--json"
    )
    wait_until(lambda: lines(shell.folder / "words") != [])
    assert stop(process) == 0
    assert lines(shell.folder / "words") == ["-- --json"]


def test_no_server_is_an_exit_code_of_its_own(shell: Shell) -> None:
    shell.run("on", "ops", "--server", "http://127.0.0.1:1", "--", "true", status=3)


def test_a_message_is_never_part_of_a_command_line(shell: Shell) -> None:
    shell.run("publish", "hostile", "$(touch owned); `touch owned`", "--name", "$(touch owned)")
    script = 'cat > given; printf %s "$CHATKIT_SENDER" > sender'
    process = start(shell, "hostile", "--as", "c", "--after", "start", "--", "sh", "-c", script)
    wait_until(lambda: lines(shell.folder / "sender") != [])
    assert stop(process) == 0
    assert lines(shell.folder / "sender") == ["$(touch owned)"]
    assert '"body":"$(touch owned); `touch owned`"' in (shell.folder / "given").read_text()
    assert not os.path.lexists(shell.folder / "owned")

"""The parts of `chatkit on`: the program that it runs, the filter of messages, and the patterns of rooms."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import run, until

from chatkit.cli import on_command
from chatkit.cli.on_command import MAX_REPLY_BYTES, CommandResult, MessageCommand, reply_text
from chatkit.cli.on_filter import MessageFilter, RoomPatterns
from chatkit.core.model import Message
from chatkit.errors import BadInput, BadRequest


def result_of(script: str, given: bytes = b"", *, timeout_s: float | None = None, **env: str) -> CommandResult:
    """Run a script of the shell, and return how it ended."""
    command = MessageCommand(["sh", "-c", script], timeout_s=timeout_s, reads_output=True)
    return run(command.run(given, env))


class Clock(asyncio.SelectorEventLoop):
    """A loop on which time passes when the test says so, too."""

    skipped_s = 0.0

    def time(self) -> float:
        return super().time() + self.skipped_s


async def result_after(seconds: float, script: str, is_ready: Callable[[], object]) -> CommandResult:
    """Run a script of the shell until its time is over, which is as soon as it is ready."""
    clock = asyncio.get_running_loop()
    assert isinstance(clock, Clock)
    command = MessageCommand(["sh", "-c", script], timeout_s=seconds)
    running = asyncio.ensure_future(command.run(b"", {}))
    await until(lambda: command._running and is_ready())
    clock.skipped_s += seconds
    return await running


def has_text(path: Path) -> bool:
    return path.exists() and path.read_text().endswith("\n")


def test_a_program_gets_the_message_on_its_input_and_names_in_its_environment() -> None:
    result = result_of('cat; printf %s "$CHATKIT_SEQ"', b'{"seq":1}\n', CHATKIT_SEQ="$(id) 1")
    assert result.output == b'{"seq":1}\n$(id) 1'
    assert (result.status, result.reason) == (0, None)


def test_a_program_need_not_read_and_may_write_more_than_is_kept() -> None:
    result = result_of("head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2", b"x" * 1_000_000)
    assert reply_text(result.output) == ("\0" * MAX_REPLY_BYTES, True)
    assert result.reason is None


def test_a_reply_marks_what_is_no_text_and_is_cut_between_characters() -> None:
    assert reply_text(b"\ndone\xff\n") == ("done\ufffd", False)
    text = "\u00e9" * (MAX_REPLY_BYTES // 2)
    assert reply_text(text.encode()) == (text, False)
    assert reply_text(b"x" + text.encode()) == (f"x{text[:-1]}", True)


def test_the_end_of_its_errors_is_the_reason_of_a_failure() -> None:
    result = result_of("seq 1 900 >&2; echo >&2; echo 'no disk' >&2; exit 3")
    assert (result.status, result.reason) == (3, "exit code 3: 897\n898\n899\n900\nno disk")
    assert result_of("exit 1").reason == "exit code 1"


def test_a_signal_is_a_failure() -> None:
    result = result_of("kill -KILL $$")
    assert (result.status, result.signal, result.reason) == (None, "SIGKILL", "ended by SIGKILL")


def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with asyncio.Runner(loop_factory=Clock) as runner:
        result = runner.run(result_after(60, f"sleep 60 & echo $! > {pids}; wait", lambda: has_text(pids)))
    assert (result.signal, result.reason) == ("SIGTERM", "took too long, ended by SIGTERM")
    wait_for_end(int(pids.read_text()))


def test_a_program_that_ignores_the_end_of_its_time_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_command, "TERM_S", 0.1)
    ready = tmp_path / "ready"
    with asyncio.Runner(loop_factory=Clock) as runner:
        script = f"trap '' TERM; echo yes > {ready}; while :; do sleep 60; done"
        result = runner.run(result_after(60, script, lambda: has_text(ready)))
    assert result.reason == "took too long, ended by SIGKILL"


def test_what_a_program_leaves_running_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_command, "PIPES_S", 0.05)
    result = result_of("echo done; sleep 60 & echo $!")
    first, pid = result.output.split()
    assert (first, result.reason) == (b"done", None)
    os.kill(int(pid), 9)


def test_a_run_that_is_cancelled_kills_the_program(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    async def main() -> None:
        running = asyncio.ensure_future(MessageCommand(["sh", "-c", f"echo $$ > {pid}; sleep 60"]).run(b"", {}))
        await until(lambda: pid.exists() and pid.read_text().strip())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run(main())
    wait_for_end(int(pid.read_text()))


def wait_for_end(pid: int) -> None:
    """Wait until a process has ended; init may not have reaped it."""

    def has_ended() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    run(until(has_ended))


def test_a_program_that_cannot_be_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="there is no command 'no-such-program'"):
        MessageCommand(["no-such-program"])
    program = tmp_path / "program"
    program.write_text(f"#!{sys.executable}\n")
    program.chmod(0o755)
    command = MessageCommand([str(program)])
    program.unlink()  # while the command is running
    assert (run(command.run(b"", {})).reason or "").startswith("cannot be run: No such file")


def message(body: str = "hi", sender: str = "ann", mentions: tuple[str, ...] = ()) -> Message:
    return Message("ops", "e", 1, 0, sender, body, mentions=mentions)


@pytest.mark.parametrize(
    ("options", "wanted", "others"),
    [
        ((None, None, None), [message()], [message(sender="me")]),
        (("deployer", None, None), [message("@Deployer go"), message("hey @deployer"), message(mentions=("deployer",))],
         [message("deployer"), message("@deployer2"), message("@deployer-two"), message("me@deployer")]),
        (("@zoë k", None, None), [message("go, @zoë k!")], [message("@zoë kim")]),
        ((None, "^!run (?i:NOW)", None), [message("!run now")], [message("please !run now")]),
        ((None, "cafe\u0301$", None), [message("caf\u00e9"), message("cafe\u0301")], [message("cafe")]),
        ((None, None, "bob"), [message(sender="bob")], [message(sender="Bob")]),
        (("me", "x", "bob"), [message("@me x", "bob")], [message("@me", "bob"), message("@me x"), message("x", "bob")]),
    ],
)  # fmt: skip
def test_a_message_matches_if_it_meets_all_conditions(
    options: tuple[str | None, str | None, str | None], wanted: list[Message], others: list[Message]
) -> None:
    parsed = MessageFilter.parse(*options)
    which = MessageFilter(mention=parsed.mention, match=parsed.match, sender=parsed.sender, own_name="me")
    assert [each.body for each in wanted if not which.matches(each)] == []
    assert [each.body for each in others if which.matches(each)] == []


def test_patterns_are_beginnings_of_names_and_leave_out_rooms_of_failures() -> None:
    rooms = RoomPatterns(["#dev", "ops*", "dev", "ops-a"])
    assert (rooms.names, rooms.has_patterns) == (["dev", "ops-a"], True)
    found = [room for room in ("dev", "ops", "ops-a", "ops-b", "ops.failed", "devops") if rooms.matches(room)]
    assert found == ["ops", "ops-b"]
    assert RoomPatterns(["*"]).matches("any")
    assert not RoomPatterns(["ops"]).has_patterns
    for wrong in ("o ps", "*ops", "a*b*", ""):
        with pytest.raises(BadInput):
            RoomPatterns([wrong])
    with pytest.raises(BadRequest, match="not a regular expression"):
        MessageFilter.parse(None, "(", None)


def test_a_pattern_that_takes_years_for_a_message_leaves_it_out(capsys: pytest.CaptureFixture[str]) -> None:
    which = MessageFilter.parse(None, "(a+)+$", None)
    assert not which.matches(Message("ops", "", 7, 0, "ann", "a" * 40 + "!"))
    assert "ops #7 of ann is left out: --match took too long" in capsys.readouterr().err
    assert which.matches(Message("ops", "", 8, 0, "ann", "aaa"))
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)

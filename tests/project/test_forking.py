"""A forked command finds what a new interpreter finds: streams, signals, descriptors, environment and paths."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import forking
import pytest
from serving import clean_environment

EXECUTING_POPEN: Any = forking.ForkingPopen.__mro__[1]
PROBE = """
import gc, json, os, random, signal, sys, threading, time
streams = [sys.__stdin__, sys.__stdout__, sys.__stderr__]
found = {
    "streams": [s and (s.name, s.mode, s.encoding, s.errors, s.line_buffering, s.write_through, type(s.buffer).__name__)
                for s in streams],
    "handlers": {n: str(signal.getsignal(n)).split(" at ")[0] for n in sorted(signal.valid_signals())},
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "descriptors": sorted(n for n in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + n)),
    "environment": dict(os.environ), "zone": time.tzname, "folder": os.getcwd(), "path": sys.path, "argv": sys.argv,
    "main": sys.modules["__main__"].__spec__.name, "parent": os.getppid(), "group": os.getpgid(0) == os.getpid(),
    "session": os.getsid(0) == os.getpid(), "threads": threading.active_count(), "gc": gc.isenabled(),
    "name": open("/proc/self/comm").read(), "limits": open("/proc/self/limits").read(),
}
json.dump(found, open("found.json", "w"))
raise SystemExit(7)
"""


def probe(
    folder: Path, popen: Any, words: Sequence[str] = ("probe", "word"), **options: Any
) -> tuple[dict[str, Any], int, bytes, bytes]:
    """Start a process, by itself or in a command; return what it finds, its status and its output."""
    (folder / "probe.py").write_text(PROBE)
    command = [sys.executable, "-m", *words]
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    env = clean_environment(options.pop("env", {}))
    with popen(command, cwd=folder, env=env, **streams | options) as process:
        out, err = process.communicate(timeout=60)
    return json.loads((folder / "found.json").read_text()), process.returncode, out, err


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"start_new_session": True},
        {"process_group": 0},
        {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT},
        {"stdin": None},
        {"env": {"TZ": "Asia/Tokyo", "PYTHONPATH": "/nowhere:relative", "A": "\udcff", "LANG": "C.UTF-8"}},
        {"env": {"PYTHONUNBUFFERED": "1"}},
        {"env": {"PYTHONIOENCODING": "latin-1"}},
        {"preexec_fn": forking.ClosedStreams(0, 1, 2)},
    ],
)
def test_a_forked_command_starts_as_a_new_interpreter_does(tmp_path: Path, options: dict[str, Any]) -> None:
    with socket.socket() as passed:
        options = {"pass_fds": [passed.fileno()]} | options
        assert probe(tmp_path, forking.ForkingPopen, **options) == probe(tmp_path, EXECUTING_POPEN, **options)


def test_an_application_of_a_forked_command_finds_the_same(tmp_path: Path) -> None:
    words = ("chatkit.cli", "serve", "probe:app")
    assert probe(tmp_path, forking.ForkingPopen, words) == probe(tmp_path, EXECUTING_POPEN, words)


def test_a_forked_worker_of_a_test_run_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code that pytest-xdist starts its workers with reads the rest from the standard input."""

    def found(popen: Any) -> tuple[dict[str, Any], int | None]:
        command = [sys.executable, *forking.WORKER, "import sys;exec(eval(sys.stdin.readline()))"]
        env = clean_environment({})
        with popen(command, stdin=subprocess.PIPE, cwd=tmp_path, env=env, text=True) as process:
            process.communicate(repr(PROBE.replace("__spec__.name", "__spec__")) + "\n", timeout=60)
        return json.loads((tmp_path / "found.json").read_text()), process.returncode

    monkeypatch.setattr(forking.ForkingPopen, "worker_server", forking.ForkingPopen._fork_server("chatkit"))
    forked, executed = found(forking.ForkingPopen), found(EXECUTING_POPEN)
    # Both put the working folder on the path: Python as an empty string.
    assert forked[0].pop("path")[0] == str(tmp_path)
    assert executed[0].pop("path")[0] == ""
    assert forked == executed


def test_blocked_and_ignored_signals_are_inherited(tmp_path: Path) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    ignored = [signal.SIGINT, signal.SIGQUIT]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    try:
        forked = probe(tmp_path, forking.ForkingPopen)
        assert forked == probe(tmp_path, EXECUTING_POPEN)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
        for number, handler in before.items():
            signal.signal(number, handler)
    assert forked[0]["blocked"] == [signal.SIGHUP]


@pytest.mark.parametrize("options", [{}, {"preexec_fn": forking.ClosedStreams(0, 1)}])
def test_commands_are_forked(tmp_path: Path, options: dict[str, Any]) -> None:
    command = [sys.executable, "-m", "chatkit.cli", "serve", "--port", "0", "--backend", "memory://"]
    with forking.ForkingPopen(command, stderr=subprocess.PIPE, cwd=tmp_path, **options) as process:
        assert process.stderr is not None
        process.stderr.readline()
        assert "fork_server.py" in Path(f"/proc/{process.pid}/cmdline").read_text()
        process.terminate()
        assert process.wait() == 0


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        forking.ForkingPopen([sys.executable, "-m", "chatkit.cli"], cwd=tmp_path / "missing")

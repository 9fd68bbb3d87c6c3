"""Starts `chatkit` commands by a fork of a process that has imported chatkit, instead of by a new interpreter.

`install` replaces `subprocess.Popen` by `ForkingPopen`, which behaves the same. It takes over where the result is the
same: for `python -m chatkit …` in an environment that Python was started in before, and for processes of tests that
import as much. All else is executed as always. After `fork_workers`, the workers of pytest-xdist are forked, too: of a
process that has imported the modules of all tests.
"""

import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MODULES = {
    *("appender", "chatkit", "chatkit.cli", "chatkit.server.workers.worker", "short_times"),
    *("chatkit.bench.chaos.receiver", "chatkit.bench.chaos.worker"),
    "probe",  # of the test of this module
}
EXECUTED = ["/usr/bin/env", sys.executable, "-m", "chatkit.cli"]  # is never forked: for tests of the process list
OFF = "CHATKIT_TESTS_EXEC"  # the environment variable that turns forking off
READ_BY_PYTHON = ("PYTHON", "LANG", "LC_", "LD_", "MALLOC_")  # prefixes of variables that are read only at the start
APPLIED = {"PYTHONUNBUFFERED", "PYTHONPATH", "PYTHONIOENCODING"}  # of these, those that the fork server applies
WORKER = ["-u", "-c"]  # how pytest-xdist starts a worker: the code reads the rest from its standard input
TESTS = "tests"  # the argument of a fork server that imports the modules of all tests instead of the commands
HEADER = struct.Struct("=II")  # length of the request, number of descriptors
REPLY = struct.Struct("=i")  # process ID, 0 if the fork failed
MAX_DESCRIPTORS = 16

NAME = "fork-server"  # of its process
PR_SET_CHILD_SUBREAPER = 36

PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
PARAMETERS = (  # of `Popen._execute_child`, in CPython 3.11 to 3.13
    *(
        "args",
        "executable",
        "preexec_fn",
        "close_fds",
        "pass_fds",
        "cwd",
        "env",
        "startupinfo",
        "creationflags",
        "shell",
    ),
    *PIPES,
    *("restore_signals", "gid", "gids", "uid", "umask", "start_new_session", "process_group"),
)
# What forks do not do, and its default.
PLAIN = {
    **dict.fromkeys(("executable", "gid", "gids", "uid")),
    "umask": -1,
    "shell": False,
    "close_fds": True,
    "restore_signals": True,
}


class ClosedStreams:
    """A `preexec_fn` of `Popen`: starts a process without the standard streams of these numbers, as `<&-` does."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers

    def __call__(self) -> None:
        for number in self.numbers:
            os.close(number)


class ForkServer:
    """A connection to the process that forks. Each process that it returns is a child of the calling process."""

    def __init__(self, connection: socket.socket, env: Mapping[str, str]) -> None:
        self.connection = connection
        self._fixed = fixed_variables(env)
        self._lock = threading.Lock()

    def accepts(self, env: Mapping[str, str]) -> bool:
        """Return whether Python would start in the same way with this environment."""
        return fixed_variables(env) == self._fixed

    def fork(self, request: dict[str, Any], descriptors: list[int]) -> int:
        """Start a process; return its process ID."""
        data = json.dumps(request).encode()
        with self._lock:
            set_subreaper(is_set=True)  # the new process is an orphan for a moment, and comes to this one
            try:
                socket.send_fds(self.connection, [HEADER.pack(len(data), len(descriptors))], descriptors)
                self.connection.sendall(data)
                reply = self.connection.recv(REPLY.size, socket.MSG_WAITALL)
            finally:
                set_subreaper(is_set=False)
        (pid,) = REPLY.unpack(reply) if len(reply) == REPLY.size else (0,)
        if not pid:
            raise OSError("the fork server failed")
        return int(pid)


class ForkingPopen(subprocess.Popen[Any]):
    """`subprocess.Popen`, whose `chatkit` commands are forked."""

    server: ForkServer | None = None
    worker_server: ForkServer | None = None
    _lock = threading.Lock()

    def _execute_child(self, *values: Any) -> None:
        call = dict(zip(PARAMETERS, values, strict=True))
        request, descriptors = describe(call), descriptors_of(call)
        server = None if request is None or not can_pass(descriptors) else self._fork_server(request["module"])
        if request is None or server is None or not server.accepts(request["env"]):
            super()._execute_child(*values)  # type: ignore[misc]
            return
        self.pid = server.fork(request, descriptors)
        self._child_created = True
        self._close_pipe_fds(*(call[name] for name in PIPES))  # type: ignore[attr-defined]

    @classmethod
    def _fork_server(cls, module: str) -> ForkServer | None:
        if not module:
            return cls.worker_server
        with cls._lock:
            if cls.server is None:
                cls.server = start_server()
            return cls.server


def describe(call: dict[str, Any]) -> dict[str, Any] | None:
    """Return what to run, where, and in which state of signals; None if it is not forked."""
    args, env = call["args"], os.environ if call["env"] is None else call["env"]
    before = call["preexec_fn"] or ClosedStreams()
    if isinstance(args, str | bytes | os.PathLike) or any(call[name] != plain for name, plain in PLAIN.items()):
        return None
    if not isinstance(before, ClosedStreams):
        return None
    words = [os.fsdecode(word) for word in args]
    is_safe = words[1:2] == ["-P"]  # Python's option: the working folder is not on the path
    start, module = words[: 2 + is_safe], words[2 + is_safe : 3 + is_safe]
    is_worker = words[:-1] == [sys.executable, *WORKER]
    is_command = start == [sys.executable, *(["-P"] if is_safe else []), "-m"] and set(module) <= MODULES
    folder = folder_of(call["cwd"])
    if not (is_worker or is_command) or folder is None:
        return None
    return {
        "module": "" if is_worker else module[0],
        "code": words[-1] if is_worker else "",
        "argv": ["-c"] if is_worker else words[2 + is_safe :],
        "is_safe": is_safe,
        "is_unbuffered": is_worker or bool(env.get("PYTHONUNBUFFERED")),
        "cwd": folder,
        "env": {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()},
        "new_session": call["start_new_session"],
        "group": call["process_group"],
        "pass_fds": list(call["pass_fds"]),
        "closed": before.numbers,
        "ignored": [each for each in signal.valid_signals() if signal.getsignal(each) is signal.SIG_IGN],
        "blocked": list(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    }


def folder_of(cwd: Any) -> str | None:
    """Return the absolute path of a process's working folder; None if no process can start there."""
    try:
        folder = Path(os.fsdecode(cwd or ".")).resolve(strict=True)
    except OSError:  # also: this process's own folder was removed
        return None
    return str(folder) if folder.is_dir() and os.access(folder, os.X_OK) else None


def descriptors_of(call: dict[str, Any]) -> list[int]:
    """Return the descriptors that a process gets: its standard streams, and those to pass."""
    given = (call["p2cread"], call["c2pwrite"], call["errwrite"])
    return [own if each == -1 else each for own, each in enumerate(given)] + list(call["pass_fds"])


def can_pass(descriptors: list[int]) -> bool:
    """Return whether all descriptors are open, and few enough."""
    try:
        for each in descriptors:
            os.fstat(each)
    except OSError:
        return False
    return len(descriptors) <= MAX_DESCRIPTORS


def fixed_variables(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that Python and the C library read only at the start of a process."""
    return {name: env[name] for name in env if name.startswith(READ_BY_PYTHON) and name not in APPLIED}


def start_server(*words: str) -> ForkServer:
    """Start the process that imports chatkit, or the tests, and then forks. It ends with this process."""
    ours, theirs = socket.socketpair()
    env = {name: value for name, value in os.environ.items() if name not in APPLIED}
    script = Path(__file__).with_name("fork_server.py")
    with theirs:
        command = [sys.executable, str(script), str(theirs.fileno()), *words]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=env
        )
    process.returncode = 0  # it ends with the connection, and is not waited for
    return ForkServer(ours, env)


def set_subreaper(*, is_set: bool) -> None:
    """Let this process become the parent of orphans among its descendants, or not."""
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, int(is_set), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def install() -> None:
    """Fork the `chatkit` commands of this process from now on."""
    if sys.platform == "linux" and not os.environ.get(OFF):
        subprocess.Popen = ForkingPopen  # type: ignore[misc]


def fork_workers() -> None:
    """Fork the workers of pytest-xdist that this process starts from now on."""
    if subprocess.Popen is ForkingPopen:
        ForkingPopen.worker_server = start_server(TESTS)


_libc = ctypes.CDLL(None, use_errno=True)

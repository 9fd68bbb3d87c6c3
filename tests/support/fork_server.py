"""The process that has imported chatkit, and forks on request: `fork_server.py FD [tests]`. See `forking`.

A forked process is set up as `python -m MODULE` is after its start, and then runs the module in the same way. A worker
of pytest-xdist is set up as `python -c CODE` is.
"""

import atexit
import codecs
import ctypes
import fcntl
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import forking

import chatkit.cli

PR_SET_NAME = 15
# Modules that servers and clients import when they need them.
LOADED_LATE = (
    *("asyncpg", "hiredis", "redis.asyncio.cluster", "redis.asyncio.sentinel", "sqlite3", "webbrowser"),
    *("anyio._backends._asyncio", "encodings.idna", "email.mime.text", "getpass", "websockets.asyncio.client"),
    *("uvicorn.lifespan.on", "uvicorn.loops.auto", "uvicorn.protocols.http.httptools_impl", "uvloop"),
    *("litestar._kwargs", "litestar.exceptions.responses", "litestar.middleware._internal.exceptions.middleware"),
    *("litestar.middleware.allowed_hosts", "litestar.middleware.csrf", "litestar.middleware.response_cache"),
    *(
        "litestar.plugins.attrs",
        "litestar.plugins.pydantic",
        "pydantic.deprecated.class_validators",
        "pydantic.json_schema",
        "pydantic.type_adapter",
    ),
    *("typer._adapters", "typer._click.decorators"),
)
# Modules that only `chatkit mcp` imports at its start: their SDK takes as long as all others.
OF_MCP = ("chatkit.mcp.http_exchange", "chatkit.mcp.sdk_server", "chatkit.mcp.stdio")


def load() -> None:
    """Import what a command may import, and build the commands and the server's routes."""
    names = [each.name for each in pkgutil.walk_packages(chatkit.__path__, "chatkit.")]
    # An editable installation has the folder of the commands elsewhere.
    commands = [each.name for each in pkgutil.walk_packages(chatkit.cli.__path__, "chatkit.cli.")]
    import_modules(name for name in (*names, *commands, *LOADED_LATE) if name not in OF_MCP)
    importlib.import_module("chatkit.cli.main").build_commands()
    importlib.import_module("chatkit.server.app").routed_app(())


def import_modules(names: Iterable[str]) -> None:
    for name in names:
        if not name.endswith("__main__") and name not in forking.MODULES:  # these are run, not imported
            with suppress(ImportError):
                importlib.import_module(name)


def serve(connection: socket.socket) -> dict[str, Any] | None:
    """Fork on each request. Return the request in the new process; None when the other side has ended."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # of the terminal; the processes that it forks handle them
    while True:
        header, descriptors, _, _ = socket.recv_fds(connection, forking.HEADER.size, forking.MAX_DESCRIPTORS)
        if not header:
            return None
        length, _ = forking.HEADER.unpack(header)
        request: dict[str, Any] = json.loads(connection.recv(length, socket.MSG_WAITALL))
        if request["argv"][1:2] == ["mcp"]:
            import_modules(OF_MCP)
        if fork_orphan():
            request["descriptors"] = descriptors
            return request
        for each in descriptors:
            os.close(each)


def fork_orphan() -> bool:
    """Fork a process whose parent has ended. Return whether this is the new process."""
    reads, writes = os.pipe()
    middle = os.fork()
    if not middle:
        if os.fork():
            os._exit(0)
        os.close(writes)
        os.read(reads, 1)  # the end of the file: it is an orphan, and has its new parent
        os.close(reads)
        return True
    os.close(reads)
    os.waitpid(middle, 0)
    os.close(writes)
    return False


def become(request: dict[str, Any], connection: socket.socket) -> None:
    """Set this process up as if Python had been started for the request."""
    if request["new_session"]:
        os.setsid()
    if request["group"] >= 0:
        os.setpgid(0, request["group"])
    os.chdir(request["cwd"])
    place_descriptors(request["descriptors"], [0, 1, 2, *request["pass_fds"]], connection)
    env = request["env"]
    for name in os.environ.keys() - env.keys():
        del os.environ[name]
    os.environ.update(env)
    time.tzset()
    paths = [os.path.abspath(path) for path in env.get("PYTHONPATH", "").split(os.pathsep) if path]  # noqa: PTH100
    sys.path[:0] = ([] if request["is_safe"] else [request["cwd"]]) + paths
    sys.argv[:] = request["argv"]
    for number in request["closed"]:
        os.close(number)
    open_streams(env.get("PYTHONIOENCODING", ""), set(request["closed"]), is_unbuffered=request["is_unbuffered"])
    reset_signals(set(request["ignored"]), set(request["blocked"]))


def place_descriptors(received: list[int], numbers: list[int], connection: socket.socket) -> None:
    """Give the received descriptors their numbers, and close all others but the connection's."""
    free = max(*received, *numbers, connection.fileno()) + 1
    kept = fcntl.fcntl(connection.fileno(), fcntl.F_DUPFD_CLOEXEC, free)
    copies = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, free) for each in received]
    for copy, number in zip(copies, numbers, strict=True):
        os.dup2(copy, number)
    open_fds = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    for each in set(open_fds) - {*numbers, kept}:
        with suppress(OSError):
            os.close(each)
    connection.detach()
    os.set_inheritable(kept, False)
    connection.__init__(fileno=kept)  # type: ignore[misc]


def open_streams(encoding: str, closed: set[int], *, is_unbuffered: bool) -> None:
    """Make the standard streams as the interpreter does at its start: those that are closed are None."""
    encoding, errors = (codecs.lookup(encoding).name, "strict") if encoding else ENCODING
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if descriptor in closed:
            setattr(sys, name, None)
            setattr(sys, f"__{name}__", None)
            continue
        is_written = descriptor > 0
        raw = io.FileIO(descriptor, "w" if is_written else "r", closefd=False)
        raw.name = f"<{name}>"
        is_raw = is_written and is_unbuffered
        stream = io.TextIOWrapper(
            raw if is_raw else io.BufferedWriter(raw) if is_written else io.BufferedReader(raw),
            encoding,
            "backslashreplace" if name == "stderr" else errors,
            "\n",
            line_buffering=not is_unbuffered and (raw.isatty() or name == "stderr"),
            write_through=is_unbuffered,
        )
        stream.mode = "w" if is_written else "r"  # type: ignore[misc]
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def reset_signals(ignored: set[int], blocked: set[int]) -> None:
    """Set what `exec` and Python's start set: ignored signals stay ignored, all others have their defaults."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if number in ignored or number in {signal.SIGPIPE, signal.SIGXFSZ}:
            signal.signal(number, signal.SIG_IGN)
        elif number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
        elif signal.getsignal(number) != signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def starts_processes(argv: list[str]) -> bool:
    """Return whether a command starts processes of chatkit itself."""
    return "bench" in argv[1:2] or ("serve" in argv[1:2] and any(word.startswith("--workers") for word in argv))


def run_server(connection: socket.socket) -> dict[str, Any]:
    """Fork on request until the other side ends. Return only in the forked processes, once they are set up."""
    os.chdir("/")
    request = serve(connection)
    if request is None:
        os._exit(0)
    try:
        become(request, connection)
        if starts_processes(request["argv"]):
            inner = fork_own_server(connection)
            if inner is not None:
                return inner
        name_process(Path(sys.executable).name)
        with connection:
            connection.sendall(forking.REPLY.pack(os.getpid()))
    except BaseException:
        connection.sendall(forking.REPLY.pack(0))
        raise
    return request


def fork_own_server(outer: socket.socket) -> dict[str, Any] | None:
    """Fork a server for the processes that this one starts. Return None here, and the request in those processes."""
    ours, theirs = socket.socketpair()
    if os.fork():
        theirs.close()
        forking.ForkingPopen.server = forking.ForkServer(ours, dict(os.environ))
        subprocess.Popen = forking.ForkingPopen  # type: ignore[misc]
        return None
    ours.detach()
    outer.detach()
    sys.path[:] = PATH
    place_descriptors([os.open(os.devnull, os.O_RDWR)] * 3, [0, 1, 2], theirs)
    return run_server(theirs)


def name_process(name: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def run(request: dict[str, Any]) -> NoReturn:
    """Run a module or code as Python does, and end as Python does, except that the modules are not destroyed."""
    status = 0
    try:
        if request["module"]:
            runpy._run_module_as_main(request["module"])  # type: ignore[attr-defined]
        else:
            main = sys.modules["__main__"] = ModuleType("__main__")
            exec(request["code"], vars(main))
    except SystemExit as end:
        status = status_of(end)
    except BaseException as error:  # noqa: BLE001
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    gc.collect()  # reports what was not awaited
    os._exit(status if flush() else 120)


def status_of(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return (end.code or 0) & 0xFF
    print(end.code, file=sys.stderr)  # noqa: T201
    return 1


def flush() -> bool:
    """Flush the standard streams; return whether it succeeded."""
    is_flushed = True
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            try:
                stream.flush()
            except BaseException as error:  # noqa: BLE001
                if stream is sys.stdout:
                    is_flushed = False
                    print(f"Exception ignored in: {stream!r}\n{error!r}", file=sys.stderr)  # noqa: T201
    return is_flushed


if __name__ == "__main__":
    begin = importlib.import_module("imported_tests").load if forking.TESTS in sys.argv[2:] else load
    sys.path.pop(0)
    PATH = tuple(sys.path)
    ENCODING = (sys.stdin.encoding, sys.stdin.errors)
    begin()
    gc.collect()
    gc.freeze()
    name_process(forking.NAME)
    run(run_server(socket.socket(fileno=int(sys.argv[1]))))

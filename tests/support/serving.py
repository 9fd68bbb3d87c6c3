"""Real `chatkit serve` processes for tests: start, wait until ready, kill, and restart on the same port and store."""

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

BANNER_END = "Press Ctrl-C to stop the server."
READY_WITHIN_S = 30.0  # two noisy cores: far beyond a start that works, far below a test run's patience
STOP_WITHIN_S = 20.0


class ServerFailedError(Exception):
    """`chatkit serve` ended, or did not answer in time; the text is what it had said by then."""


class ServerProcess:
    """One `chatkit serve` on a port of its own. `url`, `ws_url` and the store outlive a kill and a restart."""

    def __init__(
        self,
        store: str,
        port: int,
        folder: Path,
        options: tuple[str, ...],
        env: Mapping[str, str],
        command: list[str] | None = None,
    ) -> None:
        self.store = store
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.ws_url = f"ws://127.0.0.1:{port}"
        self._folder = folder
        self._options = options
        self._env = clean_environment(env)
        self._command = command or [sys.executable, "-m", "chatkit.cli"]
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0  # where the log of the current life begins

    @property
    def pid(self) -> int:
        """The process that answers; raise where none runs."""
        return self._running().pid

    @property
    def log(self) -> str:
        """What the server has said until now, over all its lives."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def start(self) -> Self:
        """Start, and return when `/health` answers and the banner is in the log."""
        self._log_start = len(self.log)
        command = [*self._command, "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--backend", self.store, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=self._env,
            )
        self._wait_until_ready()
        return self

    def kill9(self) -> None:
        """Kill the server, as the kernel does when memory runs out."""
        self.signal(signal.SIGKILL)
        self._running().wait()
        self._process = None

    def stop(self) -> int:
        """Ask to end, wait for it and return the exit status; do nothing where none runs."""
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.terminate()
        try:
            return process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerFailedError(f"did not end within {STOP_WITHIN_S} s of SIGTERM:\n{self.log}") from None

    def restart(self) -> None:
        """Start again where it stood: after `kill9`, or by way of `stop`."""
        self.stop()
        self.start()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP or SIGCONT."""
        self._running().send_signal(number)

    @property
    def _log_path(self) -> Path:
        return self._folder / f"serve-{self.port}.log"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerFailedError("no server runs")
        return self._process

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if self._running().poll() is not None:
                self._process = None
                raise ServerFailedError(f"ended before it was ready:\n{self.log}")
            if _is_healthy(self.port) and BANNER_END in self.log[self._log_start :]:
                return
            time.sleep(0.02)
        self.signal(signal.SIGKILL)
        self._running().wait()
        self._process = None
        raise ServerFailedError(f"not ready within {READY_WITHIN_S} s:\n{self.log}")


@contextmanager
def serve(
    store: Path | str,
    *options: str,
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
    command: list[str] | None = None,
) -> Iterator[ServerProcess]:
    """Run `chatkit serve` on a free port until the block ends; it ends with it, even where a test left it stopped.

    `command` is what to run in place of this tree's chatkit. `store` is a backend URL, or a path: then an SQLite store
    there. `options` are more words for the command line. The server's working folder and log are in `folder`: by
    default the path's; needed where `store` is a URL.
    """
    if isinstance(store, Path):
        folder, store = folder or store.parent, f"sqlite:///{store.absolute()}"
    if folder is None:
        raise ValueError("say in which folder the server may write its log")
    server = ServerProcess(store, free_port(), folder, options, env or {}, command)
    try:
        yield server.start()
    finally:
        if server._process is not None:
            server.signal(signal.SIGCONT)
            server.stop()


def start_in_process_group(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start `chatkit serve` in a process group of its own."""
    command = [sys.executable, "-m", "chatkit.cli", "serve", *words]
    env = clean_environment({})
    return subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now, and that no outgoing connection is given by itself."""
    while True:
        port = random.randint(10_000, 32_000)  # the system hands out those from 32,768 on
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def clean_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without the settings that a developer may have set, and with `more`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CHATKIT_")}
    return inherited | {"PYTHONUNBUFFERED": "1"} | dict(more)


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

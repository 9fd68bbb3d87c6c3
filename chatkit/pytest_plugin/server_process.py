"""ServerProcess: a `chatkit serve` for tests: start, wait until ready, kill, and restart on the same port and store."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from chatkit.bench.local.store import free_port

BANNER_END = "Press Ctrl-C to stop the server."
READY_WITHIN_S = 30.0  # two noisy cores: far beyond a start that works, far below a test run's patience
STOP_WITHIN_S = 20.0


class ServerFailedError(Exception):
    """`chatkit serve` ended, or did not answer in time. The text is its log."""


class ServerProcess:
    """A `chatkit serve` on a port of its own. `url`, `ws_url` and the store stay the same after a restart.

    Every call may raise `ServerFailedError`.
    """

    def __init__(
        self,
        store: str,
        port: int,
        folder: Path,
        *,
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
        """The id of the process; raise if none runs."""
        return self._running().pid

    @property
    def log(self) -> str:
        """The output of the server, of all its lives."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def start(self) -> Self:
        """Start the server; return when `/health` answers and the banner is in the log."""
        self._log_start = len(self.log)
        command = [*self._command, "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this program itself
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
        """Kill the server with SIGKILL, as the kernel does when memory runs out."""
        self.signal(signal.SIGKILL)
        self._running().wait()
        self._process = None

    def stop(self) -> int:
        """Stop the server with SIGTERM, also if it is paused, and return its exit status. Do nothing if none runs."""
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            return process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerFailedError(f"did not end within {STOP_WITHIN_S} s of SIGTERM:\n{self.log}") from None

    def restart(self) -> None:
        """Start the server again, after `stop` if it runs."""
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
            raise ServerFailedError("the server does not run")
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
    """Run `chatkit serve` on a free port until the block ends, also if it was left paused.

    Args:
        store: URL of a backend, or the path of an SQLite store.
        options: More options of `chatkit serve`.
        folder: Folder of the server's log, in which it runs. Without one, it is that of the path.
        env: Environment variables. Of this process, the settings of chatkit are not passed on.
        command: Program to run in place of `python -m chatkit.cli`.

    """
    if isinstance(store, Path):
        folder, store = folder or store.parent, f"sqlite:///{store.absolute()}"
    if folder is None:
        raise ValueError("a store with a URL needs a folder for the log of its server")
    server = ServerProcess(store, free_port(), folder, options=options, env=env or {}, command=command)
    try:
        yield server.start()
    finally:
        server.stop()


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

"""LocalServer: a `chatkit serve` process on a free port of this machine, which can be killed, paused and restarted."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from chatkit.bench.local.store import free_port
from chatkit.errors import Unavailable

START_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0
POLL_S = 0.02


class LocalServer:
    """`chatkit serve` without rate limits, with its log in `folder` and further `options`. Calls block.

    `url` is empty while it does not run. Without a `port`, each start uses another one, so that a client that still has
    the old address does not reach another server.
    """

    def __init__(
        self,
        folder: Path,
        backend: str,
        *,
        max_connections: int,
        name: str = "server",
        options: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        self.url = ""
        self.log = folder / f"{name}.log"
        self._folder = folder
        self._backend = backend
        self._max_connections = max_connections
        self._options = options
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._lock = threading.Lock()  # a start in another thread must not create a process after `close`

    @property
    def has_ended(self) -> bool:
        """Whether it was started and ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start the server; return when it listens. Raise `Unavailable` with its log if it does not."""
        with self._lock:
            if self._is_closed:
                raise Unavailable("the benchmark has ended")
            log_offset = self.log.stat().st_size if self.log.exists() else 0
            self._process = process = self._spawn()
        self.url = self._await_url(process, log_offset)

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        self._terminate(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the server with SIGTERM, or with SIGKILL if that takes too long. Never raises."""
        self._terminate(signal.SIGTERM)

    def restart(self) -> None:
        """Stop the server and start it again. Raise `Unavailable` if it does not start."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stop the process with SIGSTOP: its connections stay open, and it does not answer."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the process with SIGCONT."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop the server for good, even if it is paused. Closing again does nothing."""
        with self._lock:
            self._is_closed = True
        self.resume()
        self.stop()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - this program itself
                [
                    *(sys.executable, "-m", "chatkit.cli", "serve", "--host", "127.0.0.1"),
                    # Not 0: a load of many connections may have used up the ephemeral ports.
                    *("--port", str(self._port or free_port())),
                    *("--rate-limit", "0", "--max-connections", str(self._max_connections)),
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=self._environment(),
                start_new_session=True,  # Ctrl-C must only reach the benchmark, which then stops its server
            )

    def _environment(self) -> dict[str, str]:
        """Return the environment without the user's settings; it holds the backend, which may contain a password."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CHATKIT_")}
        return inherited | {"XDG_CONFIG_HOME": str(self._folder), "CHATKIT_BACKEND": self._backend}

    def _await_url(self, process: "subprocess.Popen[bytes]", log_offset: int) -> str:
        """Wait for the server's banner; return the URL in it."""
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline:
            text = self.log.read_bytes()[log_offset:].decode(errors="replace")
            if found := re.search(r"open +(http://127\.0\.0\.1:\d+)/", text):
                return found[1]
            if process.poll() is not None:
                raise Unavailable(f"the server did not start: {text.strip() or process.returncode}")
            time.sleep(POLL_S)
        raise Unavailable(f"the server did not start within {START_WITHIN_S:.0f} s")

    def _terminate(self, number: signal.Signals) -> None:
        self.url = ""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


@contextmanager
def local_server(max_connections: int) -> Iterator[LocalServer]:
    """Start a server on a temporary store and yield it; stop it after the block. Raise `Unavailable`.

    It keeps its address when it is started again.
    """
    with TemporaryDirectory(prefix="chatkit-bench-") as name:
        folder = Path(name)
        backend = f"sqlite:///{folder / 'rooms.db'}"
        server = LocalServer(folder, backend, max_connections=max_connections, port=free_port())
        try:
            server.start()
            yield server
        finally:
            server.close()

"""A server of the bench's own: a process on a free port of this machine, to be killed, paused and started again."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from chatkit.bench.local.store import free_port
from chatkit.errors import Unavailable

START_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0
POLL_S = 0.02


class LocalServer:
    """`chatkit serve` without limits on rates, its log in `folder`. `url` is where it is, or empty. Calls block.

    With every start it is elsewhere: nobody who still has the old place meets a stranger there.
    """

    def __init__(self, folder: Path, backend: str, *, max_connections: int, name: str = "server") -> None:
        self.url = ""
        self.log = folder / f"{name}.log"
        self._folder = folder
        self._backend = backend
        self._max_connections = max_connections
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._turn = threading.Lock()  # a start in another thread must not leave a process behind a close

    @property
    def has_ended(self) -> bool:
        """Whether it was started and has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start, and return when it listens. Raise `Unavailable` with what it said if it does not."""
        with self._turn:
            if self._is_closed:
                raise Unavailable("the bench ends")
            said_before = self.log.stat().st_size if self.log.exists() else 0
            self._process = process = self._spawn()
        self.url = self._listening(process, said_before)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it with SIGTERM; with SIGKILL where that takes too long. Raise nothing."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Stop it (SIGSTOP): its connections stand, and nothing answers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it for good, even where it is paused. Closing again does nothing."""
        with self._turn:
            self._is_closed = True
        self.resume()
        self.stop()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as said:
            return subprocess.Popen(  # noqa: S603 - this very program
                [
                    *(sys.executable, "-m", "chatkit.cli", "serve", "--host", "127.0.0.1", "--open"),
                    # Not 0: a load of many connections may have used up the ports that the system hands out by itself.
                    *("--port", str(free_port())),
                    *("--rate-limit", "0", "--max-connections", str(self._max_connections)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=self._folder,
                env=self._environment(),
                start_new_session=True,  # Ctrl-C is for the bench, which then ends its server
            )

    def _environment(self) -> dict[str, str]:
        """Leave out the settings of the user's own server; the backend goes here, as it may hold a password."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CHATKIT_")}
        return inherited | {"XDG_CONFIG_HOME": str(self._folder), "CHATKIT_BACKEND": self._backend}

    def _listening(self, process: "subprocess.Popen[bytes]", said_before: int) -> str:
        """Wait for the server's greeting, which says where it is."""
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline:
            said = self.log.read_bytes()[said_before:].decode(errors="replace")
            if found := re.search(r"open +(http://127\.0\.0\.1:\d+)/", said):
                return found[1]
            if process.poll() is not None:
                raise Unavailable(f"the server did not start: {said.strip() or process.returncode}")
            time.sleep(POLL_S)
        raise Unavailable(f"the server did not start within {START_WITHIN_S:.0f} s")

    def _end(self, number: signal.Signals) -> None:
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
def own_server(max_connections: int) -> Iterator[str]:
    """Start a server on a store that goes with it, and yield its URL; it ends with the block. Raise `Unavailable`."""
    with TemporaryDirectory(prefix="chatkit-bench-") as name:
        folder = Path(name)
        server = LocalServer(folder, f"sqlite:///{folder / 'rooms.db'}", max_connections=max_connections)
        try:
            server.start()
            yield server.url
        finally:
            server.close()

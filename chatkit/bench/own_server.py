"""A server of the bench's own: a process on a free port of this machine, with a store that goes with it."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from chatkit.errors import Unavailable

START_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0
POLL_S = 0.02


@contextmanager
def own_server(max_connections: int) -> Iterator[str]:
    """Start `chatkit serve` without limits on rates, and yield its URL; it ends with the block. Raise `Unavailable`."""
    with TemporaryDirectory(prefix="chatkit-bench-") as name:
        folder = Path(name)
        log = folder / "log"
        with log.open("wb") as said:
            process = subprocess.Popen(  # noqa: S603 - this very program
                [
                    *(sys.executable, "-m", "chatkit.cli", "serve", "--host", "127.0.0.1", "--port", "0", "--open"),
                    *("--backend", f"sqlite:///{folder / 'rooms.db'}", "--rate-limit", "0"),
                    *("--max-connections", str(max_connections)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=folder,
                env=_environment(folder),
                start_new_session=True,  # Ctrl-C is for the bench, which then ends its server
            )
        try:
            yield _url(process, log)
        finally:
            _stop(process)


def _environment(folder: Path) -> dict[str, str]:
    """Leave out the settings of the user's own server."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CHATKIT_")}
    return inherited | {"XDG_CONFIG_HOME": str(folder)}


def _url(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Wait for the server's greeting, which says where it is."""
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline:
        said = log.read_text(errors="replace")
        if found := re.search(r"open +(http://127\.0\.0\.1:\d+)/", said):
            return found[1]
        if process.poll() is not None:
            raise Unavailable(f"the server did not start: {said.strip() or process.returncode}")
        time.sleep(POLL_S)
    raise Unavailable(f"the server did not start within {START_WITHIN_S:.0f} s")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

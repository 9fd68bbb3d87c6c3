"""RedisServer and RedisCluster: private Redis servers in temporary folders, on free ports of this machine.

Acknowledged writes are on disk (`appendfsync always`), so that a kill loses nothing.
"""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

from chatkit.bench.local.store import LocalStore, free_port
from chatkit.errors import Unavailable

START_WITHIN_S = 60.0  # after a kill, it first replays its log
POLL_S = 0.02
MISSING = "redis-server and redis-cli are not installed: on Debian, apt-get install redis-server"
N_MASTERS = 3  # the minimum of a cluster
N_SLOTS = 16_384  # in every Redis Cluster
NODE_TIMEOUT_MS = 5_000  # before a paused node counts as failed; there is no replica to replace it
OPTIONS = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--bind", "127.0.0.1")


class RedisServer(LocalStore):
    """One server, with additional `options` of redis-server."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._server, self._cli = _program("redis-server"), _program("redis-cli")
        self._options = options
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The server's process ID, while it runs."""
        if self._process is None:
            raise Unavailable("Redis does not run")
        return self._process.pid

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        if self._folder is None:
            self._folder = Path(mkdtemp(prefix="chatkit-redis-"))
        return self._folder

    def start(self) -> None:
        """Start on the existing data."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - found by `_program`
                [self._server, "--port", str(self.port), "--dir", str(self.folder), *OPTIONS, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C must not reach it
            )
        self._await(self._responds, "does not answer")

    def ask(self, *command: str) -> str:
        """Run a command with redis-cli; return its output. Raise `Unavailable` if it fails."""
        done = subprocess.run(  # noqa: S603 - found by `_program`
            [self._cli, "-e", "-p", str(self.port), *command],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise Unavailable(f"redis-cli {' '.join(command)[:80]}: {(done.stdout + done.stderr).strip()}")
        return done.stdout.strip()

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop the server with SIGSTOP."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the server with SIGCONT."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill the server and remove its folder."""
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _responds(self) -> bool:
        with suppress(Unavailable):
            return self.ask("PING") == "PONG"
        return False

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while not condition():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                log_tail = (self.folder / "log").read_text(errors="replace")[-500:].strip()
                raise Unavailable(f"Redis {what}: {log_tail}")
            time.sleep(POLL_S)


class _Node(RedisServer):
    """A node of a cluster."""

    def __init__(self, options: Sequence[str]) -> None:
        self.bus_port = free_port()
        how = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS))
        super().__init__((*how, "--cluster-port", str(self.bus_port), *options))

    def await_whole(self) -> None:
        """Wait until the node knows the owner of every slot."""
        self._await(self._knows_all, "Cluster does not come together")

    def _knows_all(self) -> bool:
        with suppress(Unavailable):
            info = self.ask("CLUSTER", "INFO")
            return "cluster_state:ok" in info and f"cluster_slots_ok:{N_SLOTS}" in info
        return False


class RedisCluster(LocalStore):
    """Three masters without replicas, each with additional `options`."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        self.nodes = [_Node(options) for _ in range(N_MASTERS)]
        self._is_created = False
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> None:
        """Start all nodes; join them to a cluster the first time."""
        for node in self.nodes:
            node.start()
        if not self._is_created:
            self._create()
            self._is_created = True
        for node in self.nodes:
            node.await_whole()

    def _create(self) -> None:
        first = self.nodes[0]
        step = -(-N_SLOTS // N_MASTERS)
        for n, node in enumerate(self.nodes):
            last = min((n + 1) * step, N_SLOTS) - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", str(n * step), str(last))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(n + 1))
            if node is not first:
                node.ask("CLUSTER", "MEET", "127.0.0.1", str(first.port), str(first.bus_port))

    def kill(self) -> None:
        """Kill all nodes with SIGKILL."""
        for node in self.nodes:
            node.kill()

    def pause(self) -> None:
        """Stop all nodes with SIGSTOP."""
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        """Continue all nodes with SIGCONT."""
        for node in self.nodes:
            node.resume()

    def close(self) -> None:
        """Kill all nodes and remove their folders."""
        for node in self.nodes:
            node.close()


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Unavailable(MISSING)
    return found

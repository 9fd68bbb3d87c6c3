"""RedisServer and RedisCluster: a Redis of one's own, in a temporary folder, on free ports of this machine.

What is acknowledged is on the disk (`appendfsync always`), so that a kill loses nothing.
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

START_WITHIN_S = 60.0  # a killed one first replays its log
POLL_S = 0.02
MISSING = "redis-server and redis-cli are not here: on Debian, apt-get install redis-server"
N_MASTERS = 3  # the least that a cluster is made of
N_SLOTS = 16_384  # of every Redis Cluster
NODE_TIMEOUT_MS = 5_000  # a paused node is not given up before: there is no replica to take its place
OPTIONS = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--bind", "127.0.0.1")


class RedisServer(LocalStore):
    """One server, with more `options` of redis-server's if need be."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._server, self._cli = _program("redis-server"), _program("redis-cli")
        self._options = options
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The server's process id, while it runs."""
        if self._process is None:
            raise Unavailable("Redis does not run")
        return self._process.pid

    @property
    def folder(self) -> Path:
        """Where its files are."""
        if self._folder is None:
            self._folder = Path(mkdtemp(prefix="chatkit-redis-"))
        return self._folder

    def start(self) -> None:
        """Start, on the data that are there."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - found by `_program`
                [self._server, "--port", str(self.port), "--dir", str(self.folder), *OPTIONS, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for whoever started it
            )
        self._await(self._answers, "does not answer")

    def ask(self, *command: str) -> str:
        """Run a command with redis-cli; return what it prints. Raise `Unavailable` if it fails."""
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
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _answers(self) -> bool:
        with suppress(Unavailable):
            return self.ask("PING") == "PONG"
        return False

    def _await(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while not is_so():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "log").read_text(errors="replace")[-500:].strip()
                raise Unavailable(f"Redis {what}: {said}")
            time.sleep(POLL_S)


class _Node(RedisServer):
    """A node of a cluster."""

    def __init__(self, options: Sequence[str]) -> None:
        self.bus_port = free_port()
        how = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS))
        super().__init__((*how, "--cluster-port", str(self.bus_port), *options))

    def await_whole(self) -> None:
        """Return when the node knows who serves each slot."""
        self._await(self._knows_all, "Cluster does not come together")

    def _knows_all(self) -> bool:
        with suppress(Unavailable):
            info = self.ask("CLUSTER", "INFO")
            return "cluster_state:ok" in info and f"cluster_slots_ok:{N_SLOTS}" in info
        return False


class RedisCluster(LocalStore):
    """Three masters, without replicas, each with more `options` if need be."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        self.nodes = [_Node(options) for _ in range(N_MASTERS)]
        self._is_made = False
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> None:
        """Start all nodes; make them a cluster the first time."""
        for node in self.nodes:
            node.start()
        if not self._is_made:
            self._make()
            self._is_made = True
        for node in self.nodes:
            node.await_whole()

    def _make(self) -> None:
        first = self.nodes[0]
        step = -(-N_SLOTS // N_MASTERS)
        for n, node in enumerate(self.nodes):
            last = min((n + 1) * step, N_SLOTS) - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", str(n * step), str(last))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(n + 1))
            if node is not first:
                node.ask("CLUSTER", "MEET", "127.0.0.1", str(first.port), str(first.bus_port))

    def kill(self) -> None:
        """End all nodes with SIGKILL."""
        for node in self.nodes:
            node.kill()

    def pause(self) -> None:
        """Stop all nodes."""
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        """Let them go on."""
        for node in self.nodes:
            node.resume()

    def close(self) -> None:
        """End all nodes and remove their folders."""
        for node in self.nodes:
            node.close()


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Unavailable(MISSING)
    return found

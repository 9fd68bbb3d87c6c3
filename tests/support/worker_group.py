"""A server with several workers, for tests: its processes, and a connection to each of them."""

import asyncio
import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import forking
from raw_client import WITHIN_S, eventually
from serving import ServerProcess, serve

ENDED = {"Z", "X"}  # states of a process that was not waited for yet
STOP_TIMEOUT_S = 2.0  # of workers that serve an application of the tests, which does not stop slowly, but hangs
FOLLOWERS = 4  # enough for each of two workers to have some

Opened = TypeVar("Opened")


class WorkerGroup:
    """The workers of one `chatkit serve`."""

    def __init__(self, server: ServerProcess, headers: Mapping[str, str] | None = None) -> None:
        self.server = server
        self._headers = headers or {}

    @property
    def pids(self) -> set[int]:
        """The processes of the workers, including those that start or stop."""
        return children(self.server.pid)

    @contextmanager
    def connect_to_each(self) -> Iterator[dict[int, "WorkerConnection"]]:
        """Open a connection to each worker that serves, by its process ID."""
        connections: dict[int, WorkerConnection] = {}
        with ExitStack() as stack:
            deadline = time.monotonic() + WITHIN_S
            while len(connections) < self._n_workers(connections):
                assert time.monotonic() < deadline, f"only {set(connections)} of {self.pids} answer"
                # Connections stay open until all workers are reached, so the next goes to a worker with fewer.
                connection = stack.enter_context(closing(WorkerConnection(self.server.port, self._headers)))
                with suppress(OSError, http.client.HTTPException):  # its worker was killed
                    if connections.setdefault(connection.health["pid"], connection) is not connection:
                        time.sleep(0.02)  # the other may still be starting
            yield connections

    def _n_workers(self, connections: "dict[int, WorkerConnection]") -> int:
        return 2 if not connections else next(iter(connections.values())).n_workers

    @property
    def connections(self) -> dict[int, int]:
        """How many sockets and streams each worker holds."""
        with self.connect_to_each() as connections:
            return {pid: connection.health["connections"] for pid, connection in connections.items()}

    def until_replaced(self, gone: set[int], n_workers: int = 2) -> None:
        """Wait until `n_workers` other workers serve."""

        def are_others() -> bool:
            pids = self.pids
            if pids & gone or len(pids) != n_workers:
                return False
            with self.connect_to_each() as connections:
                return set(connections) == pids

        eventually(are_others, within_s=60)


class WorkerConnection(http.client.HTTPConnection):
    """An HTTP connection that stays with its worker."""

    def __init__(self, port: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__("127.0.0.1", port, timeout=WITHIN_S)
        self._headers = dict(headers or {})
        self.n_workers = 0

    def ask(self, method: str, path: str, body: str | None = None) -> Any:
        """Make a call; return the JSON of its response."""
        self.request(method, path, body, self._headers)
        answer = self.getresponse()
        found = answer.read()
        assert answer.status < 300, (answer.status, found)
        return json.loads(found)

    @property
    def health(self) -> dict[str, Any]:
        report: dict[str, Any] = self.ask("GET", "/health")
        self.n_workers = report["workers"]
        return report


@contextmanager
def serve_workers(store: Path | str, *options: str, n_workers: int = 2, **more: Any) -> Iterator[WorkerGroup]:
    """Run `chatkit serve --workers`; yield when all workers serve."""
    with serve(store, "--workers", str(n_workers), "--rate-limit", "0", *options, **more) as server:
        eventually(lambda: "Press Ctrl-C" in server.log, within_s=60)
        yield WorkerGroup(server)


async def open_on_both(
    group: WorkerGroup,
    stack: AsyncExitStack,
    n_least: int,
    open_one: Callable[[int], AbstractAsyncContextManager[Opened]],
) -> list[Opened]:
    """Open at least `n_least` connections, and more until each worker has one: a slow worker accepts fewer."""
    opened: list[Opened] = []
    while len(opened) < n_least or 0 in (await asyncio.to_thread(lambda: group.connections)).values():
        assert len(opened) < 20 * n_least
        opened.append(await stack.enter_async_context(open_one(len(opened))))
    return opened


def children(pid: int) -> set[int]:
    """Return the running child processes of a process, without the process that forks them."""
    known = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return {each for each in known if (state := _state(each)) and state[1] == str(pid) and state[0] not in ENDED}


def is_running(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    state = _state(pid)
    return state is not None and state[0] not in ENDED


def _state(pid: int) -> list[str] | None:
    """Return a process's state and its parent; None if there is no such process, or if it only forks others."""
    with suppress(OSError):
        name, _, fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        return None if name.endswith(forking.NAME) else fields.split()[:2]
    return None

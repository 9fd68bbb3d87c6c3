"""Fleet: several servers on one store, started by the benchmark."""

import random
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from chatkit.bench.local.server import LocalServer

ALLOW_WEBHOOKS = ("--webhook-allow", "127.0.0.0/8")  # to receivers on this machine


class Fleet:
    """A context manager: its servers run inside the block, and its folder is removed at the end. Calls block."""

    def __init__(self, backend: str, n_servers: int, *, max_connections: int) -> None:
        self._folder = TemporaryDirectory(prefix="chatkit-bench-")
        folder = Path(self._folder.name)
        self.servers: Sequence[LocalServer] = [
            LocalServer(
                folder, backend, max_connections=max_connections, name=f"server-{index}", options=ALLOW_WEBHOOKS
            )
            for index in range(n_servers)
        ]

    def __enter__(self) -> Self:
        try:
            self.start(self.servers)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop every server and remove the folder."""
        self._each(LocalServer.close, self.servers)
        self._folder.cleanup()

    def start(self, servers: Sequence[LocalServer]) -> None:
        """Start servers at the same time. Raise `Unavailable` if one does not start."""
        self._each(LocalServer.start, servers)

    def kill(self, servers: Sequence[LocalServer]) -> None:
        """Kill servers at the same time."""
        self._each(LocalServer.kill, servers)

    def choose_server(self, than: int | None) -> int | None:
        """Choose a running server at random, preferably not `than`; return None if none runs."""
        there = [index for index, server in enumerate(self.servers) if server.url]
        others = [index for index in there if index != than]
        return random.choice(others or there) if there else None  # noqa: S311 - spreads load

    def errors(self) -> list[str]:
        """Return unexpected errors from the servers' logs: the last line of each traceback."""
        text = "\n".join(server.log.read_text(errors="replace") for server in self.servers if server.log.exists())
        return re.findall(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)*(\S.*)$", text, re.MULTILINE)

    @staticmethod
    def _each(do: Callable[[LocalServer], None], servers: Sequence[LocalServer]) -> None:
        with ThreadPoolExecutor(len(servers)) as threads:
            for outcome in [threads.submit(do, server) for server in servers]:
                outcome.result()

"""LocalStore: a database server that this process starts in a temporary folder, on a free port, and stops."""

import random
import socket
from abc import ABC, abstractmethod
from contextlib import suppress
from types import TracebackType
from typing import Self

PORTS = range(15_000, 30_000)  # below the ephemeral ports of Linux and other systems


class LocalStore(ABC):
    """One store. `url` is for `open_backend`; it and the data survive `kill` and `start`. Calls block."""

    url: str

    @abstractmethod
    def start(self) -> None:
        """Start; return when it answers. Raise `ChatkitError` if the program is missing or fails."""

    @abstractmethod
    def kill(self) -> None:
        """Kill all its processes with SIGKILL; return when they have ended."""

    @abstractmethod
    def pause(self) -> None:
        """Stop it with SIGSTOP: connections stay open, and it does not answer."""

    @abstractmethod
    def resume(self) -> None:
        """Continue it with SIGCONT."""

    @abstractmethod
    def close(self) -> None:
        """Kill it and remove its folder. Closing again does nothing."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def free_port() -> int:
    """Return a free port outside the ephemeral range, so that it stays free between two starts."""
    while True:
        port = random.choice(PORTS)  # noqa: S311 - so that two processes choose differently
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port

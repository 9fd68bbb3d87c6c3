"""OwnStore: a database server that this process starts in a temporary folder, on a free port, and ends."""

import random
import socket
from abc import ABC, abstractmethod
from contextlib import suppress
from types import TracebackType
from typing import Self

PORTS = range(15_000, 30_000)  # below those of outgoing connections, on Linux and elsewhere


class LocalStore(ABC):
    """One store. `url` is what `open_backend` takes; it and the data outlive `kill` and `start`. Calls block."""

    url: str

    @abstractmethod
    def start(self) -> None:
        """Start; return when it answers. Raise `ChatkitError` with a sentence if the program is missing or fails."""

    @abstractmethod
    def kill(self) -> None:
        """End every process of it with SIGKILL, and return when they are gone."""

    @abstractmethod
    def pause(self) -> None:
        """Stop it (SIGSTOP): connections stand, and nothing answers."""

    @abstractmethod
    def resume(self) -> None:
        """Let it go on (SIGCONT)."""

    @abstractmethod
    def close(self) -> None:
        """End it and remove its folder. Closing again does nothing."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def free_port() -> int:
    """Choose a port that this machine does not give to outgoing connections: between two starts it stays free."""
    while True:
        port = random.choice(PORTS)  # noqa: S311 - so that two who choose at once choose differently
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port

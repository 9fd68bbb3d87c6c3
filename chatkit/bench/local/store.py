"""LocalStore: a database server that this process starts in a temporary folder, on a free port, and stops."""

import errno
import itertools
import os
import random
import socket
from abc import ABC, abstractmethod
from contextlib import suppress
from types import TracebackType
from typing import Self

PORTS = range(15_000, 30_000)  # below the ephemeral ports of Linux and other systems
N_SHARES = 100  # of the ports: one for each process, by its process ID

_turns = itertools.count(random.SystemRandom().randrange(len(PORTS)))  # not seeded, as `random` may be by tests


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
    """Return a free port outside the ephemeral range, so that it stays free between two starts.

    Each process has ports of its own, in turn: otherwise, two that start servers at the same time choose the same port
    once in a while, before either has opened it.
    """
    own = PORTS[os.getpid() % N_SHARES :: N_SHARES]
    for _ in range(len(own)):
        port = own[next(_turns) % len(own)]
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(errno.EADDRINUSE, f"all ports of this process are in use, from {own[0]} to {own[-1]}")

"""OwnStore: a database server that this process starts in a temporary folder, on a free port, and ends."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class OwnStore(ABC):
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

"""Tally: how many connections each worker has, in memory that all of them see.

Each process has a cell, which it alone writes. A cell whose process has not written for a while counts no more: who is
paused or gone is waited for by nobody. The clock is an argument; it is the machine's, the same in all processes.
"""

import mmap
import os
import tempfile
from types import TracebackType
from typing import Final, Self

FRESH_NS: Final = 1_000_000_000  # ten beats that did not come: its process does nothing now
_CELL: Final = 2  # numbers: connections, and when they were counted
_BYTES: Final = 8  # of a number; an aligned one is written at once


class ConnectionCounts:
    """The cells, seen from the process of one of them. `fd` is what another process opens them by."""

    def __init__(self, fd: int, n_cells: int, own: int | None = None) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, n_cells * _CELL * _BYTES)
        self._numbers = memoryview(self._memory).cast("q")
        self._n_cells = n_cells
        self._own = own

    @classmethod
    def create(cls, n_cells: int) -> Self:
        """Make the memory, all cells empty."""
        with tempfile.TemporaryFile() as file:
            file.truncate(n_cells * _CELL * _BYTES)
            return cls(os.dup(file.fileno()), n_cells)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._numbers.release()
        self._memory.close()
        os.close(self.fd)

    def write(self, n_connections: int, now_ns: int) -> None:
        """Say how many this process has."""
        if self._own is not None:
            at = self._own * _CELL
            self._numbers[at], self._numbers[at + 1] = n_connections, now_ns

    def clear(self, cell: int) -> None:
        """Count the cell no more, until it is written again."""
        self._numbers[cell * _CELL + 1] = 0

    def leave(self) -> None:
        """Be counted no more."""
        if self._own is not None:
            self.clear(self._own)

    def fewest_elsewhere(self, now_ns: int) -> int | None:
        """Return what the process with the fewest has, of all others that are at work; None where there is none."""
        return min(
            (
                self._numbers[cell * _CELL]
                for cell in range(self._n_cells)
                if cell != self._own and now_ns - self._numbers[cell * _CELL + 1] < FRESH_NS
            ),
            default=None,
        )

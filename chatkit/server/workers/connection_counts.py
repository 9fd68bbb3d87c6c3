"""ConnectionCounts: how many connections each worker has, in memory shared by all of them.

Each process writes only its own cell. A cell that was not written for a while is ignored, so that no process waits for
one that is paused or dead. The caller passes the time; the clock is the machine's, the same in all processes.
"""

import mmap
import os
import tempfile
from types import TracebackType
from typing import Final, Self

STALE_AFTER_NS: Final = 1_000_000_000  # ten missed updates: the process is paused or dead
_NUMBERS_PER_CELL: Final = 2  # the number of connections, and when it was counted
_NUMBER_BYTES: Final = 8  # an aligned 64-bit number is written atomically


class ConnectionCounts:
    """The cells, as seen by the process that owns one of them. Another process opens them by `fd`."""

    def __init__(self, fd: int, n_cells: int, own_cell: int | None = None) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, n_cells * _NUMBERS_PER_CELL * _NUMBER_BYTES)
        self._numbers = memoryview(self._memory).cast("q")
        self._n_cells = n_cells
        self._own_cell = own_cell

    @classmethod
    def create(cls, n_cells: int) -> Self:
        """Allocate the memory with all cells empty."""
        with tempfile.TemporaryFile() as file:
            file.truncate(n_cells * _NUMBERS_PER_CELL * _NUMBER_BYTES)
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
        """Publish how many connections this process has."""
        if self._own_cell is not None:
            at = self._own_cell * _NUMBERS_PER_CELL
            self._numbers[at], self._numbers[at + 1] = n_connections, now_ns

    def clear(self, cell: int) -> None:
        """Ignore the cell until it is written again."""
        self._numbers[cell * _NUMBERS_PER_CELL + 1] = 0

    def leave(self) -> None:
        """Stop counting this process."""
        if self._own_cell is not None:
            self.clear(self._own_cell)

    def fewest_of_others(self, now_ns: int) -> int | None:
        """Return the lowest count among the other processes that are alive, or None if no other process is."""
        return min(
            (
                self._numbers[cell * _NUMBERS_PER_CELL]
                for cell in range(self._n_cells)
                if cell != self._own_cell and self._is_fresh(cell, now_ns)
            ),
            default=None,
        )

    def _is_fresh(self, cell: int, now_ns: int) -> bool:
        written_ns = self._numbers[cell * _NUMBERS_PER_CELL + 1]
        # An empty cell holds 0, which would be a recent time on a machine that has just booted.
        return written_ns > 0 and now_ns - written_ns < STALE_AFTER_NS

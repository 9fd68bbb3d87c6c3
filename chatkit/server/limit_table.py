"""LimitTable: what the clients of a server have used of their allowances, in memory that all its workers share.

An allowance is one number, the time at which it is full again: using it moves that time into the future. So an entry
needs no process that refills it, and is free as soon as its times have passed. All workers read the same entries, and a
limit is the same with any number of them. There are no locks, so that a worker that is paused or killed delays nobody.

No use is lost, because each process writes only its own cells. A cell holds the time as its process knew it, all that
the process has used (its sum), and the sum of all processes that the time includes. What others have used since is the
difference of that sum to the present one. So each cell gives a time that is at most the true one, and the cell that was
written last gives the true one: the time of an entry is the highest of them.

Times are seconds of the machine's monotonic clock, which is the same in all processes.
"""

import mmap
import os
import secrets
import tempfile
from hashlib import blake2b
from struct import Struct
from types import TracebackType
from typing import Final, Self

N_COLUMNS: Final = 3  # times of an entry
N_ENTRIES: Final = 1 << 14  # 1.5 MiB for each process, used as needed: most entries are free within milliseconds
ENTRIES_PER_SET: Final = 8  # an entry is looked up among these; the tag of its key chooses the set
N_SETS: Final = N_ENTRIES // ENTRIES_PER_SET
SALT_BYTES: Final = 16  # a client that could compute a tag could choose keys that evict another's entry
NUMBER_BYTES: Final = 8  # an aligned 64-bit number is written atomically
# A cell: the tag of its key, the sum of its process, the time, and the sum of all processes in that time. The time is
# written last and read first: a process that reads in between counts a use late, which the next one corrects.
CELL: Final = Struct("Qddd")
TAG, OWN_SUM, TIME, SUM = range(4)
NUMBERS_PER_CELL: Final = 4


class LimitTable:
    """The entries, as seen by the process that owns one of `n_cells` cells of each time.

    Another process opens them by `fd`, with another `own_cell`; without `fd`, they are private.
    """

    def __init__(self, fd: int | None = None, n_cells: int = 1, own_cell: int = 0) -> None:
        self.fd = fd
        self._row_bytes = n_cells * CELL.size
        self._row_numbers = n_cells * NUMBERS_PER_CELL
        self._own_cell = own_cell
        self.own_bytes = own_cell * CELL.size, (own_cell + 1) * CELL.size  # where the own cell is in a row
        self._rows_at = SALT_BYTES + N_ENTRIES * NUMBER_BYTES
        self._memory = mmap.mmap(-1 if fd is None else fd, _count_bytes(n_cells))
        if fd is None:
            self._memory[:SALT_BYTES] = secrets.token_bytes(SALT_BYTES)
        self._salt = self._memory[:SALT_BYTES]
        numbers = memoryview(self._memory)
        self._tags = numbers[SALT_BYTES : self._rows_at].cast("Q")
        self._cell_tags = numbers[self._rows_at :].cast("Q")
        self._cell_numbers = numbers[self._rows_at :].cast("d")

    @classmethod
    def create(cls, n_cells: int) -> Self:
        """Allocate an empty table that other processes can open."""
        with tempfile.TemporaryFile() as file:
            file.write(secrets.token_bytes(SALT_BYTES))
            file.truncate(_count_bytes(n_cells))
            file.flush()
            return cls(os.dup(file.fileno()), n_cells)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.fd is not None:
            os.close(self.fd)  # the memory is freed with the last process that uses it

    def entry(self, *key: object) -> "LimitEntry":
        """Return the entry of a key. It uses memory of the table only while one of its times is in the future."""
        digest = blake2b(repr(key).encode(errors="replace"), digest_size=NUMBER_BYTES, key=self._salt).digest()
        return LimitEntry(self, int.from_bytes(digest, "little"))

    def has(self, at: int, tag: int) -> bool:
        """Return whether the entry at a position is still that of a tag."""
        return self._tags[at] == tag

    def find(self, tag: int) -> int | None:
        """Return the position of a tag's entry, or None if it has none."""
        first = tag % N_SETS * ENTRIES_PER_SET
        tags = self._tags[first : first + ENTRIES_PER_SET].tolist()
        return first + tags.index(tag) if tag in tags else None

    def claim(self, tag: int) -> int:
        """Give a tag the entry of its set that is free, or is free soonest. Return its position."""
        first = tag % N_SETS * ENTRIES_PER_SET
        self._tags[min(range(first, first + ENTRIES_PER_SET), key=self._used_until)] = tag
        at = self.find(tag)  # another process may have given it another entry at the same moment
        return first if at is None else at

    def row(self, at: int, column: int) -> bytes:
        """Return the cells of all processes for one time of the entry at a position."""
        start = self._rows_at + (at * N_COLUMNS + column) * self._row_bytes
        return self._memory[start : start + self._row_bytes]

    def write(self, at: int, column: int, cell: tuple[int, float, float, float], *, is_new: bool) -> None:
        """Write this process's cell of an entry. `is_new` is whether it was another key's."""
        start = (at * N_COLUMNS + column) * self._row_numbers + self._own_cell * NUMBERS_PER_CELL
        numbers = self._cell_numbers
        if is_new:
            self._cell_tags[start + TAG] = 0  # no key's, until it is complete
            numbers[start + OWN_SUM] = numbers[start + TIME] = numbers[start + SUM] = 0.0
            self._cell_tags[start + TAG] = cell[0]
        numbers[start + OWN_SUM] = cell[OWN_SUM]
        numbers[start + SUM] = cell[SUM]
        numbers[start + TIME] = cell[TIME]

    def _used_until(self, at: int) -> float:
        tag = self._tags[at]
        return max(merge(self.row(at, column), tag)[0] for column in range(N_COLUMNS))


def merge(row: bytes, tag: int) -> tuple[float, float]:
    """Return the time of a row, 0 if it was not set, and the sum of all processes that this time includes.

    If the row was read while a process wrote, a cell may include more than the sum that was read: it is then taken as
    it is, and its sum with it.
    """
    cells = [cell for cell in CELL.iter_unpack(row) if cell[0] == tag]
    total = sum([cell[1] for cell in cells])
    return max(
        [(time_s + max(0.0, total - seen), max(total, seen)) for _, _, time_s, seen in cells], default=(0.0, 0.0)
    )


def _count_bytes(n_cells: int) -> int:
    return SALT_BYTES + N_ENTRIES * (NUMBER_BYTES + N_COLUMNS * n_cells * CELL.size)


class LimitEntry:
    """The times of one key."""

    __slots__ = ("_at", "_merged", "_rows", "_table", "_tag")

    def __init__(self, table: LimitTable, tag: int) -> None:
        self._table = table
        self._tag = tag
        self._at = 0  # where it was last; another key may have it by now
        # The cells when they were last merged: most of the time, no process has changed them since.
        self._rows = [b""] * N_COLUMNS
        self._merged = [(0.0, 0.0)] * N_COLUMNS

    def read(self, column: int) -> float:
        """Return a time; 0 if it was not set, or if the entry was given to another key."""
        if not self._table.has(self._at, self._tag):
            at = self._table.find(self._tag)
            if at is None:
                return 0.0
            self._at = at
        return self._merge(column)[0]

    def extend(self, column: int, until_s: float) -> None:
        """Move a time to `until_s`, unless it is later already."""
        self._claim()
        time_s, total = self._merge(column)
        self._write(column, max(time_s, until_s), total, 0.0)

    def use(self, column: int, amount_s: float, now: float) -> None:
        """Move a time into the future by an amount, counted from now or from where it is already."""
        self._claim()
        time_s, total = self._merge(column)
        self._write(column, max(now, time_s) + amount_s, total + amount_s, amount_s)

    def _claim(self) -> None:
        if not self._table.has(self._at, self._tag):
            at = self._table.find(self._tag)
            self._at = self._table.claim(self._tag) if at is None else at

    def _merge(self, column: int) -> tuple[float, float]:
        row = self._table.row(self._at, column)
        if row != self._rows[column]:
            self._rows[column] = row
            self._merged[column] = merge(row, self._tag)
        return self._merged[column]

    def _write(self, column: int, time_s: float, total: float, amount_s: float) -> None:
        """Write the own cell, given the row that was merged before."""
        row, (start, end) = self._rows[column], self._table.own_bytes
        tag, own_sum, _, _ = CELL.unpack_from(row, start)
        is_new = tag != self._tag
        cell = self._tag, amount_s if is_new else own_sum + amount_s, time_s, total
        self._table.write(self._at, column, cell, is_new=is_new)
        self._rows[column] = row[:start] + CELL.pack(*cell) + row[end:]
        self._merged[column] = time_s, total

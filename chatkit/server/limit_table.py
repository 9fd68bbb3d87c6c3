"""LimitTable: what the clients of a server have used of their allowances, in memory that all its workers share.

An allowance is one number, the time at which it is full again: using it moves that time into the future. So an entry
needs no process that refills it, and is free as soon as its times have passed. All workers read and write the same
entries, and a limit is the same with any number of them. There are no locks, so that a worker that is paused or killed
delays nobody. The price: while a worker changes an entry, which takes about a microsecond, what others use of the same
entry is lost. An allowance that is used up is not changed, so this is possible during a burst, and rare after it.

Times are seconds of the machine's monotonic clock, which is the same in all processes.
"""

import mmap
import os
import secrets
import tempfile
from hashlib import blake2b
from types import TracebackType
from typing import Final, Self

N_COLUMNS: Final = 3  # times of an entry
N_ENTRIES: Final = 1 << 15  # one megabyte, used as needed: of most clients, an entry is free within milliseconds
ENTRIES_PER_SET: Final = 8  # an entry is looked up among these; the tag of its key chooses the set
N_SETS: Final = N_ENTRIES // ENTRIES_PER_SET
SALT_BYTES: Final = 16  # a client that could compute a tag could choose keys that evict another's entry
NUMBER_BYTES: Final = 8  # an aligned 64-bit number is written atomically
N_BYTES: Final = SALT_BYTES + (1 + N_COLUMNS) * N_ENTRIES * NUMBER_BYTES


class LimitTable:
    """The entries, as seen by one process. Another process opens them by `fd`; without it, they are private."""

    def __init__(self, fd: int | None = None) -> None:
        self.fd = fd
        self._memory = mmap.mmap(-1 if fd is None else fd, N_BYTES)
        if fd is None:
            self._memory[:SALT_BYTES] = secrets.token_bytes(SALT_BYTES)
        self._salt = self._memory[:SALT_BYTES]
        numbers = memoryview(self._memory)[SALT_BYTES:]
        self._tags = numbers[: N_ENTRIES * NUMBER_BYTES].cast("Q")
        self._times = numbers[N_ENTRIES * NUMBER_BYTES :].cast("d")

    @classmethod
    def create(cls) -> Self:
        """Allocate an empty table that other processes can open."""
        with tempfile.TemporaryFile() as file:
            file.write(secrets.token_bytes(SALT_BYTES))
            file.truncate(N_BYTES)
            file.flush()
            return cls(os.dup(file.fileno()))

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
        at = min(range(first, first + ENTRIES_PER_SET), key=self._used_until)
        for column in range(N_COLUMNS):
            self.write(at, column, 0.0)
        self._tags[at] = tag
        return at

    def read(self, at: int, column: int) -> float:
        """Return a time of the entry at a position."""
        return self._times[at * N_COLUMNS + column]

    def write(self, at: int, column: int, time_s: float) -> None:
        """Set a time of the entry at a position."""
        self._times[at * N_COLUMNS + column] = time_s

    def _used_until(self, at: int) -> float:
        return max(self._times[at * N_COLUMNS : (at + 1) * N_COLUMNS])


class LimitEntry:
    """The times of one key."""

    __slots__ = ("_at", "_table", "_tag")

    def __init__(self, table: LimitTable, tag: int) -> None:
        self._table = table
        self._tag = tag
        self._at = 0  # where it was last; another key may have it by now

    def read(self, column: int) -> float:
        """Return a time; 0 if it was not set, or if the entry was given to another key."""
        if not self._table.has(self._at, self._tag):
            at = self._table.find(self._tag)
            if at is None:
                return 0.0
            self._at = at
        return self._table.read(self._at, column)

    def write(self, column: int, time_s: float) -> None:
        """Set a time."""
        if not self._table.has(self._at, self._tag):
            at = self._table.find(self._tag)
            self._at = self._table.claim(self._tag) if at is None else at
        self._table.write(self._at, column, time_s)

    def use(self, column: int, amount_s: float, now: float) -> None:
        """Move a time into the future by an amount, counted from now or from where it is already."""
        self.write(column, max(now, self.read(column)) + amount_s)

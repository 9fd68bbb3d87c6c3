"""Checkpointer: when the write-ahead log is moved into the file, so that it does not grow without bound.

A checkpoint syncs the disk, so it has its own thread. Appends go on during a checkpoint; only one that comes while the
log is being emptied waits, and that is done after a redaction and where the log has grown too long under a steady load.
"""

import sqlite3
import time
from contextlib import suppress
from math import inf

PAGE_BYTES = 4_096  # SQLite's default, which no store of ours changes
# Often enough to open fast after a crash; seldom enough that syncing the disk costs little.
CHECKPOINT_BYTES = 8 * 2**20
MAX_WAL_BYTES = 64 * 2**20  # beyond it the log is emptied though an append may have to wait for that
EMPTY_TIMEOUT_MS = 50  # how long emptying waits for readers, and with it may hold up an append
EMPTY_AGAIN_S = 1.0  # a reader that was in the way is rarely there for longer


class Checkpointer:
    """Tends to the write-ahead log, in its own thread."""

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None  # set while the log has to be emptied, from `_again_at_s` on
        self._again_at_s = -inf
        self.is_sync_due = True  # the first commit to a log that begins again syncs its header

    def checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move what can be moved without anyone waiting; empty the log if it is far too long."""
        _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self.is_sync_due = True
        if pages * PAGE_BYTES > MAX_WAL_BYTES:
            self.empty(connection)

    def empty(self, connection: sqlite3.Connection) -> None:
        """Move everything and cut the log. While a reader is in the way, `tick` tries again."""
        self._connection = connection
        self._again_at_s = time.monotonic() + EMPTY_AGAIN_S
        connection.execute(f"PRAGMA busy_timeout = {EMPTY_TIMEOUT_MS}")
        is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not is_busy:
            self._connection = None
        self.is_sync_due = True

    def tick(self) -> float | None:
        """Try again to empty the log, if it is time to; return in how many seconds that is next, or None if it is."""
        if self._connection is not None and time.monotonic() >= self._again_at_s:
            with suppress(sqlite3.Error):  # a full disk, for example: then the next time may succeed
                self.empty(self._connection)
        return None if self._connection is None else max(0.0, self._again_at_s - time.monotonic())

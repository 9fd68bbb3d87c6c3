"""Checkpointer: decides when the write-ahead log is moved into the file, so that the log stays bounded.

A checkpoint syncs the disk, so it runs in its own thread, and appends continue. Only an append that comes while
the log is being emptied waits; the log is emptied after a redaction, and when it has grown too long under steady load.
"""

import sqlite3
import time
from contextlib import suppress
from math import inf

PAGE_BYTES = 4_096  # SQLite's default, which stores of chatkit keep
# Small enough that a store opens fast after a crash; large enough that syncing the disk costs little.
CHECKPOINT_BYTES = 8 * 2**20
MAX_WAL_BYTES = 64 * 2**20  # a longer log is emptied even if an append has to wait
EMPTY_TIMEOUT_MS = 50  # how long emptying waits for readers, and may delay an append
EMPTY_RETRY_S = 1.0  # a read rarely takes longer


class Checkpointer:
    """Makes the checkpoints of the write-ahead log. Its methods run in the checkpoint thread."""

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None  # set while emptying is to be retried at `_retry_at_s`
        self._retry_at_s = -inf
        self.is_sync_due = True  # the first commit after a checkpoint syncs the header of the log

    def checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move as much into the file as is possible without waiting; empty the log if it is too long."""
        _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self.is_sync_due = True
        if pages * PAGE_BYTES > MAX_WAL_BYTES:
            self.empty(connection)

    def empty(self, connection: sqlite3.Connection) -> None:
        """Move everything into the file and truncate the log. If a reader prevents that, `tick` tries again."""
        self._connection = connection
        self._retry_at_s = time.monotonic() + EMPTY_RETRY_S
        connection.execute(f"PRAGMA busy_timeout = {EMPTY_TIMEOUT_MS}")
        is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not is_busy:
            self._connection = None
        self.is_sync_due = True

    def tick(self) -> float | None:
        """Retry emptying the log if it is due; return the seconds until the next retry, or None if none is needed."""
        if self._connection is not None and time.monotonic() >= self._retry_at_s:
            with suppress(sqlite3.Error):  # for example a full disk: a later retry may succeed
                self.empty(self._connection)
        return None if self._connection is None else max(0.0, self._retry_at_s - time.monotonic())

"""Checkpointer: decides when the write-ahead log is moved into the file, so that the log stays bounded.

A checkpoint syncs the disk, so it runs in its own thread, and appends continue. Under steady load, something is
appended during each checkpoint, so that none reaches the end of the log, and the log grows. Then appends wait for a
short checkpoint, after which the log starts again, and a longer file is cut. After a redaction, the log is truncated,
which takes longer.
"""

import sqlite3
import time
from contextlib import suppress
from math import inf
from typing import Literal

PAGE_BYTES = 4_096  # SQLite's default, which stores of chatkit keep
# Small enough that a store opens fast after a crash; large enough that syncing the disk costs little.
CHECKPOINT_BYTES = 8 * 2**20
MAX_WAL_BYTES = 16 * 2**20  # a longer log is started again even if an append has to wait
FEW_PAGES = 64  # are written in less than the time for which the disk syncs
MAX_PASSES = 8  # before appends wait: each pass moves what was appended during the one before it
WAIT_MS = 10  # how long a checkpoint for which appends wait may wait itself, for readers and for its turn to write
MAX_WAIT_MS = 1_000  # the same while the log has grown to many times its length: every append comes in between
EMPTY_RETRY_S = 1.0  # a read rarely takes longer


class Checkpointer:
    """Makes the checkpoints of the write-ahead log. Its methods run in the checkpoint thread."""

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None  # set while emptying is to be retried at `_retry_at_s`
        self._retry_at_s = -inf
        self.is_sync_due = True  # the first commit after a checkpoint syncs the header of the log

    def checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move as much into the file as is possible without waiting; if the log is too long, let it start again."""
        n_pages, _ = self._move(connection, "PASSIVE")
        if n_pages * PAGE_BYTES > MAX_WAL_BYTES:
            self._move_most(connection)
            # The next append begins at the start, unless a read uses the log.
            self._move(connection, "FULL", min(MAX_WAIT_MS, WAIT_MS * n_pages * PAGE_BYTES // MAX_WAL_BYTES))

    def empty(self, connection: sqlite3.Connection) -> None:
        """Move everything into the file and truncate the log. If a reader prevents that, `tick` tries again."""
        self._connection = connection
        self._retry_at_s = time.monotonic() + EMPTY_RETRY_S
        self._move_most(connection)
        _, n_left = self._move(connection, "TRUNCATE")
        if n_left == 0:
            self._connection = None

    def _move_most(self, connection: sqlite3.Connection) -> None:
        for _ in range(MAX_PASSES):
            _, n_left = self._move(connection, "PASSIVE")
            if n_left <= FEW_PAGES:
                break

    def _move(
        self, connection: sqlite3.Connection, mode: Literal["PASSIVE", "FULL", "TRUNCATE"], wait_ms: int = WAIT_MS
    ) -> tuple[int, float]:
        """Make a checkpoint. Return how many pages the log had, and how many are left, or infinity if it could not run.

        Appends wait for it in the modes FULL and TRUNCATE.
        """
        connection.execute(f"PRAGMA busy_timeout = {wait_ms}")
        is_busy, n_pages, n_moved = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        self.is_sync_due = True
        return n_pages, inf if is_busy else n_pages - n_moved

    def tick(self) -> float | None:
        """Retry emptying the log if it is due; return the seconds until the next retry, or None if none is needed."""
        if self._connection is not None and time.monotonic() >= self._retry_at_s:
            with suppress(sqlite3.Error):  # for example a full disk: a later retry may succeed
                self.empty(self._connection)
        return None if self._connection is None else max(0.0, self._retry_at_s - time.monotonic())

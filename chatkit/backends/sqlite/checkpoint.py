"""Keeper: when the write-ahead log is moved into the file, so that it does not grow without bound.

A checkpoint syncs the disk, so it has a thread of its own. Appends go on meanwhile; only one that comes while the log
is being emptied waits, and that is done where it has grown too long under an unbroken load.
"""

import sqlite3
from collections.abc import Sequence

from chatkit.core.model import Draft

PAGE_BYTES = 4_096  # SQLite's default, which no store of ours changes
CHECKPOINT_BYTES = (
    8 * 2**20
)  # often enough to open fast after a crash; seldom enough that syncing the disk costs little
MAX_WAL_BYTES = 64 * 2**20  # beyond it the log is emptied though an append may have to wait for that
EMPTY_TIMEOUT_MS = 50  # how long emptying waits for readers, and with it may hold up an append
COMMIT_BYTES = 2 * PAGE_BYTES  # a commit writes whole pages: the last of the table and the last of its index
MESSAGE_BYTES = 150  # a message's row beside its body, and its place in the index


class Checkpointer:
    """Counts, where appends are made, what the write-ahead log has grown by; tends to it in its own thread."""

    def __init__(self) -> None:
        self._grown_bytes = 0
        self._is_to_empty = False
        self.is_sync_due = True  # the first commit to a log that begins anew syncs its header

    def appended(self, drafts: Sequence[Draft]) -> bool:
        """Count an append; say whether a checkpoint is due."""
        return self._grew(COMMIT_BYTES + sum([MESSAGE_BYTES + len(draft.body) for draft in drafts]))

    def dropped(self, count: int) -> bool:
        """Count a step of a trim; say whether a checkpoint is due."""
        return self._grew(
            COMMIT_BYTES + count * PAGE_BYTES
        )  # rooms lie mixed: each message may be of a page of its own

    def _grew(self, size_bytes: int) -> bool:
        self._grown_bytes += size_bytes
        if self._grown_bytes < CHECKPOINT_BYTES:
            return False
        self._grown_bytes = 0
        return True

    def checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move what can be moved without anyone waiting; empty the log if it is far too long."""
        _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self.is_sync_due = True
        if self._is_to_empty or pages * PAGE_BYTES > MAX_WAL_BYTES:
            self.empty(connection)

    def empty(self, connection: sqlite3.Connection) -> None:
        """Move everything and cut the log, unless a reader is in the way: the next time will do it."""
        connection.execute(f"PRAGMA busy_timeout = {EMPTY_TIMEOUT_MS}")
        is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._is_to_empty = bool(is_busy)
        self.is_sync_due = True

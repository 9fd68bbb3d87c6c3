"""Errors of the driver as errors of chatkit, and the retry while the database is locked."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from chatkit.errors import ChatkitError, NotAStore, StoreError, Unavailable

T = TypeVar("T")

BUSY_TIMEOUT_S = 5.0  # a commit takes microseconds: a process that holds the lock for longer is not appending
MAX_BUSY_WAIT_S = 0.01  # between two attempts to get the lock

_SENTENCES = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_BUSY: f"another process has held the lock for {BUSY_TIMEOUT_S:.0f} s",
    sqlite3.SQLITE_LOCKED: "it is locked",
    sqlite3.SQLITE_READONLY: "it cannot be written to",
    sqlite3.SQLITE_CANTOPEN: "it, or its -wal or -shm file, cannot be opened or created",
    sqlite3.SQLITE_PERM: "there is no permission to use it",
    sqlite3.SQLITE_AUTH: "there is no permission to use it",
    sqlite3.SQLITE_IOERR: "reading or writing it failed",
    sqlite3.SQLITE_PROTOCOL: "its lock could not be obtained",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_INTERRUPT: "reading it was interrupted",
}


def to_chatkit_error(error: sqlite3.Error, path: Path) -> ChatkitError:
    """Return the driver's error as `Unavailable` if a retry may succeed, else as `StoreError`."""
    code = _primary_code(error)
    if code == 0:  # an error of Python's sqlite3 module itself
        return StoreError(f"{path}: {error}")
    if code == sqlite3.SQLITE_NOTADB:
        return NotAStore(f"{path} is not an SQLite database")
    if code in _SENTENCES:
        return Unavailable(f"{path}: {_SENTENCES[code]} ({error})")
    return StoreError(f"{path} cannot be used: {error}")


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another process holds the lock: nothing was done, and a retry may succeed."""
    return _primary_code(error) == sqlite3.SQLITE_BUSY


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether the file's content is broken. Then the pages that other connections have cached are not valid."""
    return _primary_code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _primary_code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)  # errors of Python's sqlite3 module itself have none
    return code & 0xFF  # the other bits locate the error within SQLite


def retry_while_busy(call: Callable[[], T]) -> T:
    """Retry the call while another process holds the lock, for at most `BUSY_TIMEOUT_S`.

    The writer's connection has no busy time-out of SQLite's, so that the event loop can use it without waiting; and
    SQLite's does not apply to a change of the journal mode.
    """
    deadline_s = time.monotonic() + BUSY_TIMEOUT_S
    wait_s = 0.0005
    while True:
        try:
            return call()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline_s:
                raise
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, MAX_BUSY_WAIT_S)

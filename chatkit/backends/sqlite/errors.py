"""What the driver's errors mean: which of them may pass, and which of them say that the file is damaged."""

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
    sqlite3.SQLITE_CANTOPEN: "it, or the files beside it, cannot be opened or made",
    sqlite3.SQLITE_PERM: "there is no permission to use it",
    sqlite3.SQLITE_AUTH: "there is no permission to use it",
    sqlite3.SQLITE_IOERR: "reading or writing it failed",
    sqlite3.SQLITE_PROTOCOL: "its lock could not be obtained",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_INTERRUPT: "reading it was interrupted",
}


def as_ours(error: sqlite3.Error, path: Path) -> ChatkitError:
    """Translate the driver's error: what may pass is `Unavailable`, what will not is `StoreError`."""
    code = _primary_code(error)
    if code == 0:  # the sqlite3 module itself complains
        return StoreError(f"{path}: {error}")
    if code == sqlite3.SQLITE_NOTADB:
        return NotAStore(f"{path} is not an SQLite database")
    if code in _SENTENCES:
        return Unavailable(f"{path}: {_SENTENCES[code]} ({error})")
    return StoreError(f"{path} cannot be used: {error}")


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another process has the lock: nothing was done, and trying again may help."""
    return _primary_code(error) == sqlite3.SQLITE_BUSY


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether the file's content is broken: what other connections still hold in memory is then no store."""
    return _primary_code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _primary_code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)  # absent where the sqlite3 module itself complains
    return code & 0xFF  # the rest of it tells where in SQLite it came up


def until_free(call: Callable[[], T]) -> T:
    """Try again while another process has the lock.

    The writer's connection does not wait by itself, so that the event loop can use it; and SQLite does not wait by
    itself for a change of the journal's mode.
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

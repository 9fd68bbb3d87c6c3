"""The SQLite file: opening it, knowing it for ours, bringing it up to date, and saying what is wrong with it.

Knows no threads and no messages.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from chatkit.core.backend import new_epoch
from chatkit.errors import ChatkitError, NotAStore, StoreError, StoreTooNew, Unavailable

Synchronous: TypeAlias = Literal["normal", "full"]
T = TypeVar("T")

APPLICATION_ID = 0x63686B74  # "chkt": what `file` and other programs know a store by
MIGRATIONS = ("1.sql", "2.sql", "3.sql", "4.sql")  # script N brings a store from version N - 1 to N
BUSY_TIMEOUT_S = 5.0  # a commit takes microseconds: who holds the lock for longer is not appending
MAX_BUSY_WAIT_S = 0.01  # between two tries to get the lock
CACHED_STATEMENTS = 256  # every size of the append statement stays prepared, beside all others

_SENTENCES = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_BUSY: f"another process has held the lock for {BUSY_TIMEOUT_S:.0f} s",
    sqlite3.SQLITE_LOCKED: "it is locked",
    sqlite3.SQLITE_READONLY: "it cannot be written to",
    sqlite3.SQLITE_CANTOPEN: "it, or the files beside it, cannot be opened or made",
    sqlite3.SQLITE_PERM: "there is no permission to use it",
    sqlite3.SQLITE_AUTH: "there is no permission to use it",
    sqlite3.SQLITE_IOERR: "reading or writing it failed",
    sqlite3.SQLITE_PROTOCOL: "its lock could not be had",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_INTERRUPT: "reading it was interrupted",
}


def as_ours(error: sqlite3.Error, path: Path) -> ChatkitError:
    """Translate the driver's error: what may pass is `Unavailable`, what will not is `StoreError`."""
    code = getattr(error, "sqlite_errorcode", None)  # absent where the sqlite3 module itself complains
    if code is None:
        return StoreError(f"{path}: {error}")
    primary = code & 0xFF  # the rest of it tells where in SQLite it came up
    if primary == sqlite3.SQLITE_NOTADB:
        return NotAStore(f"{path} is not an SQLite database")
    if primary in _SENTENCES:
        return Unavailable(f"{path}: {_SENTENCES[primary]} ({error})")
    return StoreError(f"{path} cannot be used: {error}")


def open_writer(path: Path, synchronous: Synchronous, *, make_folder: bool) -> tuple[sqlite3.Connection, str]:
    """Open the store for writing, and return its epoch, too. Make it, or bring it up to date, where that is due."""
    _check_folder(path, make_folder=make_folder)
    with _opening(path) as connection:
        if _check_version(connection, path) == 0 and _holds_something(connection):
            raise NotAStore(f"{path} is another program's database")
        _switch_to_wal(connection, path)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        # A checkpoint syncs the disk: the keeper's connection does that, not the one that appends wait for.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA secure_delete = ON")  # a redacted body goes from the file, too
        _migrate(connection, path)
        connection.execute("PRAGMA busy_timeout = 0")  # see `until_free`
        (epoch,) = connection.execute("SELECT epoch FROM meta").fetchone()
        return connection, epoch


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a store that `open_writer` has opened before. Text comes as bytes: what is read is JSON, to be decoded."""
    with _opening(path) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.text_factory = bytes
        return connection


def open_keeper(path: Path) -> sqlite3.Connection:
    """Open a store for its checkpoints."""
    with _opening(path) as connection:
        return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold the write lock; commit at the end, or undo everything."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:  # something went wrong; some errors have rolled back by themselves
            connection.execute("ROLLBACK")


@contextmanager
def _opening(path: Path) -> Iterator[sqlite3.Connection]:
    """Connect; close again, and raise an error of ours, where setting up fails."""
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            path,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            cached_statements=CACHED_STATEMENTS,
            check_same_thread=False,  # a lane sees to it that its connection is used by one thread at a time
        )
        yield connection
    except (sqlite3.Error, ChatkitError) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, ChatkitError):
            raise
        raise as_ours(error, path) from error


def _check_folder(path: Path, *, make_folder: bool) -> None:
    """Say what is wrong with the place; SQLite says "unable to open" whatever it is."""
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        is_folder, has_folder = path.is_dir(), path.parent.is_dir()
    except OSError as error:
        raise Unavailable(f"{path} cannot be used: {error}") from error
    if is_folder:
        raise Unavailable(f"{path} is a folder, not a file")
    if not has_folder:
        raise Unavailable(f"{path} cannot be made: there is no folder {path.parent}")


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the store's version, 0 for a file that is none yet; raise where it is not ours, or not for us."""
    application, version = _header(connection)
    if application not in {0, APPLICATION_ID}:
        raise NotAStore(f"{path} is another program's database")
    if application == 0:
        return 0
    if version > len(MIGRATIONS):
        raise StoreTooNew(f"{path} is of version {version}, and this chatkit knows {len(MIGRATIONS)}: upgrade chatkit")
    return version


def _header(connection: sqlite3.Connection) -> tuple[int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(application), int(version)


def _holds_something(connection: sqlite3.Connection) -> bool:
    # Asked after the version was 0. In between, another process may have made the store: then the version tells.
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return tables > 0 and _header(connection)[0] != APPLICATION_ID


def _switch_to_wal(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = until_free(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchone())
    if mode != "wal":
        raise Unavailable(f"{path}: its file system cannot share a database between connections (no WAL)")


def is_busy(error: sqlite3.Error) -> bool:
    """Say whether another process has the lock: nothing was done, and trying again may help."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def until_free(call: Callable[[], T]) -> T:
    """Try again while another process has the lock.

    The writer's connection waits for nobody, so that the event loop can use it; and SQLite does not wait by itself for
    a change of the journal's mode.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    wait_s = 0.0005
    while True:
        try:
            return call()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, MAX_BUSY_WAIT_S)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if _check_version(connection, path) == len(MIGRATIONS):
        return
    with transaction(connection):
        version = _check_version(connection, path)  # again: another process may have done it while this one waited
        for script in MIGRATIONS[version:]:
            for statement in _statements((files(__package__) / "migrations" / script).read_text("utf-8")):
                connection.execute(statement)
        if version == 0:
            connection.execute("INSERT INTO meta (one, epoch) VALUES (1, ?)", [new_epoch()])
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _statements(script: str) -> Iterator[str]:
    """Cut a script into statements: `executescript` would commit the transaction that they are to share."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""

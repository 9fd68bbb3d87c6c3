"""The schema of a store in an SQLite file: recognising it, making it, and bringing it up to date.

Knows no threads and no messages.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeAlias

from chatkit.backends.sqlite.errors import BUSY_TIMEOUT_S, as_ours, until_free
from chatkit.backends.sqlite.file import StoreFile
from chatkit.core.backend import new_epoch
from chatkit.errors import ChatkitError, NotAStore, StoreTooNew, Unavailable

Synchronous: TypeAlias = Literal["normal", "full"]
APPLICATION_ID = 0x63686B74  # "chkt": what `file` and other programs know a store by
MIGRATIONS = ("1.sql", "2.sql", "3.sql", "4.sql", "5.sql")  # script N brings a store from version N - 1 to N
CACHED_STATEMENTS = 256  # every size of the append statement stays prepared, beside all others

_logger = logging.getLogger(__name__)

_NEWEST = "SELECT max(top, coalesce((SELECT max(id) FROM message), 0)) FROM meta"


def open_writer(file: StoreFile, synchronous: Synchronous, *, make: bool) -> tuple[sqlite3.Connection, str]:
    """Open the store for writing, and return its epoch, too. Make it, or bring it up to date, where that is due.

    Without `make`, a file that holds no store is left alone, and `NotAStore` is raised.
    """
    path = file.path
    with _opening(path) as connection:
        if _check_version(connection, path) == 0:
            if _holds_something(connection):
                raise NotAStore(f"{path} is another program's database")
            if not make:
                raise NotAStore(f"{path} holds no store: serving or publishing makes one")
        _switch_to_wal(connection, path)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        # A checkpoint syncs the disk: the keeper's connection does that, not the one that appends wait for.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA secure_delete = ON")  # a redacted body goes from the file, too
        _migrate(connection, path)
        epoch = _renew_copy(connection, file)
        file.opened()
        connection.execute("PRAGMA busy_timeout = 0")  # see `until_free`
        return connection, epoch


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a store that `open_writer` has opened before. Text comes as bytes: what is read is JSON, to be decoded."""
    with _opening(path) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.text_factory = bytes
        return connection


def open_checkpointer(path: Path) -> sqlite3.Connection:
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
            check_same_thread=False,  # a `ConnectionThread` ensures that one thread at a time uses its connection
        )
        yield connection
    except (sqlite3.Error, ChatkitError) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, ChatkitError):
            raise
        raise as_ours(error, path) from error


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


def _renew_copy(connection: sqlite3.Connection, file: StoreFile) -> str:
    """Return the store's epoch. A copy, as a restored backup is, begins a new one: it may use numbers a second time."""
    with transaction(connection):
        epoch, inode, is_marked = connection.execute("SELECT epoch, inode, is_marked FROM meta").fetchone()
        (newest_id,) = connection.execute(_NEWEST).fetchone()
        mark = file.read_mark()
        is_copy = inode != file.inode or (is_marked and mark is None) or (mark is not None and mark > newest_id)
        if not is_copy:
            return str(epoch)
        if inode:  # else this is the first time that the file is noted
            epoch = new_epoch()
            _logger.warning("%s is a copy or an older state of another store: its rooms begin a new epoch", file.path)
        is_marked = file.write_mark(newest_id)
        connection.execute("UPDATE meta SET epoch = ?, inode = ?, is_marked = ?", [epoch, file.inode, is_marked])
    return str(epoch)


def _statements(script: str) -> Iterator[str]:
    """Cut a script into statements: `executescript` would commit the transaction that they are to share."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""

"""The schema of a store in an SQLite file: how it is recognised, created and upgraded.

Knows nothing of threads and messages.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeAlias

from chatkit.backends.sqlite.checkpoint import MAX_WAL_BYTES
from chatkit.backends.sqlite.errors import BUSY_TIMEOUT_S, retry_while_busy, to_chatkit_error
from chatkit.backends.sqlite.file import SqliteFile
from chatkit.backends.sqlite.relations import create_view
from chatkit.core.backend import new_epoch
from chatkit.errors import ChatkitError, NotAStore, StoreTooNew, Unavailable

Synchronous: TypeAlias = Literal["normal", "full"]
APPLICATION_ID = 0x63686B74  # "chkt": by this, `file` and other programs recognise a store
# Script N upgrades a store from version N - 1 to N.
MIGRATIONS = ("1.sql", "2.sql", "3.sql", "4.sql", "5.sql", "6.sql", "7.sql", "8.sql", "9.sql")
CACHED_STATEMENTS = 256  # the append statement of every size stays prepared, with all other statements

_logger = logging.getLogger(__name__)

_NEWEST = "SELECT max(top, coalesce((SELECT max(id) FROM message), 0)) FROM meta"


def open_writer(file: SqliteFile, synchronous: Synchronous, *, make: bool) -> tuple[sqlite3.Connection, str]:
    """Open the store for writing; create or upgrade it if needed. Return the connection and the store's epoch.

    If `make` is false, a file that holds no store is left unchanged, and `NotAStore` is raised.
    """
    path = file.path
    with _opening(path) as connection:
        if check_version(connection, path) == 0:
            if _has_other_tables(connection):
                raise NotAStore(f"{path} is another program's database")
            if not make:
                raise NotAStore(f"{path} holds no store: serving or publishing creates one")
        _switch_to_wal(connection, path)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        # A checkpoint syncs the disk: the checkpoint thread does that, so that appends need not wait for it.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {MAX_WAL_BYTES}")  # when the log starts again
        connection.execute("PRAGMA secure_delete = ON")  # a redacted body is overwritten in the file
        _migrate(connection, path)
        epoch = _renew_epoch_of_copy(connection, file)
        file.record_companions()
        create_view(connection)
        connection.execute("PRAGMA busy_timeout = 0")  # see `retry_while_busy`
        return connection, epoch


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a store that `open_writer` has opened. Text is returned as bytes, because it is JSON to be decoded."""
    with _opening(path) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.text_factory = bytes
        return connection


def open_checkpointer(path: Path) -> sqlite3.Connection:
    """Open a store for making checkpoints."""
    with _opening(path) as connection:
        return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold the write lock; commit at the end, or roll back after an error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:  # after an error; some errors have rolled back already
            connection.execute("ROLLBACK")


@contextmanager
def _opening(path: Path) -> Iterator[sqlite3.Connection]:
    """Connect. If the setup fails, close the connection and raise an error of chatkit."""
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            path,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            cached_statements=CACHED_STATEMENTS,
            check_same_thread=False,  # a `ConnectionThread` ensures that only one thread at a time uses its connection
        )
        yield connection
    except (sqlite3.Error, ChatkitError) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, ChatkitError):
            raise
        raise to_chatkit_error(error, path) from error


def check_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the store's version, or 0 for a file that holds none.

    Raise `NotAStore` for another program's database, and `StoreTooNew` for a version that this chatkit does not know.
    """
    application, version = _header(connection)
    if application not in {0, APPLICATION_ID}:
        raise NotAStore(f"{path} is another program's database")
    if application == 0:
        return 0
    if version > len(MIGRATIONS):
        raise StoreTooNew(
            f"{path} has version {version}, but this chatkit supports only {len(MIGRATIONS)}: upgrade chatkit"
        )
    return version


def _header(connection: sqlite3.Connection) -> tuple[int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(application), int(version)


def _has_other_tables(connection: sqlite3.Connection) -> bool:
    # This runs after the version was 0. Since then another process may have created the store: then it has an id.
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return tables > 0 and _header(connection)[0] != APPLICATION_ID


def _switch_to_wal(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = retry_while_busy(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchone())
    if mode != "wal":
        raise Unavailable(f"{path}: its file system cannot share a database between connections (no WAL)")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if check_version(connection, path) == len(MIGRATIONS):
        return
    with transaction(connection):
        version = check_version(connection, path)  # again: another process may have migrated the store
        for script in MIGRATIONS[version:]:
            for statement in _statements((files(__package__) / "migrations" / script).read_text("utf-8")):
                connection.execute(statement)
        if version == 0:
            connection.execute("INSERT INTO meta (one, epoch) VALUES (1, ?)", [new_epoch()])
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _renew_epoch_of_copy(connection: sqlite3.Connection, file: SqliteFile) -> str:
    """Return the store's epoch. A copy, such as a restored backup, gets a new one: it may assign numbers again."""
    with transaction(connection):
        epoch, inode, is_marked = connection.execute("SELECT epoch, inode, is_marked FROM meta").fetchone()
        (newest_id,) = connection.execute(_NEWEST).fetchone()
        mark = file.read_mark()
        is_copy = inode != file.inode or (is_marked and mark is None) or (mark is not None and mark > newest_id)
        if not is_copy:
            return str(epoch)
        if inode:  # otherwise the store is new, or of a version that recorded no inode
            epoch = new_epoch()
            _logger.warning("%s is a copy or an older state of another store: its rooms get a new epoch", file.path)
        is_marked = file.write_mark(newest_id)
        connection.execute("UPDATE meta SET epoch = ?, inode = ?, is_marked = ?", [epoch, file.inode, is_marked])
    return str(epoch)


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements: `executescript` would commit the transaction that all of them share."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""

"""A consistent copy of a store in an SQLite file, made while servers use the store.

The copy is made by SQLite's online backup, within one read transaction: it holds the state of one moment. Readers and
writers go on; the write-ahead log grows until the copy is made, because a checkpoint cannot pass an open read.
"""

import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from chatkit.backends.sqlite.errors import BUSY_TIMEOUT_S, to_chatkit_error
from chatkit.backends.sqlite.file import COMPANION_SUFFIXES, no_store
from chatkit.backends.sqlite.schema import check_version
from chatkit.errors import BadRequest, NotAStore, StoreError, Unavailable

STEP_PAGES = 1_024  # copied at a time, 4 MiB: between two steps, progress is shown and Ctrl-C is possible


def copy_store(path: Path, to: Path, *, overwrite: bool, on_progress: Callable[[float], None]) -> int:
    """Copy the store at `path` to a new file and return the size of the copy in bytes.

    The copy is checked, and then gets its name in one step: at every moment, there is a whole file under that name, or
    none. Only its owner can read it. `on_progress` is called with the part that is copied, from 0 to 1.

    Raise `BadRequest` if `to` exists and `overwrite` is false, or if it is in use as a store; `NotAStore` if there is
    no store at `path`; `Unavailable` or `StoreError` if the copy cannot be made.
    """
    _check_target(path, to, overwrite=overwrite)
    try:
        fd, name = tempfile.mkstemp(".tmp", f".{to.name[:100]}.", to.parent)  # with the mode 0600
    except OSError as error:
        raise Unavailable(f"{to} cannot be created: {error.strerror}") from error
    os.close(fd)
    temporary = Path(name)
    try:
        _copy(path, temporary, on_progress)
        _check_copy(temporary)
        n_bytes = temporary.stat().st_size
        _check_target(path, to, overwrite=overwrite)
        _sync(temporary)
        temporary.replace(to)
        _sync(to.parent)
    except sqlite3.Error as error:
        raise to_chatkit_error(error, to) from error
    finally:
        for suffix in ("", "-journal", *COMPANION_SUFFIXES):
            with suppress(FileNotFoundError):
                Path(f"{temporary}{suffix}").unlink()
    return n_bytes


def _check_target(path: Path, to: Path, *, overwrite: bool) -> None:
    if to.is_dir():
        raise BadRequest(f"{to} is a folder: give the name of a file")
    is_store = to.exists() and path.exists() and to.samefile(path)
    if is_store or any(Path(f"{to}{suffix}").exists() for suffix in COMPANION_SUFFIXES):
        raise BadRequest(f"{to} is in use as a store: give the name of another file")
    if os.path.lexists(to) and not overwrite:  # also a link that leads to no file
        raise BadRequest(f"{to} exists: give another name, or --force to replace it")


def _copy(path: Path, temporary: Path, on_progress: Callable[[float], None]) -> None:
    if not path.is_file():
        raise no_store(path)
    with closing(_connect(path)) as source, closing(sqlite3.connect(temporary, isolation_level=None)) as copy:
        try:
            if check_version(source, path) == 0:
                raise NotAStore(f"{path} holds no store")
            source.execute("BEGIN")  # otherwise every commit of a server would make the copy begin again
            source.execute("SELECT count(*) FROM meta").fetchone()
        except sqlite3.Error as error:
            raise to_chatkit_error(error, path) from error
        copy.execute("PRAGMA synchronous = OFF")  # the whole file is synced at the end
        source.backup(copy, pages=STEP_PAGES, progress=lambda _, left, total: on_progress(1 - left / max(total, 1)))
        copy.execute("PRAGMA journal_mode = DELETE")  # one file without companions; opening it as a store switches back


def _connect(path: Path) -> sqlite3.Connection:
    address = f"file:{quote(str(path.absolute()))}?mode=rw"
    try:
        return sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    except sqlite3.Error as error:
        raise to_chatkit_error(error, path) from error


def _check_copy(temporary: Path) -> None:
    with closing(sqlite3.connect(temporary)) as copy:
        (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise StoreError(f"the copy is damaged, and so probably is the store: {found}")


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

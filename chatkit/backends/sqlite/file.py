"""StoreFile: the file behind a store. Private to its owner, and checked to be still the file that was opened.

Knows nothing of what the file holds but the first bytes of every SQLite database.
"""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from chatkit.errors import NotAStore, Unavailable

FILE_MODE, FOLDER_MODE = 0o600, 0o700  # rooms behind a token are not for every user of the machine to read
MAGIC = b"SQLite format 3\0"
BESIDE = ("-wal", "-shm")  # SQLite gives these the file's own mode when it makes them
MARK = "user.chatkit.top"  # an extended attribute: the newest message id that the file is known to have held


class Identity(NamedTuple):
    """What makes a file the same file, whatever its name."""

    device: int
    inode: int


class _Handles:
    """One descriptor for each store's file, shared by all backends of this process.

    Closing any descriptor of a file drops all POSIX locks that the process holds on it, SQLite's included: so a file
    is opened once, and closed when no backend of this process uses it any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects `_open`
        self._open: dict[Identity, tuple[int, int]] = {}  # a descriptor, and how many use it

    def acquire(self, path: Path, *, make: bool) -> tuple[Identity, int]:
        """Open the file, or share the descriptor that is open; raise `OSError`."""
        with self._lock:
            if make and not path.exists():
                _make(path)
            identity = identify(path)
            fd, n_users = self._open.get(identity) or (os.open(path, os.O_RDONLY), 0)
            self._open[identity] = fd, n_users + 1
            return identity, fd

    def release(self, identity: Identity) -> None:
        """Close the descriptor if nobody else uses it."""
        with self._lock:
            fd, n_users = self._open.pop(identity)
            if n_users > 1:
                self._open[identity] = fd, n_users - 1
            else:
                os.close(fd)


_handles = _Handles()


class StoreFile:
    """The file at `path`. `fault` is a sentence while the file cannot be trusted; then nothing may be written to it."""

    def __init__(self, path: Path, *, make_folder: bool = False) -> None:
        self.path = path
        self._make_folder = make_folder  # the folder is ours: nobody else's files are in it
        self.fault: str | None = None
        self._damage: str | None = None
        self._identity: Identity | None = None
        self._beside_identities: dict[Path, Identity] = {}
        self._fd = -1

    def prepare(self, *, make: bool) -> None:
        """Make the file where that is allowed, and take it, the files beside it and our folder away from others."""
        try:
            self._check_place(make=make)
            self._identity, self._fd = _handles.acquire(self.path, make=make)
            for path in (self.path, *self._beside()):
                _tighten(path, FILE_MODE)
        except FileNotFoundError as error:
            raise NotAStore(f"there is no store at {self.path}: serving or publishing makes one") from error
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be used: {error}") from error

    def _check_place(self, *, make: bool) -> None:
        """Name what is wrong with the place; SQLite says "unable to open" whatever it is."""
        folder = self.path.parent
        if self._make_folder and make:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                folder.mkdir(FOLDER_MODE)
                folder.chmod(FOLDER_MODE)  # a umask may have taken away even the owner's rights
        if self._make_folder:
            _tighten(folder, FOLDER_MODE)
        if self.path.is_dir():
            raise Unavailable(f"{self.path} is a folder, not a file")
        if make and not folder.is_dir():
            raise Unavailable(f"{self.path} cannot be made: there is no folder {folder}")

    def _beside(self) -> list[Path]:
        return [Path(f"{self.path}{suffix}") for suffix in BESIDE]

    @property
    def inode(self) -> int:
        """The number that tells this file from its copies."""
        return self._identity.inode if self._identity is not None else 0

    def opened(self) -> None:
        """Remember the write-ahead log and its index, which the first connection has made."""
        with suppress(OSError):
            self._beside_identities = {path: identify(path) for path in self._beside()}

    def close(self) -> None:
        """Close the descriptor, after every connection is closed. Closing again does nothing."""
        if self._identity is not None:
            _handles.release(self._identity)
            self._identity = None

    def check(self) -> None:
        """Look whether the file is still the one that was opened; set `fault`."""
        self.fault = self._find_fault()

    def report_damage(self, sentence: str) -> None:
        """Note that a connection found the content broken. It stays so until the store is opened again."""
        self.fault = self._damage = sentence

    def _find_fault(self) -> str | None:
        try:
            for path, identity in ((self.path, self._identity), *self._beside_identities.items()):
                if identify(path) != identity:
                    return f"{path} was replaced by another file while it was in use: restart to use that one"
        except FileNotFoundError as error:
            return f"{error.filename} was removed while it was in use: put it back, or restart"
        except OSError as error:
            return f"{self.path} cannot be reached any more: {error}"
        if os.pread(self._fd, len(MAGIC), 0) != MAGIC:
            return f"{self.path} was overwritten by something that is not an SQLite database"
        return self._damage

    # An older copy that is written over the file in place keeps the inode, and with it this mark, which is then ahead.

    def read_mark(self) -> int | None:
        """Return the newest message id that the file is known to have held; None for a file without a mark."""
        if sys.platform == "linux":
            with suppress(OSError, ValueError):
                return int(os.getxattr(self._fd, MARK))
        return None

    def write_mark(self, newest_id: int) -> bool:
        """Note the newest message id that the file holds; return whether the file system keeps such marks."""
        if sys.platform == "linux":
            with suppress(OSError):
                os.setxattr(self._fd, MARK, b"%d" % newest_id)
                return True
        return False


def identify(path: Path) -> Identity:
    """Return which file is at the path; raise `OSError`."""
    found = path.stat()
    return Identity(found.st_dev, found.st_ino)


def _make(path: Path) -> None:
    """Make an empty file, which nobody has open yet. Another process may do it at the same time."""
    fd = os.open(path, os.O_RDONLY | os.O_CREAT, FILE_MODE)
    os.fchmod(fd, FILE_MODE)  # a umask may have taken away even the owner's rights
    os.close(fd)


def _tighten(path: Path, mode: int) -> None:
    """Take all rights away from everybody but the owner. Another user's file stays as its owner wants it."""
    with suppress(FileNotFoundError, PermissionError):
        if path.stat().st_mode & 0o777 & ~mode:
            path.chmod(mode)

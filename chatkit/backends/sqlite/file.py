"""SqliteFile: the file of a store. Keeps it private to its owner, and checks that it is still the file that was opened.

Knows nothing of the file's content except the first bytes of every SQLite database.
"""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from chatkit.errors import NotAStore, Unavailable, system_reason

FILE_MODE, FOLDER_MODE = 0o600, 0o700  # other users of the machine must not read rooms that need a token
MAGIC = b"SQLite format 3\0"
COMPANION_SUFFIXES = ("-wal", "-shm")  # SQLite creates these with the mode of the file
MARK = "user.chatkit.top"  # an extended attribute: the newest message id that the file is known to have contained


class FileIdentity(NamedTuple):
    """The identity of a file, independent of its name."""

    device: int
    inode: int


class _DescriptorCache:
    """One descriptor for each store's file, shared by all backends of this process.

    Closing any descriptor of a file drops all POSIX locks that the process holds on it, including SQLite's. Therefore a
    file is opened once, and closed when no backend of this process uses it any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects `_open`
        self._open: dict[FileIdentity, tuple[int, int]] = {}  # the descriptor, and the number of its users

    def acquire(self, path: Path, *, make: bool) -> tuple[FileIdentity, int]:
        """Open the file, or share the open descriptor; raise `OSError`."""
        with self._lock:
            if make and not path.exists():
                _create(path)
            identity = identify(path)
            fd, n_users = self._open.get(identity) or (os.open(path, os.O_RDONLY), 0)
            self._open[identity] = fd, n_users + 1
            return identity, fd

    def release(self, identity: FileIdentity) -> None:
        """Close the descriptor if it has no other user."""
        with self._lock:
            fd, n_users = self._open.pop(identity)
            if n_users > 1:
                self._open[identity] = fd, n_users - 1
            else:
                os.close(fd)


_descriptors = _DescriptorCache()


class SqliteFile:
    """The file at `path`. `fault` is a sentence that says why the file cannot be used, or None.

    While it is set, nothing may be written to the file.
    """

    def __init__(self, path: Path, *, make_folder: bool = False) -> None:
        self.path = path
        self._make_folder = make_folder  # the folder holds no files of other programs
        self.fault: str | None = None
        self._damage: str | None = None
        self._identity: FileIdentity | None = None
        self._companion_identities: dict[Path, FileIdentity] = {}
        self._fd = -1

    def prepare(self, *, make: bool) -> None:
        """Open the file, or create it if `make`, and remove the rights of other users.

        That includes the files beside it, and its folder if `make_folder`. Raise `NotAStore` or `Unavailable`.
        """
        try:
            self._check_path(make=make)
            self._identity, self._fd = _descriptors.acquire(self.path, make=make)
            for path in (self.path, *self._companions()):
                _restrict(path, FILE_MODE)
        except FileNotFoundError as error:
            if make:
                raise Unavailable(f"{self.path} cannot be created: {system_reason(error)}") from error
            raise no_store(self.path, ": serving or publishing creates one") from error
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be used: {system_reason(error)}") from error

    def _check_path(self, *, make: bool) -> None:
        """Raise an error that names the fault of the path: SQLite reports every fault as "unable to open"."""
        folder = self.path.parent
        if self._make_folder and make:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                folder.mkdir(FOLDER_MODE)
                folder.chmod(FOLDER_MODE)  # a umask may have removed the owner's own rights
        if self._make_folder:
            _restrict(folder, FOLDER_MODE)
        if self.path.is_dir():
            raise Unavailable(f"{self.path} is a folder, not a file")
        if self.path.exists() and not self.path.is_file():
            raise Unavailable(f"{self.path} is not a regular file")  # opening a pipe would wait for its other end
        if make and not folder.is_dir():
            raise Unavailable(f"{self.path} cannot be created: there is no folder {folder}{absolute_hint(self.path)}")

    def _companions(self) -> list[Path]:
        return [Path(f"{self.path}{suffix}") for suffix in COMPANION_SUFFIXES]

    @property
    def inode(self) -> int:
        """The number that distinguishes this file from its copies."""
        return self._identity.inode if self._identity is not None else 0

    def record_companions(self) -> None:
        """Record the identities of the write-ahead log and its index, which the first connection has created."""
        with suppress(OSError):
            self._companion_identities = {path: identify(path) for path in self._companions()}

    def close(self) -> None:
        """Close the descriptor. Call this after every connection is closed. Closing again does nothing."""
        if self._identity is not None:
            _descriptors.release(self._identity)
            self._identity = None

    def check(self) -> None:
        """Check whether the file is still the one that was opened; set `fault`."""
        self.fault = self._find_fault()

    def report_damage(self, sentence: str) -> None:
        """Set `fault` because a connection found the content broken. It stays set until the store is opened again."""
        self.fault = self._damage = sentence

    def _find_fault(self) -> str | None:
        try:
            for path, identity in ((self.path, self._identity), *self._companion_identities.items()):
                if identify(path) != identity:
                    return f"{path} was replaced by another file while it was in use: restart to use that one"
        except FileNotFoundError as error:
            return f"{error.filename} was removed while it was in use: put it back, or restart"
        except OSError as error:
            return f"{self.path} cannot be reached any more: {system_reason(error)}"
        if os.pread(self._fd, len(MAGIC), 0) != MAGIC:
            return f"{self.path} was overwritten by something that is not an SQLite database"
        return self._damage

    # An older copy that is written over the file in place keeps the inode and this mark, which is then newer than the
    # newest message.

    def read_mark(self) -> int | None:
        """Return the newest message id that the file is known to have contained; None if it has no mark."""
        if sys.platform == "linux":
            with suppress(OSError, ValueError):
                return int(os.getxattr(self._fd, MARK))
        return None

    def write_mark(self, newest_id: int) -> bool:
        """Record the newest message id that the file contains; return whether the file system supports such marks."""
        if sys.platform == "linux":
            with suppress(OSError):
                os.setxattr(self._fd, MARK, b"%d" % newest_id)
                return True
        return False


def identify(path: Path) -> FileIdentity:
    """Return the identity of the file at the path; raise `OSError`."""
    found = path.stat()
    return FileIdentity(found.st_dev, found.st_ino)


def _create(path: Path) -> None:
    """Create an empty file. Another process may do that at the same time."""
    fd = os.open(path, os.O_RDONLY | os.O_CREAT, FILE_MODE)
    os.fchmod(fd, FILE_MODE)  # a umask may have removed the owner's own rights
    os.close(fd)


def no_store(path: Path, remark: str = "") -> NotAStore:
    """Return the error that there is no store at a path."""
    return NotAStore(f"there is no store at {path}{absolute_hint(path) or remark}")


def absolute_hint(path: Path) -> str:
    """Return a remark about a relative path that was probably meant to begin at the root, such as `var/rooms.db`."""
    is_meant = not path.is_absolute() and len(path.parts) > 1 and Path("/", path.parts[0]).is_dir()
    return f" in the current folder (an absolute path has four slashes: sqlite:////{path})" if is_meant else ""


def _restrict(path: Path, mode: int) -> None:
    """Remove all rights of other users. A file that belongs to another user is left unchanged."""
    with suppress(FileNotFoundError, PermissionError):
        if path.stat().st_mode & 0o777 & ~mode:
            path.chmod(mode)

"""The search for `chatkit.toml`: first the current folder, then the user's configuration folder. Does not parse it.

Commands work without the file: a file that cannot be read, or that another user could have written, is reported and
ignored.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE_NAME: Final = "chatkit.toml"
MAX_BYTES: Final = 1_048_576  # far more than all settings need; a larger file is the wrong file

ROOT_UID: Final = 0

Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that was read. `is_in_current_folder`: the current folder may belong to another person."""

    path: Path
    data: bytes
    is_in_current_folder: bool


class _Unusable(Exception):
    """The file is ignored; the message is the reason."""


def find_file(warn: Warn) -> ConfigFile | None:
    """Return the first usable file, or None. Call `warn` with a sentence for each file that is ignored."""
    for path, is_in_current_folder in ((Path(FILE_NAME), True), (_user_path(), False)):
        try:
            data = None if path is None else _read(path, is_in_current_folder=is_in_current_folder)
        except (_Unusable, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            warn(f"{path} is ignored: {why}")
            continue
        if path is not None and data is not None:
            return ConfigFile(path, data, is_in_current_folder)
    return None


def _user_path() -> Path | None:
    from platformdirs import user_config_path

    try:
        path = user_config_path("chatkit", appauthor=False) / FILE_NAME
    except (RuntimeError, KeyError, OSError):  # no home folder, or no entry for this user
        return None
    return path if path.is_absolute() else None  # without a home folder, it begins with a literal ~


def _read(path: Path, *, is_in_current_folder: bool) -> bytes | None:
    """Return the file's content, or None if there is no file. Raise `_Unusable` or `OSError`."""
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        _check(path, os.fstat(descriptor), is_in_current_folder=is_in_current_folder)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_BYTES:
        raise _Unusable(f"it is larger than {MAX_BYTES} bytes")
    return data


def _check(path: Path, status: os.stat_result, *, is_in_current_folder: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _Unusable("it is not a regular file")
    if not is_in_current_folder or not hasattr(os, "geteuid"):
        return
    owners = {status.st_uid, path.lstat().st_uid}  # of the file, and of the symbolic link to it
    if not owners <= {ROOT_UID, os.geteuid()}:
        raise _Unusable("it belongs to another user")
    if status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _is_private_group(status)):
        raise _Unusable(f"other users can write to it (to prevent that: chmod go-w {path})")


def _is_private_group(status: os.stat_result) -> bool:
    """Return whether only the owner is in the file's group: a private group has the same number as its user."""
    return status.st_gid == status.st_uid

"""Finding `chatkit.toml`: in the current folder, else in the user's configuration folder. Knows nothing of its content.

No command depends on the file: one that cannot be read, or that another user could have written, is reported and left
out.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE_NAME: Final = "chatkit.toml"
MAX_BYTES: Final = 1_048_576  # far more than all settings; a larger file is not one of settings

ROOT_UID: Final = 0

Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that was read. `is_here` is true for one in the current folder, which may be anybody's folder."""

    path: Path
    data: bytes
    is_here: bool


class _Unusable(Exception):
    """Why a file is left out."""


def find_file(warn: Warn) -> ConfigFile | None:
    """Return the file that counts, or None. `warn` gets a sentence about each that is left out."""
    for path, is_here in ((Path(FILE_NAME), True), (_user_path(), False)):
        try:
            data = None if path is None else _read(path, is_here=is_here)
        except (_Unusable, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            warn(f"{path} is ignored: {why}")
            continue
        if path is not None and data is not None:
            return ConfigFile(path, data, is_here)
    return None


def _user_path() -> Path | None:
    from platformdirs import user_config_path

    try:
        path = user_config_path("chatkit", appauthor=False) / FILE_NAME
    except (RuntimeError, KeyError, OSError):  # no home folder, no entry for this user
        return None
    return path if path.is_absolute() else None  # without a home folder, it begins with a literal ~


def _read(path: Path, *, is_here: bool) -> bytes | None:
    """Return the file's content; None where there is no file. Raise `_Unusable` or `OSError`."""
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        _check(path, os.fstat(descriptor), is_here=is_here)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_BYTES:
        raise _Unusable(f"it is larger than {MAX_BYTES} bytes")
    return data


def _check(path: Path, status: os.stat_result, *, is_here: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _Unusable("it is not a regular file")
    if not is_here or not hasattr(os, "geteuid"):
        return
    owners = {status.st_uid, path.lstat().st_uid}  # the second is a symbolic link's own
    if not owners <= {ROOT_UID, os.geteuid()}:
        raise _Unusable("it belongs to another user")
    if status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _is_private_group(status)):
        raise _Unusable("other users can write to it (chmod go-w makes it yours alone)")


def _is_private_group(status: os.stat_result) -> bool:
    """Return whether the file's group is its owner's alone: where each user has one, it has the user's number."""
    return status.st_gid == status.st_uid

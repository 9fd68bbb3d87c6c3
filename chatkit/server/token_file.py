"""The file to which a server writes the token that it made, if no terminal shows it."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from platformdirs import user_data_path

from chatkit.errors import BadRequest

PRIVATE: Final = 0o600  # the token gives access to every room


def write_token(token: str, port: int) -> Path:
    """Write the token to a private file in the user's data folder; return its path. Raise `BadRequest`."""
    try:
        path = user_data_path("chatkit", appauthor=False) / f"token-{port}"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            path.unlink()  # a process that has the old file open must not see the new token
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{token}\n")
    except (OSError, RuntimeError) as error:  # the folder cannot be made, or there is no home folder
        raise BadRequest(f"cannot write the new token to a file: {error}; give a secret with --secret-file") from error
    return path

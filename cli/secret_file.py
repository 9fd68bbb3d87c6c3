"""Reading a secret from a file or from standard input, so that it does not appear in the list of processes."""

import stat
from pathlib import Path
from typing import Final

from chatkit.cli.input import open_input
from chatkit.cli.output import print_notice
from chatkit.errors import BadRequest

MAX_BYTES: Final = 4_096  # a secret is one line; a longer file is the wrong file


def read_secret(path: Path) -> str:
    """Return the first line of the file, or of standard input if the path is `-`. Raise `BadRequest`."""
    try:
        text = _read(path).decode("utf-8-sig")
    except OSError as error:
        raise BadRequest(f"cannot read the secret from {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"{path} does not contain a secret: it is not UTF-8 text") from error
    lines = text.splitlines()
    if not lines or not lines[0] or any(lines[1:]) or len(text) > MAX_BYTES:
        raise BadRequest(f"{path} does not contain a secret: it must be one line of at most {MAX_BYTES} characters")
    return lines[0]


def _read(path: Path) -> bytes:
    if str(path) == "-":
        return open_input().read(MAX_BYTES + 1)
    with path.open("rb") as file:
        if stat.S_IMODE(path.stat().st_mode) & 0o077 and path.is_file():
            print_notice(f"other users of this machine can read {path}; make it private with: chmod 600 {path}")
        return file.read(MAX_BYTES + 1)

"""Exit codes: what a command's end tells the shell, and the sentence that goes with it on stderr."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer

from chatkit.cli.sanitize import visible
from chatkit.errors import (
    BadBackendURL,
    BadBody,
    BadInput,
    ChatkitError,
    Forbidden,
    StoreError,
    TooLarge,
    Unauthorized,
    Unavailable,
)

DONE: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2
NO_SERVER: Final = 3
NOT_ALLOWED: Final = 4
MESSAGES_MISSING: Final = 5
INTERRUPTED: Final = 130

_BY_ERROR: Final = (
    (Unavailable, NO_SERVER),
    (StoreError, NO_SERVER),
    (Unauthorized, NOT_ALLOWED),
    (Forbidden, NOT_ALLOWED),
    (TooLarge, FAILED),  # the words of the command are right: what they carry is not
    (BadBody, FAILED),
    (BadInput, WRONG_USAGE),
    (BadBackendURL, WRONG_USAGE),
    (ChatkitError, FAILED),
)


def status_of(error: ChatkitError) -> int:
    """Return the exit code that an error stands for."""
    return next(status for kind, status in _BY_ERROR if isinstance(error, kind))


def say(sentence: str) -> None:
    """Tell the person at the terminal something that is no result."""
    sys.stderr.write(f"chatkit: {visible(sentence)}\n")
    sys.stderr.flush()


@contextmanager
def exits() -> Iterator[None]:
    """Turn what ends a command into its exit code."""
    try:
        yield
        sys.stdout.flush()
    except ChatkitError as error:
        say(str(error))
        raise typer.Exit(status_of(error)) from error
    except BrokenPipeError as error:
        # Who read our output has enough, as `head` does. What is left in the buffer must not raise again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(DONE) from error
    except OSError as error:
        say(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(INTERRUPTED) from error

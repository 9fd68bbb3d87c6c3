"""Exit codes: what a command's end tells the shell, and the sentence that goes with it on stderr."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from chatkit.cli.output import OutputClosed
from chatkit.cli.sanitize import visible
from chatkit.errors import ChatkitError
from chatkit.wire.codes import ExitCode, exit_code_of


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
    except OutputClosed as error:  # the reader has enough, as `head` does
        raise typer.Exit(ExitCode.DONE) from error
    except ChatkitError as error:
        say(str(error))
        raise typer.Exit(exit_code_of(error)) from error
    except OSError as error:
        say(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        raise typer.Exit(ExitCode.FAILED) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(ExitCode.INTERRUPTED) from error

"""Exit codes: how the end of a command becomes its status, and the sentence on standard error that explains it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from chatkit.cli.output import OutputClosed, print_notice
from chatkit.errors import BadBackendURL, ChatkitError
from chatkit.wire.codes import ExitCode, exit_code_of


@contextmanager
def report_errors(describe: Callable[[ChatkitError], str] = str) -> Iterator[None]:
    """Print the error that ends a command and raise `typer.Exit` with its exit code."""
    try:
        yield
        sys.stdout.flush()
    except OutputClosed as error:  # the reader has enough, as `head` does
        raise typer.Exit(ExitCode.DONE) from error
    except BadBackendURL as error:
        print_notice(f"--backend: {error}")
        raise typer.Exit(exit_code_of(error)) from error
    except ChatkitError as error:
        print_notice(describe(error))
        raise typer.Exit(exit_code_of(error)) from error
    except OSError as error:
        print_notice(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        raise typer.Exit(ExitCode.FAILED) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(ExitCode.INTERRUPTED) from error

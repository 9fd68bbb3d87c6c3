"""The `chatkit` command: its commands, and what comes before any of them."""

import inspect
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from chatkit import __version__
from chatkit.cli import bench, history, join, publish, rooms, serve
from chatkit.cli.config import read_defaults
from chatkit.cli.config_file import Warn, find_file
from chatkit.cli.exit_codes import exits, say
from chatkit.cli.output import open_output
from chatkit.cli.token_scope import CONFIG_FILE
from chatkit.errors import ChatkitError
from chatkit.wire.codes import ExitCode

SERVE_OPTIONS = {
    name.rstrip("_").replace("_", "-"): name for name in serve.serve.__annotations__ if name not in {"ctx", "return"}
}


class CommandGroup(TyperGroup):
    """The commands, with the file's settings also where a shell asks how a word may go on."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Return the context. For a completion, no callback runs, and neither mistakes nor warnings are printed."""
        ctx = super().make_context(info_name, args, parent, **extra)
        if extra.get("resilient_parsing"):
            with suppress(ChatkitError, OSError):
                _set_defaults(ctx, lambda _warning: None)
        return ctx


def _set_defaults(ctx: Any, warn: Warn) -> None:
    """Make the file's settings the commands' defaults. Raise `BadRequest`."""
    file = find_file(warn)
    if file is not None:
        ctx.default_map = read_defaults(file, SERVE_OPTIONS)
        ctx.meta[CONFIG_FILE] = file


app = typer.Typer(
    cls=CommandGroup,
    name="chatkit",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _add(command: Callable[..., None], epilog: str) -> None:
    # A terminal is narrower than the source: a paragraph's own line ends would break its lines in the middle.
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(command.__doc__ or ""))
    app.command(command.__name__, help=text, epilog=epilog)(command)


_add(serve.serve, serve.EPILOG)
_add(join.join, join.EPILOG)
_add(publish.publish, publish.EPILOG)
_add(history.history, history.EPILOG)
_add(rooms.rooms, rooms.EPILOG)
_add(bench.bench, bench.EPILOG)


def _print_version(value: bool) -> None:
    if value:
        sys.stdout.write(f"chatkit {__version__}\n")
        raise typer.Exit


@app.callback()
def chatkit(
    ctx: typer.Context,
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Rooms for people and programs: a chat server, and what talks to it.

    Settings may stand in chatkit.toml, in this folder or in your configuration folder.
    """
    with exits():
        _set_defaults(ctx, say)


def _open_closed() -> None:
    """Give a process that was started with a stream closed an empty one."""
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: else the next file did
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def main() -> None:
    """Run the command that the process was started with, and exit with its status."""
    _open_closed()
    open_output()
    status = _status_of(lambda: app(prog_name="chatkit"))
    flushed = _status_of(sys.stdout.flush)  # also after --help, --version and a completion
    sys.exit(status or flushed)


def _status_of(run: Callable[[], None]) -> int:
    try:
        with exits():
            run()
    except typer.Exit as end:
        return end.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.DONE if end.code is None else ExitCode.FAILED
    return ExitCode.DONE

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
from chatkit.cli.config import Defaults, find_file, read_file
from chatkit.cli.exit_codes import exits
from chatkit.errors import ChatkitError

SERVE_OPTIONS = {
    name.rstrip("_").replace("_", "-"): name for name in serve.serve.__annotations__ if name not in {"ctx", "return"}
}


class CommandGroup(TyperGroup):
    """The commands, with the file's settings also where a shell asks how a word may go on."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Make the context; where it is for a completion, no callback will be run, and no mistake be told."""
        if extra.get("resilient_parsing"):
            with suppress(ChatkitError, OSError):
                extra["default_map"] = _defaults()
        return super().make_context(info_name, args, parent, **extra)


def _defaults() -> Defaults:
    path = find_file()
    return {} if path is None else read_file(path, SERVE_OPTIONS)


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
        ctx.default_map = _defaults()


def _open_closed() -> None:
    """Give a process that was started with a stream closed an empty one."""
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: else the next file did
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def main() -> None:
    """Run the command that the process was started with."""
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows its number: no command fails for what somebody else wrote.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="chatkit")

"""The `chatkit` command: its commands, and what comes before any of them."""

import sys
from typing import Annotated

import typer

from chatkit import __version__
from chatkit.cli import bench, history, join, publish, rooms, serve
from chatkit.cli.config import find_file, read_file
from chatkit.cli.status import exits

SERVE_OPTIONS = frozenset(
    name.rstrip("_").replace("_", "-") for name in serve.serve.__annotations__ if name != "return"
)

app = typer.Typer(
    name="chatkit",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command("serve", epilog=serve.EPILOG)(serve.serve)
app.command("join", epilog=join.EPILOG)(join.join)
app.command("publish", epilog=publish.EPILOG)(publish.publish)
app.command("history", epilog=history.EPILOG)(history.history)
app.command("rooms", epilog=rooms.EPILOG)(rooms.rooms)
app.command("bench", epilog=bench.EPILOG)(bench.bench)


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
        path = find_file()
        ctx.default_map = {} if path is None else read_file(path, SERVE_OPTIONS)


def main() -> None:
    """Run the command that the process was started with."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows its number: no command fails for what somebody else wrote.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="chatkit")

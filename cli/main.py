"""The `chatkit` command: its subcommands, the settings file, and the exit status."""

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from typing import Annotated, Any, Final

import typer
import typer.main

from chatkit import __version__
from chatkit.cli import (
    backup,
    ban,
    bench,
    changes,
    consumers,
    export,
    history,
    import_,
    invite,
    join,
    mcp,
    mentions,
    on,
    publish,
    redact,
    redeem,
    room,
    rooms,
    serve,
    token,
    unread,
    webhook,
)
from chatkit.cli.config import read_defaults
from chatkit.cli.config_file import Warn, find_file
from chatkit.cli.exit_codes import report_errors
from chatkit.cli.help import HelpCommand, HelpGroup
from chatkit.cli.output import open_output, print_notice
from chatkit.cli.token_scope import CONFIG_FILE
from chatkit.errors import BadRequest, ChatkitError
from chatkit.wire.codes import ExitCode

SERVE_OPTIONS = {
    name.rstrip("_").replace("_", "-"): name for name in serve.serve.__annotations__ if name not in {"ctx", "return"}
}


class CommandGroup(HelpGroup):
    """The commands. The settings of the file also apply when a shell asks for completions."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Return the context. For a completion, no callback runs, and errors and warnings are not printed."""
        ctx = super().make_context(info_name, args, parent, **extra)
        if extra.get("resilient_parsing"):
            with suppress(ChatkitError, OSError):
                _set_defaults(ctx, lambda _warning: None)
        return ctx


def _set_defaults(ctx: Any, warn: Warn) -> None:
    """Use the file's settings as the commands' defaults. Raise `BadRequest`."""
    file = find_file(warn)
    if file is not None:
        ctx.default_map = read_defaults(file, SERVE_OPTIONS)
        ctx.meta[CONFIG_FILE] = file


def _new_group(name: str, kind: type[HelpGroup]) -> typer.Typer:
    return typer.Typer(
        cls=kind,
        name=name,
        invoke_without_command=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )


app = _new_group("chatkit", CommandGroup)


def _add(
    command: Callable[..., None],
    epilog: str,
    kind: type[HelpCommand] = HelpCommand,
    group: typer.Typer = app,
) -> None:
    # The help is wrapped to the width of the terminal, so the line breaks of the source are removed.
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(command.__doc__ or ""))
    group.command(command.__name__.removesuffix("_"), cls=kind, help=text, epilog=epilog)(command)


def _add_group(
    name: str,
    description: str,
    commands: Iterable[tuple[Callable[..., None], str]],
    kind: type[HelpGroup] = HelpGroup,
) -> None:
    group = _new_group(name, kind)
    group.callback(help=description)(_print_help)
    for command, epilog in commands:
        _add(command, epilog, group=group)
    app.add_typer(group)


def _print_help(ctx: typer.Context) -> None:
    """Print the help of a group, if it was called without one of its commands."""
    if ctx.invoked_subcommand is None:
        sys.stderr.write(f"{ctx.get_help()}\n")
        raise typer.Exit(ExitCode.WRONG_USAGE)


_add(serve.serve, serve.EPILOG, serve.ServeCommand)
_add(join.join, join.EPILOG)
_add(publish.publish, publish.EPILOG)
_add(changes.reply, changes.REPLY_EPILOG)
_add(changes.edit, changes.EDIT_EPILOG)
_add(changes.react, changes.REACT_EPILOG)
_add(redact.redact, redact.EPILOG)
_add(history.history, history.EPILOG)
_add(rooms.rooms, rooms.EPILOG)
_add(unread.unread, unread.EPILOG)
_add(mentions.mentions, mentions.EPILOG)
_add(on.on, on.EPILOG, on.OnCommand)
_add_group("consumers", consumers.HELP, consumers.COMMANDS, consumers.ConsumersGroup)
_add(mcp.mcp, mcp.EPILOG)
_add_group("token", token.HELP, token.COMMANDS)
_add(invite.invite, invite.EPILOG)
_add(redeem.redeem, redeem.EPILOG)
_add_group("ban", ban.HELP, ban.COMMANDS)
_add_group("room", room.HELP, room.COMMANDS)
_add_group("webhook", webhook.HELP, webhook.COMMANDS)
_add(export.export, export.EPILOG)
_add(import_.import_, import_.EPILOG)
_add(backup.backup, backup.EPILOG)
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
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run a chat server, or use one from the terminal and from scripts.

    Options can also be set by environment variables, and in the file chatkit.toml, which is read from the current
    folder or from your configuration folder.

    Run 'chatkit COMMAND --help' for the options of a command and examples.
    """
    _print_help(ctx)
    with report_errors():
        _set_defaults(ctx, print_notice)


def _open_closed() -> None:
    """Open a descriptor for each standard stream that was closed when the process started.

    The next file would get its number otherwise. Reading or writing such a stream fails, as it would if it were closed:
    a command that needs it must not end as if it had read or written everything.
    """
    streams = (("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_RDONLY))
    for descriptor, (name, mode, flags) in enumerate(streams):
        if getattr(sys, name) is None:
            os.open(os.devnull, flags)  # gets the lowest free number
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def main() -> None:
    """Run the command that the process was started with, and exit with its status."""
    _open_closed()
    open_output()
    status = _status_of(_run_command)
    flushed = _status_of(sys.stdout.flush)  # also after --help, --version and a completion
    sys.exit(status or flushed)


@cache
def build_commands() -> Any:
    """Return all commands, as Typer builds them from their functions: once, as it takes longer than most of them."""
    return typer.main.get_command(app)


def _run_command() -> None:
    """Run the command. Raise `typer.Exit`, or `BadRequest` for wrong usage."""
    # In its standalone mode, Typer would print usage errors in a format of its own.
    try:
        status = build_commands()(prog_name="chatkit", standalone_mode=False)
    except typer.TyperException as error:
        raise BadRequest(usage_sentence(error)) from error
    if status:
        raise typer.Exit(status)


# How Typer says what a value must be, and how we do.
_VALUE_RULES: Final = (
    (re.compile(r"Input should be a valid string, unable to parse.*"), "it is not UTF-8 text"),
    (re.compile(r"Input should be a valid integer.*"), "it must be a whole number"),
    (re.compile(r"Input should be a valid number.*"), "it must be a number"),
    (re.compile(r"Input should be "), "it must be "),
    (re.compile(r"greater than or equal to (\S+)"), r"at least \1"),
    (re.compile(r"less than or equal to (\S+)"), r"at most \1"),
)


def usage_sentence(error: typer.TyperException) -> str:
    """Return what is wrong with the words of a command, and where its help is."""
    sentence = error.format_message().rstrip(".")
    for pattern, words in _VALUE_RULES:
        sentence = pattern.sub(words, sentence)
    ctx = getattr(error, "ctx", None)
    command = "chatkit" if ctx is None else ctx.command_path
    return f"{sentence[:1].lower()}{sentence[1:]} (see '{command} --help')"


def _status_of(run: Callable[[], None]) -> int:
    try:
        with report_errors():
            run()
    except typer.Exit as end:
        return end.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.DONE if end.code is None else ExitCode.FAILED
    return ExitCode.DONE

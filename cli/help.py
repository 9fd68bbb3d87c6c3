"""The text of `--help`: the same layout for every command, readable in a narrow terminal. Knows no command.

Typer's own help is a table whose columns leave no room for sentences in a narrow terminal, and its type names are those
of Python. Here, each option shows its metavar, as in `--port N`.
"""

import shutil
from collections.abc import Iterator, Sequence
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

MAX_WIDTH: Final = 100  # longer lines are hard to read
MIN_WIDTH: Final = 24
TWO_COLUMNS_WIDTH: Final = 72  # from this width on, descriptions stand beside the options
NAME_COLUMNS: Final = 24  # a longer name gets a line of its own
INDENT: Final = "  "
BELOW: Final = " " * 6  # the indentation of a description below its option

FILES: Final = frozenset({"FILE", "DIR"})  # the metavars of files, whose names may be any bytes

Entry = tuple[str, str]  # an option, argument or command, and its description


# Typer keeps the types of contexts, formatters and parameters private, so they are Any below.


class HelpCommand(TyperCommand):
    """A command with the help of this module, whose arguments are UTF-8 text, except for the names of files."""

    usage_end = ""  # of the usage: what is no parameter

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. Raise `typer.BadParameter` for bytes that are not UTF-8."""
        rest: list[str] = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            for param in self.params:
                if param.metavar not in FILES and param.name != "backend":
                    _check_text(ctx, param, ctx.params.get(param.name))
        return rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        formatter.write("\n".join(_help_lines(self, ctx)))


def _check_text(ctx: Any, param: Any, value: object) -> None:
    for each in value if isinstance(value, list | tuple) else [value]:
        try:
            str(each).encode()
        except UnicodeEncodeError as error:  # Python has put surrogates in place of the bytes
            raise typer.BadParameter("it is not UTF-8 text", ctx=ctx, param=param) from error


class HelpGroup(TyperGroup):
    """A group of commands with the help of this module."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        formatter.write("\n".join(_help_lines(self, ctx, self._entries(ctx))))

    def _entries(self, ctx: typer.Context) -> list[Entry]:
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        return [(name, (command.help or "").partition("\n")[0]) for name, command in commands if command is not None]


def _help_lines(command: Any, ctx: typer.Context, commands: Sequence[Entry] = ()) -> Iterator[str]:
    width = max(MIN_WIDTH, min(shutil.get_terminal_size().columns, MAX_WIDTH))
    usage = f"{ctx.command_path} {_usage(command, has_commands=bool(commands))} {getattr(command, 'usage_end', '')}"
    yield from _wrapped(f"Usage: {usage}", width, later=BELOW)
    for paragraph in (command.help or "").split("\n\n"):
        yield ""
        yield from _wrapped(paragraph, width)
    for title, entries in (*_sections(command, ctx), ("Commands", list(commands))):
        if entries:
            yield from ("", f"{title}:")
            for entry in entries:
                yield from _entry_lines(*entry, width)
    if command.epilog:
        yield from ("", "Examples:")
        for example in command.epilog.strip().split("\n\n"):
            yield from _wrapped(example, width, INDENT, BELOW)


def _usage(command: Any, *, has_commands: bool) -> str:
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    names = [f"{_name(each)}{'' if each.nargs == 1 else '...'}" for each in arguments]
    pieces = [name if each.required else f"[{name}]" for each, name in zip(arguments, names, strict=True)]
    return " ".join(["[OPTIONS]", *pieces, *["COMMAND ..."] * has_commands])


def _sections(command: Any, ctx: typer.Context) -> list[tuple[str, list[Entry]]]:
    sections: dict[str, list[Entry]] = {"Arguments": [], "Options": []}
    for param in command.get_params(ctx):
        is_argument = param.param_type_name == "argument"
        title = "Arguments" if is_argument else getattr(param, "rich_help_panel", None) or "Options"
        description = f"{param.help or ''} {_notes(param, ctx)}".strip()
        sections.setdefault(title, []).append((_name(param), description))
    return list(sections.items())


def _name(param: Any) -> str:
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    names = ", ".join(sorted((*param.opts, *param.secondary_opts), key=len))
    return names if param.is_flag else f"{names} {param.metavar or 'TEXT'}"


def _notes(param: Any, ctx: typer.Context) -> str:
    """Return the default and the environment variable of an option, in brackets."""
    notes = []
    default = param.get_default(ctx, call=False)
    if param.show_default and default not in (None, "", False, []):
        notes.append(f"default: {default}")
    if param.envvar:
        notes.append(f"environment: {param.envvar}")
    return f"[{'; '.join(notes)}]" if notes else ""


def _entry_lines(name: str, description: str, width: int) -> Iterator[str]:
    if width < TWO_COLUMNS_WIDTH:
        yield from _wrapped(name, width, INDENT, BELOW)
        yield from _wrapped(description, width, BELOW, BELOW)
        return
    column = INDENT + " " * NAME_COLUMNS
    if len(name) > NAME_COLUMNS - 2:
        yield f"{INDENT}{name}"
        yield from _wrapped(description, width, column, column)
    else:
        yield from _wrapped(description, width, f"{INDENT}{name:<{NAME_COLUMNS}}", column)


def _wrapped(text: str, width: int, first: str = "", later: str = "") -> list[str]:
    """Return the text in lines. A word that is longer than a line, such as a URL, is not broken."""
    import textwrap

    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )

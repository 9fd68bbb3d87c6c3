"""Tables and lists of facts for people, readable in a narrow terminal. Knows no command."""

import shutil
import sys
from collections.abc import Iterable, Sequence

from chatkit.cli.output import print_lines, print_notice
from chatkit.cli.sanitize import one_line

INDENT = "  "  # of all lines of an entry but the first


def terminal_width() -> int | None:
    """Return the number of columns of the terminal, or None if standard output is not one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
    """Print rows as a table, or, without any, the sentence `nothing` on standard error."""
    if rows:
        print_lines(table(head, rows, terminal_width()))
    else:
        print_notice(nothing)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], width: int | None = None) -> list[str]:
    """Return the rows as lines with aligned columns. Wide characters are counted as a terminal shows them.

    If `width` is given and a line would be longer, each row is an entry of several lines instead: its first cell, and
    the other cells with the names of their columns.
    """
    from rich.cells import cell_len

    plain = [head, *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*plain, strict=True)]
    if width is not None and sum(widths) + 2 * (len(widths) - 1) > width:
        return [line for row in plain[1:] for line in _entry(head, row)]
    return [_aligned(row, widths) for row in plain]


def facts(named: Iterable[tuple[str, str]]) -> list[str]:
    """Return names with their values as lines."""
    pairs = [(name, one_line(value)) for name, value in named]
    width = max(len(name) for name, _ in pairs)
    return [f"{name:<{width}}  {value}".rstrip() for name, value in pairs]


def _entry(head: Sequence[str], row: Sequence[str]) -> list[str]:
    named = [(name.lower(), cell) for name, cell in zip(head, row, strict=True) if cell]
    return [row[0], *(f"{INDENT}{line}" for line in facts(named[1:]))]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    from rich.cells import cell_len

    cells = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
    return "  ".join(cells).rstrip()

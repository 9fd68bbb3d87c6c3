"""The rows at the bottom of the terminal: lines that are not stored yet, and the input line with a hint. No I/O."""

from collections.abc import Sequence

import wcwidth

from chatkit.cli.chat.style import Style
from chatkit.cli.chat.wrapping import cells_of
from chatkit.cli.line_layout import InputRow, Layout, cell_width, printable

MAX_WAITING = 3  # rows of lines that are not stored yet


def with_waiting(layout: Layout, waiting: Sequence[str], width: int, style: Style) -> Layout:
    """Return the layout of an input line below dimmed rows."""
    rows = [_dimmed_row(text, width, style) for text in waiting]
    return Layout([*rows, *layout.rows], len(rows) + layout.cursor_row, layout.cursor_column)


def with_hint(layout: Layout, hint: str, width: int, style: Style) -> Layout:
    """Return the layout with a dimmed hint at the right edge of its only row, if two cells between them stay free."""
    row, cells = layout.rows[0], cells_of(hint)
    column = width - 1 - cells
    if not hint or len(layout.rows) > 1 or column < row.width + 2:
        return layout
    pieces = [*row.pieces, (column, style.dim(hint))]
    widths = [*row.widths, *[1] * (column - row.width), *map(cell_width, wcwidth.iter_graphemes(hint))]
    return Layout([InputRow(pieces, widths, width - 1)], layout.cursor_row, layout.cursor_column)


def _dimmed_row(text: str, width: int, style: Style) -> InputRow:
    row = InputRow()
    for cluster in wcwidth.iter_graphemes(text):
        cell = printable(cluster)
        if row.width + cell_width(cell) > width - 1:
            break
        row.add(cell, cell_width(cell))
    return InputRow([(column, style.dim(piece)) for column, piece in row.pieces], row.widths, row.width)

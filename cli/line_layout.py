"""The layout of the input line in rows: its grapheme clusters (UAX 29) with their widths in cells. No I/O.

The last column stays free, so that the cursor always has a cell and no terminal wraps a row by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import wcwidth

MAX_CHARS: Final = 20_000  # laid out on each side of the cursor; no screen shows more
TOO_WIDE: Final = "\u2026"  # in place of a cluster that fits in no row of a narrow terminal
JOINERS: Final = frozenset("\u200c\u200d")  # used in some scripts and in emoji


@dataclass(slots=True)
class InputRow:
    """One row: its pieces of text with their columns, and the width of each cell."""

    pieces: list[tuple[int, str]] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    width: int = 0
    is_open: bool = False  # the next cell continues the last piece

    @property
    def text(self) -> str:
        return "".join(piece for _, piece in self.pieces)

    def add(self, cell: str, width: int) -> None:
        """Add a cell. A cell that is not ASCII ends its piece, because terminals differ in its width."""
        if self.is_open:
            column, piece = self.pieces[-1]
            self.pieces[-1] = (column, piece + cell)
        else:
            self.pieces.append((self.width, cell))
        self.is_open = cell.isascii()
        self.widths.append(width)
        self.width += width


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows and the position of the cursor in them."""

    rows: Sequence[InputRow]
    cursor_row: int
    cursor_column: int

    def rows_above_cursor(self, width: int) -> int:
        """Return the number of rows above the cursor after a terminal of this width wraps the rows again."""
        above = sum(1 + _n_breaks(row.widths, width) for row in self.rows[: self.cursor_row])
        widths = self.rows[self.cursor_row].widths
        left, n_left = 0, 0
        while n_left < len(widths) and left < self.cursor_column:
            left += widths[n_left]
            n_left += 1
        return above + _n_breaks(widths[: n_left + 1], width)  # including the cell under the cursor


def _n_breaks(widths: Sequence[int], width: int) -> int:
    """Return the number of rows that a terminal of this width adds for a row with these cells."""
    n_breaks = used = 0
    for cell in widths:
        if used and used + cell > width:
            n_breaks += 1
            used = 0
        used += cell
    return n_breaks


def lay_out(prompt: str, text: str, at: int, width: int, max_rows: int) -> Layout:
    """Return at most `max_rows` rows, around the cursor, of a prompt and a text with the cursor at index `at`."""
    first = 0 if at <= MAX_CHARS else wcwidth.grapheme_boundary_before(text, at - MAX_CHARS)
    room = max(1, width - 1)
    rows = [InputRow()]
    for cell in _clusters(_shorten(prompt, width)):
        rows[0].add(cell, cell_width(cell))
    cursor = None
    index = first
    for cluster in wcwidth.iter_graphemes(text[first : at + MAX_CHARS]):
        cell = printable(cluster)
        cells = cell_width(cell)
        if cells > room:
            cell, cells = TOO_WIDE, 1
        if rows[-1].width and rows[-1].width + cells > room:
            rows.append(InputRow())
        if index == at:
            cursor = (len(rows) - 1, rows[-1].width)
        rows[-1].add(cell, cells)
        index += len(cluster)
    row, column = cursor or (len(rows) - 1, rows[-1].width)
    top = max(0, min(row - max_rows // 2, len(rows) - max_rows))
    return Layout(rows[top : top + max_rows], row - top, min(column, room))


def _clusters(text: str) -> Iterator[str]:
    return map(printable, wcwidth.iter_graphemes(text))


def _shorten(prompt: str, width: int) -> str:
    """Return the prompt, shortened so that half of a narrow terminal is left for the text."""
    cells = list(_clusters(prompt))
    if sum(map(cell_width, cells)) <= width // 2:
        return prompt
    kept = ""
    for cell in cells:
        if cell_width(kept) + cell_width(cell) > width // 2 - 2:
            break
        kept += cell
    return f"{kept}> " if width >= 6 else ""


@lru_cache(maxsize=4096)
def printable(cluster: str) -> str:
    """Return the printable form of a cluster, without characters that would move the cursor."""
    return "".join(map(_printable_char, cluster))


def _printable_char(char: str) -> str:
    if char == "\n":
        return "\u23ce"
    if char == "\t":
        return " "
    return char if char.isprintable() or char in JOINERS else ""


@lru_cache(maxsize=4096)
def cell_width(cell: str) -> int:
    """Return the number of columns of a cell."""
    return wcwidth.width(cell)

"""Wrapping of text in rows of a terminal: by words, and by grapheme clusters where a word is too long. No I/O.

Time is linear in the length of the text. Tabs and line feeds are the caller's.
"""

import re
from collections.abc import Iterator
from itertools import chain, repeat

import wcwidth

from chatkit.cli.line_layout import cell_width

_ASCII_WORD = re.compile(r" +|[^ ]+")


def wrap(text: str, width: int) -> list[tuple[int, int]]:
    """Return the start and end in the text of each row of at most `width` cells. Spaces between rows are left out.

    A word that is wider than a row begins in a new row and is broken. Wide characters, such as ideographs, are words of
    their own.
    """
    rows: list[tuple[int, int]] = []
    start = end = used = 0
    for at, word, cells in _words(text):
        if word.isspace():
            used += cells
            continue
        if used + cells > width and end > start:
            rows.append((start, end))
            start = end = at
            used = 0
        for index, piece, size in [(at, word, cells)] if used + cells <= width else _clusters(word, at):
            if used and used + size > width:
                rows += [(start, end)] if end > start else []
                start = end = index
                used = 0
            used += size
            end = index + len(piece)
    return [*rows, (start, end)]


def wrapped(text: str, width: int, first: str = "", later: str = "") -> list[str]:
    """Return the rows of a text of several lines, of at most `width` cells. The first begins differently.

    The beginnings are ASCII.
    """
    begins = chain([first], repeat(later))
    text_width = max(1, width - max(len(first), len(later)))
    rows = (line[start:end] for line in text.split("\n") for start, end in wrap(line, text_width))
    return [f"{begin}{row}" for begin, row in zip(begins, rows, strict=False)]


def cells_of(text: str) -> int:
    """Return the number of columns of a text on one row."""
    return len(text) if text.isascii() else sum(cell_width(cluster) for cluster in wcwidth.iter_graphemes(text))


def shorten(text: str, width: int, ellipsis: str = "…") -> str:
    """Return the text, or its start and an ellipsis of one cell if it is wider than `width` cells."""
    if cells_of(text[: 4 * width]) <= width and len(text) <= 4 * width:
        return text
    kept, used = [], 0
    for cluster in wcwidth.iter_graphemes(text):
        used += cell_width(cluster)
        if used > width - 1:
            break
        kept.append(cluster)
    return "".join(kept).rstrip() + ellipsis


def _words(text: str) -> Iterator[tuple[int, str, int]]:
    """Iterate over the words and the spaces between them: their indexes and widths."""
    if text.isascii():
        for match in _ASCII_WORD.finditer(text):
            yield match.start(), match[0], len(match[0])
        return
    start = at = cells = 0
    for cluster in wcwidth.iter_graphemes(text):
        size = cell_width(cluster)
        if cluster == " " or size > 1:
            if at > start:
                yield start, text[start:at], cells
            yield at, cluster, size
            start, cells = at + len(cluster), 0
        else:
            cells += size
        at += len(cluster)
    if at > start:
        yield start, text[start:], cells


def _clusters(word: str, at: int) -> Iterator[tuple[int, str, int]]:
    """Iterate over the clusters of a word that begins at `at`: their indexes and widths."""
    for cluster in wcwidth.iter_graphemes(word):
        yield at, cluster, cell_width(cluster)
        at += len(cluster)

"""Text with renditions, and its rows in a terminal. No I/O."""

from collections.abc import Iterator

from chatkit.cli.chat.style import Style
from chatkit.cli.chat.wrapping import wrap


class StyledText:
    """One line of text, whose parts have renditions. Without control characters, which the caller replaces."""

    def __init__(self, text: str = "", rendition: str = "") -> None:
        self.text = ""
        self._parts: list[tuple[int, int, str]] = []  # start, end, rendition; in order
        self.add(text, rendition)

    def add(self, text: str, rendition: str = "") -> None:
        """Append text."""
        if text:
            self._parts.append((len(self.text), len(self.text) + len(text), rendition))
            self.text += text

    def rows(self, width: int, style: Style) -> list[str]:
        """Return the rows of at most `width` cells, wrapped by words."""
        return ["".join(self._painted(start, end, style)) for start, end in wrap(self.text, width)]

    def _painted(self, start: int, end: int, style: Style) -> Iterator[str]:
        for first, last, rendition in self._parts:
            yield style.paint(self.text[max(first, start) : max(first, min(last, end))], rendition)

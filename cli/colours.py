"""Colours of printed messages: Select Graphic Rendition sequences (ECMA-48), or none."""

import os
import sys
from typing import Final

NAME_COLOURS: Final = (31, 32, 33, 34, 35, 36)  # the six of ECMA-48 that are neither black nor white


def has_colours() -> bool:
    """Return whether standard output may be coloured (no-color.org)."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")


class Colours:
    """Colours for a terminal, or plain text."""

    def __init__(self, *, is_coloured: bool) -> None:
        self._is_coloured = is_coloured

    def dim(self, text: str) -> str:
        """Return text of minor importance, dimmed."""
        return self._paint(text, "2")

    def hit(self, text: str) -> str:
        """Return text that a search has found: bold and reversed, in any theme."""
        return self._paint(text, "1;7")

    def name(self, name: str) -> str:
        """Return a name in a colour that depends only on the name."""
        return self._paint(name, str(NAME_COLOURS[sum(name.encode()) % len(NAME_COLOURS)]))

    def _paint(self, text: str, rendition: str) -> str:
        return f"\x1b[{rendition}m{text}\x1b[0m" if self._is_coloured and text else text

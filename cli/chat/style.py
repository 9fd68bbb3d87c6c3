"""Colours for a terminal: Select Graphic Rendition sequences (ECMA-48), or none. No I/O."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

DIM: Final = "2"
BOLD: Final = "1"
REVERSE: Final = "1;7"  # a mention of this person, and a hit of a search, in any theme
# Of xterm's 256 colours: each has a contrast of at least 4 to black and to white.
PALETTE: Final = tuple(f"38;5;{number}" for number in (27, 130, 28, 164, 30, 131, 99, 64, 162, 31, 129))
BASIC_PALETTE: Final = ("31", "32", "33", "34", "35", "36")  # the six of ECMA-48 that are neither black nor white
MAX_KNOWN: Final = 1_000  # names with a colour: five times the members that a server lists


def palette_of(env: Mapping[str, str]) -> Sequence[str]:
    """Return the colours that the terminal has."""
    has_256 = "256color" in env.get("TERM", "") or env.get("COLORTERM") in ("truecolor", "24bit")
    return PALETTE if has_256 else BASIC_PALETTE


class Style:
    """Colours for a terminal, or plain text. A name keeps its colour, and present names share none if there are enough.

    Which colour a name prefers depends only on the name.
    """

    def __init__(self, *, is_coloured: bool, palette: Sequence[str] = PALETTE) -> None:
        self._is_coloured = is_coloured
        self._palette = palette
        self._colours: dict[str, int] = {}  # indexes in the palette
        self._present: set[str] = set()

    def paint(self, text: str, rendition: str) -> str:
        """Return the text in a rendition, such as `DIM`; an empty one changes nothing."""
        return f"\x1b[{rendition}m{text}\x1b[0m" if rendition and text and self._is_coloured else text

    def dim(self, text: str) -> str:
        """Return text of minor importance, dimmed."""
        return self.paint(text, DIM)

    def colour_of(self, name: str) -> str:
        """Return the rendition of a name."""
        if name not in self._colours:
            self._choose(name)
        return self._palette[self._colours[name]]

    def set_present(self, names: Iterable[str]) -> None:
        """Give the names that are present different colours. Those that were present before keep theirs."""
        before, self._present = self._present, set(names)
        for name in sorted(self._present - before):
            self._choose(name)

    def _choose(self, name: str) -> None:
        if len(self._colours) >= MAX_KNOWN:
            self._colours = {known: colour for known, colour in self._colours.items() if known in self._present}
        used = [self._colours[other] for other in self._present if other != name and other in self._colours]
        count = len(self._palette)
        preferred = self._colours.get(name, zlib.crc32(name.encode()) % count)
        order = ((preferred + step) % count for step in range(count))
        self._colours[name] = min(order, key=used.count)  # the first of those that are used least

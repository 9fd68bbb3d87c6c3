"""QR codes in the terminal, two modules a character. Prints nothing."""

from typing import Final

QUIET_ZONE: Final = 4  # modules around the code (ISO/IEC 18004); readers of today accept fewer
MIN_QUIET_ZONE: Final = 1

# Black on white, whatever the colours of the terminal are: many readers do not recognize an inverted code.
COLORS: Final = "\x1b[38;5;16;48;5;231m"
RESET: Final = "\x1b[0m"
_DARK: Final = {(1, 1): "█", (1, 0): "▀", (0, 1): "▄", (0, 0): " "}  # by the upper and the lower module
_LIGHT: Final = {(1, 1): " ", (1, 0): "▄", (0, 1): "▀", (0, 0): "█"}  # without colours, for light text on dark
CHARACTERS: Final = "".join(_DARK.values())


def qr_lines(text: str, columns: int, *, color: bool) -> list[str]:
    """Return the QR code of a text as lines, or none if a line would have more than `columns` characters."""
    import segno

    code = segno.make(text, error="l", boost_error=False, micro=False)  # a link is read from a screen, without damage
    quiet_zone = min(QUIET_ZONE, (columns - int(code.symbol_size(border=0)[0])) // 2)
    if quiet_zone < MIN_QUIET_ZONE:
        return []
    rows = [bytes(row) for row in code.matrix_iter(border=quiet_zone)]
    if len(rows) % 2:
        rows.append(bytes(len(rows[0])))
    blocks = _DARK if color else _LIGHT
    pairs = zip(rows[::2], rows[1::2], strict=True)
    lines = ["".join(map(blocks.__getitem__, zip(upper, lower, strict=True))) for upper, lower in pairs]
    return [f"{COLORS}{line}{RESET}" for line in lines] if color else lines

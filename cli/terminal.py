"""Two ways to have a conversation on standard input and output: a terminal with a line being typed, and a pipe.

In the terminal, what comes is printed above the line being typed, which may take several rows. Knows nothing of rooms.
"""

import asyncio
import codecs
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NoReturn

from chatkit.cli.exit_codes import say
from chatkit.cli.input import InputFailed
from chatkit.cli.input_rows import Row, Rows
from chatkit.cli.line_editor import PASTE_OFF, PASTE_ON, EndOfInput, LineEditor
from chatkit.cli.sanitize import visible
from chatkit.cli.stdin import read_lines

# The row, and from its second column on what is below: from the top left corner, tmux would keep a copy in its history.
CLEAR_BELOW = "\r\x1b[K\x1b[C\x1b[J\r"
WRAP_ON, WRAP_OFF = "\x1b[?7h", "\x1b[?7l"  # off while the rows are drawn, which are wrapped already
DEFAULT_SIZE = os.terminal_size((80, 24))  # of a terminal that does not know its own
CLEAR_SCREEN = "\x1b[H\x1b[2J"
MAX_LINE_BYTES = 16 * 2**20
COLOURS = (31, 32, 33, 34, 35, 36)  # the six of ECMA-48 that are neither black nor white


def can_edit() -> bool:
    """Say whether there is a terminal on both sides, and one that can move its cursor."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def has_colour() -> bool:
    """Say whether output may be coloured (no-color.org)."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")


class Style:
    """Colours, or none."""

    def __init__(self, *, is_coloured: bool) -> None:
        self._is_coloured = is_coloured

    def dim(self, text: str) -> str:
        """Write what is beside the point."""
        return f"\x1b[2m{text}\x1b[0m" if self._is_coloured else text

    def name(self, name: str) -> str:
        """Write a name in a colour that is always the same."""
        if not self._is_coloured:
            return name
        return f"\x1b[{COLOURS[sum(name.encode()) % len(COLOURS)]}m{name}\x1b[0m"


class PipeInterface:
    """Lines in, lines out; on stderr what went wrong."""

    is_typed_at = False

    def show(self, text: str) -> None:
        """Print."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Print nothing: programs have other ways to ask."""

    def warn(self, text: str) -> None:
        """Print beside the results."""
        say(text)

    async def lines(self) -> AsyncIterator[str]:
        """Yield the lines of standard input."""
        async for _, line in read_lines(MAX_LINE_BYTES):
            yield line


class Terminal:
    """A line being typed at the bottom, and everything else above it. To be used inside `held`."""

    is_typed_at = True

    def __init__(self, prompt: str, style: Style) -> None:
        self._prompt = prompt
        self._style = style
        self._editor = LineEditor()
        self._decoder = codecs.getincrementaldecoder(sys.stdin.encoding)("replace")
        self._typed: asyncio.Queue[str | InputFailed | None] = asyncio.Queue()  # as a person types; None is the end
        self._drawn: Rows | None = None  # what stands on the screen, with the cursor in it
        self._drawn_width = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Read keys as they are pressed, and leave the terminal as it was."""
        loop = asyncio.get_running_loop()
        before = termios.tcgetattr(0)
        try:
            self._take()
            loop.add_reader(0, self._read)
            loop.add_signal_handler(signal.SIGWINCH, self._draw)
            loop.add_signal_handler(signal.SIGCONT, self._take)  # after Ctrl-Z and fg: the shell has had the terminal
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, _die_of, number)
            yield
        finally:
            loop.remove_reader(0)
            for number in (signal.SIGWINCH, signal.SIGCONT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(number)
            with suppress(OSError, termios.error):  # a terminal that hung up
                self._write(self._erased() + PASTE_OFF)
                termios.tcsetattr(0, termios.TCSADRAIN, before)

    def show(self, text: str) -> None:
        """Print above the line."""
        self._write(f"{self._erased()}{text}\n{self._painted()}")

    def note(self, text: str) -> None:
        """Print, but not for all to see."""
        self.show(self._style.dim(f"-- {visible(text)}"))

    def warn(self, text: str) -> None:
        """Print like a note: in a terminal both are seen."""
        self.note(text)

    async def lines(self) -> AsyncIterator[str]:
        """Yield what is typed, line by line."""
        while (line := await self._typed.get()) is not None:
            if isinstance(line, InputFailed):
                raise line
            yield line

    def _take(self) -> None:
        tty.setcbreak(0)
        self._drawn = None
        self._write(PASTE_ON + self._painted())

    def _read(self) -> None:
        try:
            keys = os.read(0, 65_536)
        except BlockingIOError:  # nothing yet
            return
        except OSError as error:  # such as of a terminal that hung up
            self._end(InputFailed(error))
            return
        if not keys:
            self._end(None)
            return
        text = self._decoder.decode(keys)
        try:
            for line in self._editor.type(text):
                self._typed.put_nowait(line)
        except EndOfInput:
            self._end(None)
        if "\x0c" in text:  # Ctrl-L
            self._write(CLEAR_SCREEN)
            self._drawn = None
        if not self._editor.is_pasting:  # a long text comes in many parts
            self._draw()

    def _end(self, error: InputFailed | None) -> None:
        asyncio.get_running_loop().remove_reader(0)
        self._typed.put_nowait(error)

    def _draw(self) -> None:
        self._write(self._erased() + self._painted())

    def _erased(self) -> str:
        """Return what takes the rows off the screen and puts the cursor where the first of them began."""
        drawn, self._drawn = self._drawn, None
        if drawn is None:
            return CLEAR_BELOW
        width = _size().columns
        above = drawn.cursor_row
        if width != self._drawn_width and wraps_again():
            above = drawn.above_cursor(width)
        return _up(above) + CLEAR_BELOW

    def _painted(self) -> str:
        """Return what draws the rows, from where the cursor is, and puts it into its place."""
        size = _size()
        rows = self._editor.look(self._prompt, size.columns, max(1, size.lines - 1))
        self._drawn, self._drawn_width = rows, size.columns
        text = "\r\n".join(map(_painted_row, rows.rows))
        up = _up(len(rows.rows) - 1 - rows.cursor_row)
        return f"{WRAP_OFF}{text}{WRAP_ON}{up}\x1b[{rows.cursor_column + 1}G"

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _up(n_rows: int) -> str:
    return f"\x1b[{n_rows}A" if n_rows else ""


def _painted_row(row: Row) -> str:
    # Each piece is put in its column: the terminal may think that what stands before it is wider, or narrower.
    return "".join(f"\x1b[{column + 1}G{_encodable(piece)}" for column, piece in row.pieces)


def _encodable(text: str) -> str:
    """Return the text with a question mark for each character that the terminal does not have."""
    encoding = sys.stdout.encoding
    return text.encode(encoding, "replace").decode(encoding)


def _size() -> os.terminal_size:
    try:
        size = os.get_terminal_size(1)
    except OSError:
        return DEFAULT_SIZE
    return os.terminal_size((size.columns or DEFAULT_SIZE.columns, size.lines or DEFAULT_SIZE.lines))


def wraps_again(env: Mapping[str, str] = os.environ) -> bool:
    """Return whether the terminal wraps its rows again when its width changes, as most do.

    xterm, GNU screen and the Linux console cut rows off. Inside tmux, their variables may be those of the terminal
    around it.
    """
    return "TMUX" in env or not ("XTERM_VERSION" in env or "STY" in env or env.get("TERM") == "linux")


def _die_of(number: signal.Signals) -> NoReturn:
    # Out of the event loop at once, by way of every `finally`: without this the terminal would stay as it is.
    raise SystemExit(128 + number)

"""The interface of a chat in a terminal: messages are printed above the input line, which may take several rows.

Knows nothing of rooms. The editor of the line is our own and not prompt_toolkit's. That one edits by code points, so
that Backspace leaves half an emoji; after a resize, its line is on the screen twice; and its import takes 64 ms of
processor time, where these modules take 10 ms.
"""

import asyncio
import codecs
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import NoReturn

from chatkit.cli.chat.attention import Attention
from chatkit.cli.chat.input_area import MAX_WAITING, with_hint, with_waiting
from chatkit.cli.chat.style import Style
from chatkit.cli.chat.wrapping import wrapped
from chatkit.cli.input import InputFailed
from chatkit.cli.line_editor import PASTE_OFF, PASTE_ON, Complete, EndOfInput, Interrupted, LineEditor
from chatkit.cli.line_layout import InputRow, Layout
from chatkit.cli.sanitize import visible

# Clear the row, then everything below from its second column on. Clearing from the top left corner would make tmux copy
# the screen to its history.
CLEAR_BELOW = "\r\x1b[K\x1b[C\x1b[J\r"
WRAP_ON, WRAP_OFF = "\x1b[?7h", "\x1b[?7l"  # off while the rows are drawn, because they are wrapped already
DEFAULT_SIZE = os.terminal_size((80, 24))  # for a terminal that does not report its size
# Ask for the position of the cursor, and for that of the last cell, which is the size (DECSC, CUP, CPR, DECRC).
ASK_POSITION = "\x1b[6n\x1b7\x1b[9999;9999H\x1b[6n\x1b8"
ANSWERS = 2  # to each question
ANSWER_TIMEOUT_S = 2.0  # a slow link answers within this time; a terminal that never answers is rare
CLEAR_SCREEN = "\x1b[H\x1b[2J"


def can_edit() -> bool:
    """Return whether input and output are a terminal that can move its cursor."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


NOTE = "-- "  # before a note
NO_KEY = b"\0"  # in termios: the function has no key (_POSIX_VDISABLE of Linux)


class Terminal:
    """A terminal with the input line at the bottom and messages above it. Use it inside `raw_mode`."""

    is_interactive = True

    def __init__(self, title: str, style: Style, complete: Complete) -> None:
        self._title = title
        self._hint = ""
        self._waiting: Sequence[str] = ()
        self._style = style
        self._editor = LineEditor(complete)
        self._on_edit: Callable[[str], None] = _ignore
        self._attention = Attention(title, has_window=os.environ.get("TERM") != "linux")
        self._decoder = codecs.getincrementaldecoder(sys.stdin.encoding)("replace")
        self._typed: asyncio.Queue[str | InputFailed | None] = asyncio.Queue()  # lines; None is the end
        self._drawn: Layout | None = None  # the rows on the screen, and the cursor in them
        self._drawn_width = 0
        self._size = _kernel_size()
        self._n_asked = 0  # questions that the terminal has not answered
        self._timeout: asyncio.TimerHandle | None = None  # ends the wait for the answers
        self._held: list[str] = []  # shown since the rows were drawn, whose place is not known during this wait
        self._due: asyncio.Handle | None = None  # draws at the end of this turn of the event loop

    @contextmanager
    def raw_mode(self, on_edit: Callable[[str], None]) -> Iterator[None]:
        """Read keys as they are pressed, and restore the terminal at the end.

        `on_edit` is called with the line after each change.
        """
        self._on_edit = on_edit
        loop = asyncio.get_running_loop()
        self._original = termios.tcgetattr(0)
        handlers: dict[signal.Signals, Callable[[], object]] = {
            signal.SIGWINCH: self._ask,
            signal.SIGTSTP: self._stop,
            signal.SIGCONT: self._start_editing,  # after Ctrl-Z and fg: the shell has changed the terminal
            signal.SIGTERM: partial(_exit_by_signal, signal.SIGTERM),
            signal.SIGHUP: partial(_exit_by_signal, signal.SIGHUP),
        }
        try:
            self._start_editing()
            loop.add_reader(0, self._read)
            for number, handle in handlers.items():
                loop.add_signal_handler(number, handle)
            yield
        finally:
            loop.remove_reader(0)
            if self._timeout is not None:
                self._timeout.cancel()
            for number in handlers:
                loop.remove_signal_handler(number)
            with suppress(OSError, termios.error):  # the terminal hung up
                self._restore()

    @property
    def width(self) -> int:
        """The number of columns."""
        return self._size.columns

    @property
    def note_width(self) -> int:
        """The number of columns for the text of a note."""
        return self.width - 1 - len(NOTE)

    def show(self, text: str) -> None:
        """Print a message above the input line."""
        self._held.append(f"{text}\n")
        self._draw_soon()

    def note(self, text: str) -> None:
        """Print a note, dimmed, above the input line."""
        self.show("\n".join(map(self._style.dim, self._note_rows(text))))

    def warn(self, text: str) -> None:
        """Print a warning in the way of a note, but not dimmed."""
        self.show("\n".join(self._note_rows(text)))

    def _note_rows(self, text: str) -> list[str]:
        return wrapped(visible(text), self.note_width + len(NOTE), NOTE, " " * len(NOTE))

    def set_title(self, title: str) -> None:
        """Change the text before the input line, and the title of the window."""
        self._title = title
        self._write(self._attention.set_title(title))
        self._draw_soon()

    def set_hint(self, hint: str) -> None:
        """Change the text at the right edge of the input line."""
        if hint != self._hint:
            self._hint = hint
            self._draw_soon()

    def set_waiting(self, rows: Sequence[str]) -> None:
        """Change the rows above the input line that are replaced by messages later."""
        if rows != self._waiting:
            self._waiting = rows
            self._draw_soon()

    def call(self, *, is_mention: bool) -> None:
        """Count a message in the title of the window, and ring the bell for a mention."""
        self._write(self._attention.arrived(asyncio.get_running_loop().time(), is_mention=is_mention))

    async def lines(self) -> AsyncIterator[str]:
        """Iterate over the lines that are typed."""
        while (line := await self._typed.get()) is not None:
            if isinstance(line, InputFailed):
                raise line
            yield line

    def _start_editing(self) -> None:
        tty.setcbreak(0)
        self._set_interrupt_key(is_signal=False)
        self._drawn = None
        self._size = _kernel_size()
        self._write(PASTE_ON + self._attention.begin() + self._painted())
        self._leave_rows_above()

    def _restore(self) -> None:
        """Leave the terminal as it was before."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self._write(self._erased() + "".join(self._held) + self._attention.end() + PASTE_OFF)
        self._held.clear()
        # The shell must not read an answer of the terminal as typed keys.
        termios.tcsetattr(0, termios.TCSAFLUSH if self._n_asked else termios.TCSADRAIN, self._original)

    def _stop(self) -> None:
        """Stop the process, as Ctrl-Z does, without leaving the terminal's modes to the shell."""
        self._restore()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _set_interrupt_key(self, *, is_signal: bool) -> None:
        """Let Ctrl-C be a key, in the order of the others, or a signal, which discards the keys that were not read."""
        attributes = termios.tcgetattr(0)
        attributes[6][termios.VINTR] = self._original[6][termios.VINTR] if is_signal else NO_KEY
        termios.tcsetattr(0, termios.TCSANOW, attributes)

    def _leave_rows_above(self) -> None:
        """Move the input line down, if the terminal would scroll its rows away when it becomes narrower."""
        if scrolls_for_wrapped_rows():
            self._ask()

    def _read(self) -> None:
        try:
            keys = os.read(0, 65_536)
        except BlockingIOError:  # nothing yet
            return
        except OSError as error:  # for example, the terminal hung up
            self._end(InputFailed(error))
            return
        if not keys:
            self._end(None)
            return
        text = self._decoder.decode(keys)
        before, n_pressed = self._editor.text, self._editor.n_pressed
        try:
            for line in self._editor.receive(text):
                self._typed.put_nowait(line)
        except EndOfInput:
            self._end(None)
        except Interrupted:
            raise KeyboardInterrupt from None
        self._receive_answers()
        self._receive_focus(is_key=self._editor.n_pressed > n_pressed)
        if self._editor.text not in ("", before):
            self._on_edit(self._editor.text)
        if "\x0c" in text:  # Ctrl-L
            self._write(self._erased() + CLEAR_SCREEN)
            self._leave_rows_above()
        if not self._editor.is_pasting:  # a long text arrives in many parts, and is drawn once
            self._draw()

    def _end(self, error: InputFailed | None) -> None:
        asyncio.get_running_loop().remove_reader(0)
        with suppress(OSError, termios.error):  # the terminal hung up
            self._set_interrupt_key(is_signal=True)
        self._typed.put_nowait(error)

    def _ask(self) -> None:
        """Ask the terminal for its size and the cursor: the kernel learns of the size later, in tmux up to 250 ms."""
        if self._editor.is_pasting:  # the answer could become a part of the pasted text
            self._resize(_kernel_size(), None)
            return
        self._n_asked += 1
        self._write(ASK_POSITION)
        if self._timeout is not None:
            self._timeout.cancel()
        self._timeout = asyncio.get_running_loop().call_later(ANSWER_TIMEOUT_S, self._stop_waiting)

    def _receive_answers(self) -> None:
        answers = self._editor.positions
        if self._n_asked and len(answers) >= ANSWERS * self._n_asked:  # the size has not changed since the last ones
            (row, _), (lines, columns) = answers[-ANSWERS:]
            self._resize(os.terminal_size((columns, lines)), row)
        elif not self._n_asked:
            answers.clear()

    def _receive_focus(self, *, is_key: bool) -> None:
        if self._editor.has_focus is not None:
            self._write(self._attention.focused(has_focus=self._editor.has_focus))
            self._editor.has_focus = None
        if is_key:
            self._write(self._attention.pressed())

    def _stop_waiting(self) -> None:
        if self._n_asked:
            self._resize(_kernel_size(), None)

    def _resize(self, size: os.terminal_size, row: int | None) -> None:
        """Draw again in a terminal of this size, whose cursor is in this row (from 1) if it has told."""
        self._n_asked = 0
        self._editor.positions.clear()
        self._size = size
        top = None if row is None else row - self._rows_above_cursor()
        erased = self._erased()
        if top is not None and scrolls_for_wrapped_rows():
            erased += self._moved_down(top)
        self._write(erased)
        self._draw()

    def _moved_down(self, top: int) -> str:
        """Return the sequence that moves the screen down to leave half of it above the input line, erased at `top`."""
        n_rows = len(self._layout().rows)
        spare = self._size.lines + 1 - n_rows - top
        if spare <= 0 or top > self._size.lines // 2:
            return ""
        return f"\x1b[H\x1b[{spare}L\x1b[{top + spare}H"

    def _draw_soon(self) -> None:
        """Draw once for all that changes in this turn of the event loop."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self._draw)

    def _draw(self) -> None:
        """Draw the input line, and above it what was shown since it was drawn."""
        self._due = None
        if self._n_asked:
            return
        shown, self._held = "".join(self._held), []
        self._write(self._erased() + shown + self._painted())

    def _erased(self) -> str:
        """Return the sequence that erases the rows and moves the cursor to the start of the first."""
        above = self._rows_above_cursor()
        self._drawn = None
        return _up(above) + CLEAR_BELOW

    def _rows_above_cursor(self) -> int:
        if self._drawn is None:
            return 0
        width = self._size.columns
        if width != self._drawn_width and rewraps_rows():
            return self._drawn.rows_above_cursor(width)
        return self._drawn.cursor_row

    def _painted(self) -> str:
        """Return the sequence that draws the rows at the cursor and then moves it to its position in them."""
        rows = self._layout()
        self._drawn, self._drawn_width = rows, self._size.columns
        text = "\r\n".join(map(_painted_row, rows.rows))
        up = _up(len(rows.rows) - 1 - rows.cursor_row)
        return f"{WRAP_OFF}{text}{WRAP_ON}{up}\x1b[{rows.cursor_column + 1}G"

    def _layout(self) -> Layout:
        width, max_rows = self._size.columns, max(1, self._size.lines - 1)
        layout = self._editor.layout(f"{self._title}> ", width, max_rows)
        waiting = self._waiting[: min(MAX_WAITING, max_rows - len(layout.rows))]
        return with_waiting(with_hint(layout, self._hint, width, self._style), waiting, width, self._style)

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _ignore(_text: str) -> None:
    """Ignore a change of the line."""


def _up(n_rows: int) -> str:
    return f"\x1b[{n_rows}A" if n_rows else ""


def _painted_row(row: InputRow) -> str:
    # Each piece starts at an explicit column: terminals differ in the width of the characters before it.
    return "".join(f"\x1b[{column + 1}G{_encodable(piece)}" for column, piece in row.pieces)


def _encodable(text: str) -> str:
    """Return the text with a question mark for each character outside the terminal's encoding."""
    encoding = sys.stdout.encoding
    return text.encode(encoding, "replace").decode(encoding)


def _kernel_size() -> os.terminal_size:
    try:
        size = os.get_terminal_size(1)
    except OSError:
        return DEFAULT_SIZE
    return os.terminal_size((size.columns or DEFAULT_SIZE.columns, size.lines or DEFAULT_SIZE.lines))


def scrolls_for_wrapped_rows(env: Mapping[str, str] = os.environ) -> bool:
    """Return whether the terminal scrolls when it wraps rows again, even if there are empty rows at its bottom.

    tmux does. Rows that scroll away cannot be erased.
    """
    return "TMUX" in env


def rewraps_rows(env: Mapping[str, str] = os.environ) -> bool:
    """Return whether the terminal wraps its rows again when its width changes, as most terminals do.

    xterm, GNU screen and the Linux console cut rows off. tmux wraps them; inside it, the variables of the terminal
    around it may still be set.
    """
    return "TMUX" in env or not ("XTERM_VERSION" in env or "STY" in env or env.get("TERM") == "linux")


def _exit_by_signal(number: signal.Signals) -> NoReturn:
    # Leaves the event loop through every `finally`, which restore the terminal.
    raise SystemExit(128 + number)

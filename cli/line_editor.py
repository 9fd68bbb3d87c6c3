"""The editor of the input line: it receives keys and returns lines. No I/O.

The cursor moves by grapheme clusters (UAX 29), which people perceive as characters.

Pasted text stays in the line, with its line feeds, until Enter is pressed.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import wcwidth

from chatkit.cli.line_layout import Layout, lay_out

MAX_REMEMBERED = 500  # earlier lines that can be recalled
PASTE_BEGIN, PASTE_END = "\x1b[200~", "\x1b[201~"  # bracketed paste, introduced by xterm
PASTE_ON, PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"

COMPLETION_STEPS: Final = {"\t": 1, "\x1b[Z": -1}  # Tab and Shift-Tab

# One key: an escape sequence (ECMA-48), Alt with a key, or a character.
_KEY = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1bO.|\x1b[^\[O]|[^\x1b]", re.DOTALL)
FOCUS_IN, FOCUS_OUT = "\x1b[I", "\x1b[O"  # reported by terminals that are asked to
_POSITION = re.compile(r"\x1b\[(\d{1,5});(\d{1,5})R")  # the terminal's answer to CSI 6n
_WORD_RIGHT = re.compile(r"^\s*\S*")


class EndOfInput(Exception):
    """Ctrl-D was pressed on an empty line."""


Complete = Callable[[str], tuple[int, Sequence[str]]]
"""Returns, for the text before the cursor, the start of the word to complete, and what may replace it."""


class Interrupted(Exception):
    """Ctrl-C was pressed on an empty line."""


class LineEditor:
    """The line being typed, its cursor, and the earlier lines."""

    def __init__(self, complete: Complete = lambda text: (len(text), ())) -> None:
        self.text = ""
        self.at = 0
        self._unread = ""  # the start of a key whose other characters have not arrived
        self._is_pasting = False
        self.positions: list[tuple[int, int]] = []  # rows and columns of the cursor that the terminal has reported
        self._lines: list[str] = []
        self._shown = 0  # the index in `_lines` of the recalled line; their count for the new line
        self._draft = ""
        self.n_pressed = 0  # keys, without the reports of the terminal
        self.has_focus: bool | None = None  # as the terminal has reported last
        self._complete = complete
        self._completion: tuple[int, Sequence[str], int] | None = None  # the start, the texts, and the index of one

    def receive(self, keys: str) -> Iterator[str]:
        """Process input of the terminal and iterate over the finished lines. Raise `EndOfInput` or `Interrupted`."""
        self._unread += keys
        while self._unread:
            if self._is_pasting:
                if not self._paste():
                    return
                continue
            key = _KEY.match(self._unread)
            if key is None:
                return
            self._unread = self._unread[key.end() :]
            line = self._press(key[0])
            if line is not None:
                yield line

    @property
    def is_pasting(self) -> bool:
        """Whether the end of a pasted text has not arrived."""
        return self._is_pasting

    def layout(self, prompt: str, width: int, max_rows: int) -> Layout:
        """Return the layout of the line in a terminal of `width` columns."""
        return lay_out(prompt, self.text, self.at, width, max_rows)

    def _paste(self) -> bool:
        """Insert pasted text. Return whether its end has arrived."""
        pasted, is_over, rest = self._unread.partition(PASTE_END)
        if not is_over:
            # The last characters may be the start of PASTE_END, or of a CR LF.
            beginnings = (*(PASTE_END[:n] for n in range(len(PASTE_END) - 1, 0, -1)), "\r")
            keep = next((len(each) for each in beginnings if pasted.endswith(each)), 0)
            pasted, rest = pasted[: len(pasted) - keep], pasted[len(pasted) - keep :]
        self._insert(pasted.replace("\r\n", "\n").replace("\r", "\n"))
        self._unread = rest
        self._is_pasting = not is_over
        return bool(is_over)

    def _press(self, key: str) -> str | None:
        if key in (FOCUS_IN, FOCUS_OUT):
            self.has_focus = key == FOCUS_IN
            return None
        if position := _POSITION.fullmatch(key):
            self.positions.append((int(position[1]), int(position[2])))
            return None
        self.n_pressed += 1
        if key in COMPLETION_STEPS:
            self.complete(COMPLETION_STEPS[key])
            return None
        self._completion = None
        return self._edit(key)

    def _edit(self, key: str) -> str | None:
        if key in ("\r", "\n"):
            return self._finish()
        if key == PASTE_BEGIN:
            self._is_pasting = True
        elif key == "\x04" and not self.text:
            raise EndOfInput
        elif key == "\x03":
            self._clear()
        elif key in _ACTIONS:
            _ACTIONS[key](self)
        elif key in ("\x1b\r", "\x1b\n"):
            self._insert("\n")
        elif not key.startswith("\x1b"):
            self._insert(key)
        return None

    def _finish(self) -> str:
        line = self.text
        if line.strip() and line not in self._lines[-1:]:
            self._lines = [*self._lines, line][-MAX_REMEMBERED:]
        self._shown = len(self._lines)
        self.text, self.at = "", 0
        return line

    def _clear(self) -> None:
        """Remove the line, which can be recalled. Raise `Interrupted` if it is empty."""
        if not self.text:
            raise Interrupted
        self._finish()

    def complete(self, step: int) -> None:
        """Complete the word before the cursor or, after a completion, replace it by the next one or one before."""
        if self._completion is None:
            start, texts = self._complete(self.text[: self.at])
            if not texts:
                return
            self._completion = (start, [*texts, self.text[start : self.at]], -1 if step > 0 else len(texts))
        start, texts, index = self._completion
        index = (index + step) % len(texts)
        self._completion = (start, texts, index) if len(texts) > 2 else None  # the only one may have more after it
        self.text = self.text[:start] + texts[index] + self.text[self.at :]
        self.move(start + len(texts[index]))

    def _insert(self, text: str) -> None:
        if not self.text:
            text = text.removeprefix("\ufeff")  # the byte order mark of a pasted file
        text = "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs"))
        self.text = self.text[: self.at] + text + self.text[self.at :]
        self.move(self.at + len(text))

    def erase(self, begin: int, end: int) -> None:
        """Remove the text between two indexes."""
        self.text = self.text[:begin] + self.text[end:]
        self.move(begin)

    def left(self) -> int:
        """Return the start of the grapheme cluster before the cursor."""
        return wcwidth.grapheme_boundary_before(self.text, self.at)

    def right(self) -> int:
        """Return the end of the grapheme cluster after the cursor."""
        return self._end_of_cluster(self.at)

    def _start_of_cluster(self, at: int) -> int:
        """Return the start of the cluster that contains the character at an index."""
        return at if at >= len(self.text) else wcwidth.grapheme_boundary_before(self.text, at + 1)

    def _end_of_cluster(self, at: int) -> int:
        """Return the end of the cluster that starts at an index."""
        return at + len(next(wcwidth.iter_graphemes(self.text, at), ""))

    def word_left(self) -> int:
        """Return the start of the word before the cursor."""
        before = self.text[: self.at].rstrip()
        word = before.rsplit(maxsplit=1)[-1:]  # not a pattern that ends in `$`: its time would grow with the square
        return self._start_of_cluster(len(before) - len(word[0])) if word else 0

    def word_right(self) -> int:
        """Return the end of the word after the cursor."""
        found = _WORD_RIGHT.search(self.text[self.at :])
        return self._boundary_from(self.at + (found.end() if found else 0))

    def _boundary_from(self, at: int) -> int:
        """Return the index, or the end of the cluster if the index is inside one."""
        start = self._start_of_cluster(at)
        return at if start == at else self._end_of_cluster(start)

    def move(self, at: int) -> None:
        """Move the cursor to an index, or after the cluster if the index is inside one.

        Inserted text can form a cluster with the text around it.
        """
        self.at = self._boundary_from(at)

    def recall(self, step: int) -> None:
        """Show the line that is `step` lines later, or earlier if it is negative."""
        if not 0 <= self._shown + step <= len(self._lines):
            return
        if self._shown == len(self._lines):
            self._draft = self.text
        self._shown += step
        self.text = self._draft if self._shown == len(self._lines) else self._lines[self._shown]
        self.at = len(self.text)


_ACTIONS: Final[dict[str, Callable[[LineEditor], None]]] = {}


def _bind(action: Callable[[LineEditor], None], *keys: str) -> None:
    _ACTIONS.update(dict.fromkeys(keys, action))


_bind(lambda editor: editor.erase(editor.left(), editor.at), "\x7f", "\x08")
_bind(lambda editor: editor.erase(editor.at, editor.right()), "\x04", "\x1b[3~")
_bind(lambda editor: editor.erase(0, editor.at), "\x15")
_bind(lambda editor: editor.erase(editor.at, len(editor.text)), "\x0b")
_bind(lambda editor: editor.erase(editor.word_left(), editor.at), "\x17", "\x1b\x7f")
_bind(lambda editor: editor.move(0), "\x01", "\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~")
_bind(lambda editor: editor.move(len(editor.text)), "\x05", "\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~")
_bind(lambda editor: editor.move(editor.left()), "\x02", "\x1b[D", "\x1bOD")
_bind(lambda editor: editor.move(editor.right()), "\x06", "\x1b[C", "\x1bOC")
_bind(lambda editor: editor.move(editor.word_left()), "\x1bb", "\x1b[1;5D", "\x1b[1;3D")
_bind(lambda editor: editor.move(editor.word_right()), "\x1bf", "\x1b[1;5C", "\x1b[1;3C")
_bind(lambda editor: editor.recall(-1), "\x10", "\x1b[A", "\x1bOA")
_bind(lambda editor: editor.recall(1), "\x0e", "\x1b[B", "\x1bOB")

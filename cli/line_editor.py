"""Editor: one line being typed. Keys in, lines out. No I/O.

Cursor and keys move by grapheme clusters (UAX 29): by characters as a person sees them.

A pasted text stays one line with line feeds in it, whatever it holds, until it is sent.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final

import wcwidth

from chatkit.cli.input_rows import Rows, lay_out

MAX_REMEMBERED = 500  # lines to go back to
PASTE_BEGIN, PASTE_END = "\x1b[200~", "\x1b[201~"  # bracketed paste, as xterm introduced it
PASTE_ON, PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"

# One key: an escape sequence (ECMA-48), Alt with a key, or a character.
_KEY = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1bO.|\x1b[^\[O]|[^\x1b]", re.DOTALL)
_WORD_LEFT = re.compile(r"\S*\s*$")
_WORD_RIGHT = re.compile(r"^\s*\S*")


class EndOfInput(Exception):
    """Ctrl-D on an empty line."""


class LineEditor:
    """A line, where the cursor is in it, and the lines before it."""

    def __init__(self) -> None:
        self.text = ""
        self.at = 0
        self._unread = ""  # the beginning of a key whose rest has not come
        self._is_pasting = False
        self._lines: list[str] = []
        self._shown = 0  # which of `_lines` is on show; their count while it is a new one
        self._draft = ""

    def type(self, keys: str) -> Iterator[str]:
        """Take what the terminal sends; yield each line that was finished. Raise `EndOfInput`."""
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
        """Whether the end of a pasted text has not come."""
        return self._is_pasting

    def look(self, prompt: str, width: int, max_rows: int) -> Rows:
        """Return the rows to show in a terminal of `width` columns."""
        return lay_out(prompt, self.text, self.at, width, max_rows)

    def _paste(self) -> bool:
        """Take pasted text; return whether its end has come."""
        pasted, is_over, rest = self._unread.partition(PASTE_END)
        if not is_over:
            # What came last may be the beginning of the end, or of a line's.
            beginnings = (*(PASTE_END[:n] for n in range(len(PASTE_END) - 1, 0, -1)), "\r")
            keep = next((len(each) for each in beginnings if pasted.endswith(each)), 0)
            pasted, rest = pasted[: len(pasted) - keep], pasted[len(pasted) - keep :]
        self._insert(pasted.replace("\r\n", "\n").replace("\r", "\n"))
        self._unread = rest
        self._is_pasting = not is_over
        return bool(is_over)

    def _press(self, key: str) -> str | None:
        if key in ("\r", "\n"):
            return self._finish()
        if key == PASTE_BEGIN:
            self._is_pasting = True
        elif key == "\x04" and not self.text:
            raise EndOfInput
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

    def _insert(self, text: str) -> None:
        if not self.text:
            text = text.removeprefix("\ufeff")  # a byte order mark, of a file that was pasted
        text = "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs"))
        self.text = self.text[: self.at] + text + self.text[self.at :]
        self.move(self.at + len(text))

    def erase(self, begin: int, end: int) -> None:
        """Remove a part."""
        self.text = self.text[:begin] + self.text[end:]
        self.move(begin)

    def left(self) -> int:
        """Return where the grapheme cluster before the cursor begins."""
        return wcwidth.grapheme_boundary_before(self.text, self.at)

    def right(self) -> int:
        """Return where the grapheme cluster behind the cursor ends."""
        return self._end_of_cluster(self.at)

    def _start_of_cluster(self, at: int) -> int:
        """Return where the cluster begins that holds the character at an index."""
        return at if at >= len(self.text) else wcwidth.grapheme_boundary_before(self.text, at + 1)

    def _end_of_cluster(self, at: int) -> int:
        """Return where the cluster ends that begins at an index."""
        return at + len(next(wcwidth.iter_graphemes(self.text, at), ""))

    def word_left(self) -> int:
        """Return where the word before the cursor begins."""
        found = _WORD_LEFT.search(self.text[: self.at])
        return self._start_of_cluster(found.start()) if found else 0

    def word_right(self) -> int:
        """Return where the word behind the cursor ends."""
        found = _WORD_RIGHT.search(self.text[self.at :])
        return self._boundary_from(self.at + (found.end() if found else 0))

    def _boundary_from(self, at: int) -> int:
        """Return the index, or the end of the cluster that it is inside."""
        start = self._start_of_cluster(at)
        return at if start == at else self._end_of_cluster(start)

    def move(self, at: int) -> None:
        """Put the cursor there, or behind the cluster that it would be inside: a text that is put in joins others."""
        self.at = self._boundary_from(at)

    def recall(self, step: int) -> None:
        """Show an earlier line, or go back towards the new one."""
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

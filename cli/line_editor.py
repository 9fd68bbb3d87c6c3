"""Editor: one line being typed. Keys in, what was typed out, and how it looks in a row of a terminal. No I/O.

A pasted text stays one line with line feeds in it, whatever it holds, until it is sent.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final

from rich.cells import cell_len, set_cell_size

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

    def look(self, prompt: str, width: int) -> tuple[str, int]:
        """Return the row to show, at most `width` cells, and the column of the cursor in it."""
        if cell_len(prompt) > width // 2:  # a long name leaves half of a narrow terminal for what is typed
            prompt = set_cell_size(prompt, max(0, width // 2 - 2)) + "> "
        room = max(1, width - cell_len(prompt) - 1)
        shown = [_cell(char) for char in self.text]
        begin = self.at
        used = 0
        while begin > 0 and used + cell_len(shown[begin - 1]) <= room:
            begin -= 1
            used += cell_len(shown[begin])
        end, more = self.at, used
        while end < len(shown) and more + cell_len(shown[end]) <= room:
            more += cell_len(shown[end])
            end += 1
        return prompt + "".join(shown[begin:end]), cell_len(prompt) + used

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
        text = "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs"))
        self.text = self.text[: self.at] + text + self.text[self.at :]
        self.at += len(text)

    def erase(self, begin: int, end: int) -> None:
        """Take out a part."""
        self.text = self.text[:begin] + self.text[end:]
        self.at = begin

    def left(self) -> int:
        """Return where the character before the cursor begins, with what belongs to it."""
        at = max(0, self.at - 1)
        while at > 0 and _joins(self.text[at - 1], self.text[at]):
            at -= 1
        return at

    def right(self) -> int:
        """Return where the character behind the cursor ends."""
        at = min(len(self.text), self.at + 1)
        while at < len(self.text) and _joins(self.text[at - 1], self.text[at]):
            at += 1
        return at

    def word_left(self) -> int:
        """Return where the word before the cursor begins."""
        found = _WORD_LEFT.search(self.text[: self.at])
        return found.start() if found else 0

    def word_right(self) -> int:
        """Return where the word behind the cursor ends."""
        found = _WORD_RIGHT.search(self.text[self.at :])
        return self.at + (found.end() if found else 0)

    def move(self, at: int) -> None:
        """Put the cursor there."""
        self.at = at

    def recall(self, step: int) -> None:
        """Show an earlier line, or go back towards the new one."""
        if not 0 <= self._shown + step <= len(self._lines):
            return
        if self._shown == len(self._lines):
            self._draft = self.text
        self._shown += step
        self.text = self._draft if self._shown == len(self._lines) else self._lines[self._shown]
        self.at = len(self.text)


def _joins(left: str, right: str) -> bool:
    """Say whether no cursor goes between two characters: what is one to the eye."""
    return unicodedata.category(right)[0] == "M" or "\u200d" in (left, right)


def _cell(char: str) -> str:
    return "\u23ce" if char == "\n" else " " if char == "\t" else char if char.isprintable() else ""


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

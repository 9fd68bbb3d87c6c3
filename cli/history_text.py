"""HistoryText: messages as text for people, in a terminal or a pipe. No I/O.

A message is a line `TIME SENDER: TEXT`. Further lines of its text are indented by four spaces, and notes about it, such
as its reactions, by two, so that no text can imitate a message or a note. A change is a note of its own.
"""

from typing import Final

import msgspec

from chatkit.cli.chat.style import REVERSE, Style
from chatkit.cli.chat.wrapping import wrapped
from chatkit.cli.formats import INDENT
from chatkit.cli.hits import split_at_hits
from chatkit.cli.hook_text import shown_data, shown_text
from chatkit.cli.marks import UNICODE, Marks, sender_of
from chatkit.cli.message_notes import REPLY_ARROW, change_text, reply_note, state_note
from chatkit.cli.sanitize import visible
from chatkit.cli.times import date_and_time
from chatkit.core.model import Message

NOTE_INDENT: Final = "  "  # fewer spaces than `INDENT`, and never followed by another


class HistoryText(msgspec.Struct, frozen=True):
    """How messages are printed.

    `shows_seq` adds the number of each message after its time, and `shows_room` its room. Hits of `search` are marked
    if there are colours. Notes are wrapped by words to `width` cells, that of a terminal; None does not wrap.
    """

    style: Style = Style(is_coloured=False)
    marks: Marks = UNICODE
    arrow: str = REPLY_ARROW
    shows_seq: bool = False
    shows_room: bool = False
    search: str | None = None
    width: int | None = None

    def text_of(self, message: Message, quoted: Message | None = None) -> str:
        """Return a message or a change, without a final line feed. `quoted` is the message that it answers, or None."""
        if message.act is not None:
            return self.style.dim(f"{NOTE_INDENT}{self._head(message)} {_indented(change_text(message))}")
        notes = (reply_note(message, quoted, self.arrow, self.marks), state_note(message))
        lines = (self.style.dim(row) for note in notes if note for row in self._note_rows(note))
        return "\n".join((f"{self._head(message)}: {self._body(message)}", *lines))

    def _note_rows(self, note: str) -> list[str]:
        return [f"{NOTE_INDENT}{note}"] if self.width is None else wrapped(note, self.width, NOTE_INDENT, INDENT)

    def _head(self, message: Message) -> str:
        room = [message.room] if self.shows_room else []
        seq = [f"#{message.seq}"] if self.shows_seq else []
        name, marks = sender_of(message, self.marks)
        where = " ".join((date_and_time(message.time_ms), *room, *seq))
        if message.act is not None:  # dimmed as a whole
            return f"{where} {name}{marks}"
        return f"{self.style.dim(where)} {self.style.paint(name, self.style.colour_of(name))}{marks}"

    def _body(self, message: Message) -> str:
        if message.redacted:
            return self.style.dim("(redacted)")
        shown = shown_text(message)
        pieces = split_at_hits(shown, self.search) if self.search else [(shown, False)]
        text = "".join(
            self.style.paint(visible(piece), REVERSE) if is_hit else visible(piece) for piece, is_hit in pieces
        )
        data = shown_data(message)
        return _indented(text if data is None else f"{text}\n{data}")


def _indented(text: str) -> str:
    return text.replace("\n", f"\n{INDENT}")

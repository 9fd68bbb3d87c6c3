"""HistoryPrinter: prints messages in a format, and gaps on standard error."""

import os
import sys
from collections.abc import Callable, Iterable

from chatkit.cli.chat.style import Style, palette_of
from chatkit.cli.formats import csv_header, csv_line, gap_sentence, json_line, markdown
from chatkit.cli.history_text import HistoryText
from chatkit.cli.marks import printable_marks
from chatkit.cli.message_notes import ASCII_ARROW, REPLY_ARROW
from chatkit.cli.output import begin_export, begin_json, can_print, has_colour, print_notice
from chatkit.cli.sanitize import visible
from chatkit.cli.table import terminal_width
from chatkit.core.model import Gap, Message

Format = Callable[[Message, Message | None], str]


def text_for_output(*, search: str | None = None, shows_room: bool = False) -> HistoryText:
    """Return how messages are printed to standard output: in a terminal with numbers, colours and wrapped notes."""
    return HistoryText(
        Style(is_coloured=has_colour(), palette=palette_of(os.environ)),
        printable_marks(),
        REPLY_ARROW if can_print(REPLY_ARROW) else ASCII_ARROW,
        shows_seq=sys.stdout.isatty(),
        shows_room=shows_room,
        search=search,
        width=terminal_width(),
    )


class HistoryPrinter:
    """Prints messages in the format `form`: text, json, csv or markdown. While nothing is printed, `is_empty`."""

    def __init__(self, form: str, text: HistoryText) -> None:
        self.has_gap = False
        self.is_empty = True
        self.form = form
        formats: dict[str, Format] = {
            "text": text.text_of,
            "json": lambda message, _quoted: json_line(message),
            "csv": lambda message, _quoted: csv_line(message),
            "markdown": markdown,
        }
        self._format = formats[form]
        self._sanitize = visible if form == "csv" and sys.stdout.isatty() else str

    @property
    def shows_quotes(self) -> bool:
        """Whether the message that a reply answers is printed, too."""
        return self.form in {"text", "markdown"}

    def begin(self) -> None:
        """Print the header of the format, if it has one."""
        if self.form == "json":
            begin_json()
        elif self.form != "text":
            begin_export()
        if self.form == "csv":
            sys.stdout.write(f"{csv_header()}\n")

    def print(self, item: Message | Gap, quoted: Message | None = None) -> None:
        """Print a message or a gap. `quoted` is the message that it answers, if that is known."""
        self.is_empty = False
        if isinstance(item, Message):
            sys.stdout.write(f"{self._sanitize(self._format(item, quoted))}\n")
            return
        self.has_gap = True
        if self.form == "json":
            sys.stdout.write(f"{json_line(item)}\n")
        self.flush()  # so that the sentence is printed at the position of the missing messages
        print_notice(gap_sentence(item))

    def print_all(self, messages: Iterable[Message]) -> None:
        """Print messages after the header, and write what is buffered."""
        self.begin()
        for message in messages:
            self.print(message)
        self.flush()

    def flush(self) -> None:
        """Write what is buffered."""
        sys.stdout.flush()

"""The two interfaces of a chat: a terminal, which is in `terminal`, and a pipe. Knows nothing of rooms."""

import sys
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

from chatkit.cli.input_lines import read_lines
from chatkit.cli.output import print_notice

MAX_LINE_BYTES: Final = 16 * 2**20  # bounds the memory for one line of a pipe


class ChatInterface(Protocol):
    """A terminal or a pipe. `is_interactive`: a person types, who may give commands and correct mistakes."""

    is_interactive: bool

    @property
    def width(self) -> int:
        """The number of columns."""
        ...

    @property
    def note_width(self) -> int:
        """The number of columns for the text of a note."""
        ...

    def show(self, text: str) -> None:
        """Print a message."""
        ...

    def note(self, text: str) -> None:
        """Print information for a person. A pipe does not print it."""
        ...

    def warn(self, text: str) -> None:
        """Print a warning."""
        ...

    def set_title(self, title: str) -> None:
        """Change the text before the input line, and the title of the window. A pipe has none."""
        ...

    def set_hint(self, hint: str) -> None:
        """Change the text at the right edge of the input line. A pipe has none."""
        ...

    def set_waiting(self, rows: Sequence[str]) -> None:
        """Change the rows above the input line that are replaced by messages later. A pipe has none."""
        ...

    def call(self, *, is_mention: bool) -> None:
        """Report to a person who is elsewhere that a message has arrived. A pipe does not."""
        ...

    def lines(self) -> AsyncIterator[str]:
        """Iterate over the lines of the input."""
        ...


class PipeInterface:
    """A pipe: it reads lines from standard input, and prints messages and, on standard error, warnings."""

    is_interactive = False
    width = note_width = 80

    def show(self, text: str) -> None:
        """Print a message."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Ignore a note: notes are for people."""

    def warn(self, text: str) -> None:
        """Print a warning to standard error."""
        print_notice(text)

    def set_title(self, title: str) -> None:
        """Ignore a title: a pipe has no input line."""

    def set_hint(self, hint: str) -> None:
        """Ignore a hint: a pipe has no input line."""

    def set_waiting(self, rows: Sequence[str]) -> None:
        """Ignore rows: a pipe shows only what is stored."""

    def call(self, *, is_mention: bool) -> None:
        """Ignore an arrival."""

    async def lines(self) -> AsyncIterator[str]:
        """Iterate over the lines of standard input."""
        async for _, line in read_lines(MAX_LINE_BYTES):
            yield line

"""How messages look in a terminal: day lines, times, aligned names and wrapped text. No I/O.

Each message begins with its time and its sender. Its text is wrapped by words beside the names, and its number follows.
Text of other people never reaches the columns on the left, so that no message can imitate another one.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, assert_never

from chatkit.cli.chat.mentions import split_mentions
from chatkit.cli.chat.people import People
from chatkit.cli.chat.recent_messages import RecentMessages
from chatkit.cli.chat.style import DIM, REVERSE, Style
from chatkit.cli.chat.styled_text import StyledText
from chatkit.cli.chat.wrapping import cells_of, shorten
from chatkit.cli.hook_text import shown_data, shown_text
from chatkit.cli.marks import Marks, sender_of
from chatkit.cli.sanitize import one_line, visible
from chatkit.cli.times import local_time
from chatkit.core.message_state import Act
from chatkit.core.model import Message

MAX_NAME_CELLS: Final = 16  # of the column of names; a longer name has a row of its own
MIN_NAME_CELLS: Final = 6
NARROW_CELLS: Final = 32  # in a terminal with fewer columns, every name has a row of its own
NARROW_INDENT: Final = 2
MIN_TEXT_CELLS: Final = 10  # in a terminal that is too narrow, rows reach over its edge
TIME_CELLS: Final = 6  # with the space behind it
TAB: Final = "    "
ACTION: Final = "/me "  # begins the body of a message that says what its sender does


class Symbols(NamedTuple):
    """Characters of the layout."""

    rule: str
    reply: str
    ellipsis: str


UNICODE: Final = Symbols("──", "↳", "…")
ASCII: Final = Symbols("--", "re", "~")


class Transcript:
    """The messages of one room as rows of text. Mentions of this person are emphasized."""

    def __init__(self, people: People, style: Style, marks: Marks, symbols: Symbols, recent: RecentMessages) -> None:
        self._people = people
        self._style = style
        self._marks = marks
        self._symbols = symbols
        self._recent = recent
        self._day = ""  # of the last message
        self._label_cells: set[int] = set()  # widths that senders have had; at most 16

    def message(self, message: Message, width: int) -> str:
        """Return the rows of a message or a change in a terminal of `width` columns, after a day line if one is due."""
        rows = [*self._day_line(message, width), *self._rows(message, width)]
        return "\n".join(rows)

    def listing(self, messages: Iterable[Message], width: int) -> str:
        """Return the rows of earlier messages, which begin with a day line."""
        before, self._day = self._day, ""
        rows = "\n".join(self.message(message, width) for message in messages)
        if self._day != before:
            self._day = ""  # the next message begins with a day line again
        return rows

    def waiting(self, text: str, width: int, *, has_name: bool = True) -> str:
        """Return one row, without renditions, of a message of this person that is not stored yet."""
        label, indent = self._label(f"{one_line(self._people.name)}:", width)
        label = label if has_name else " " * cells_of(label)
        begin = f"{' ' * TIME_CELLS}{label}"
        if cells_of(begin) > indent:
            begin = f"{shorten(begin, indent - 1, self._symbols.ellipsis)} "
        return begin + shorten(one_line(text), max(MIN_TEXT_CELLS, width - 1 - indent), self._symbols.ellipsis)

    def _day_line(self, message: Message, width: int) -> Iterator[str]:
        when, rule = local_time(message.time_ms), self._symbols.rule
        day = f"{when:%Y-%m-%d}"
        if day != self._day:
            self._day = day
            line = f"{rule} {when:%A}, {when.day} {when:%B %Y} {rule}"
            yield self._style.dim(line if len(line) < width else f"{rule} {day} {rule}")

    def _rows(self, message: Message, width: int) -> list[str]:
        label, label_cells, indent = self._sender(message, width)
        text_width = max(MIN_TEXT_CELLS, width - 1 - indent)
        rows = [row for line in self._lines(message, text_width) for row in line.rows(text_width, self._style)]
        gutter = f"{self._style.dim(f'{local_time(message.time_ms):%H:%M}')} {label}"
        if TIME_CELLS + label_cells > indent:
            return [gutter.rstrip(), *(" " * indent + row for row in rows)]
        return [gutter + rows[0], *(" " * indent + row for row in rows[1:])]

    def _sender(self, message: Message, width: int) -> tuple[str, int, int]:
        """Return the label of the sender with its width, and the column at which the text begins.

        What a sender does has an asterisk as the label, and the name in the text.
        """
        if message.act is not None or _is_action(message):
            label, indent = self._label("*", width)
            return self._style.dim(label), cells_of(label), indent
        name, marks = sender_of(message, self._marks)
        label, indent = self._label(f"{name}{marks}:", width)
        spaces = " " * (len(label) - len(label.lstrip(" ")))
        painted = self._style.paint(name, self._style.colour_of(message.sender))
        return f"{spaces}{painted}{marks}: ", cells_of(label), indent

    def _label(self, label: str, width: int) -> tuple[str, int]:
        """Return the label, right-aligned with a space behind it, and the column at which the text begins."""
        if width < NARROW_CELLS:
            return f"{label} ", NARROW_INDENT
        limit = max(MIN_NAME_CELLS, min(MAX_NAME_CELLS, width // 5))
        cells = cells_of(label)
        if cells <= MAX_NAME_CELLS:
            self._label_cells.add(cells)
        column = max(min(MAX_NAME_CELLS, width // 10), *(each for each in self._label_cells if each <= limit), 0)
        return f"{' ' * (column - cells)}{label} ", TIME_CELLS + column + 1

    def _lines(self, message: Message, width: int) -> list[StyledText]:
        """Return the lines of the text: what it refers to, the body, the data, and the number at the end."""
        match message.act:
            case None:
                lines = [*self._quotation(message, width), *self._body(message)]
                lines[-1].add(f"  #{message.seq}", DIM)
                return lines
            case Act.EDIT:
                return self._edit(message)
            case Act.REACT | Act.UNREACT | Act.PIN | Act.UNPIN | Act.REDACT:
                return [StyledText(self._change(message, message.act, width), DIM)]
            case _:
                assert_never(message.act)

    def _quotation(self, message: Message, width: int) -> Iterator[StyledText]:
        if message.of is not None:
            yield StyledText(f"{self._symbols.reply} {self._excerpt(message.of, width - 3)}", DIM)

    def _excerpt(self, seq: int, width: int) -> str:
        """Return the sender and the first words of a message, or its number if it is not known."""
        target = self._recent.get(seq)
        if target is None:
            return f"#{seq}"
        body = "(redacted)" if target.redacted else one_line(target.body)
        name = sender_of(target, self._marks)[0]
        return shorten(f"{name}: {body}", max(MIN_TEXT_CELLS, width), self._symbols.ellipsis)

    def _body(self, message: Message) -> list[StyledText]:
        if message.redacted:
            return [StyledText("(redacted)", DIM)]
        body = visible(shown_text(message)).expandtabs(len(TAB))
        lines = [StyledText()]
        if _is_action(message):
            lines[0].add(f"{''.join(sender_of(message, self._marks))} ", self._style.colour_of(message.sender))
            body = body.removeprefix(ACTION)
        self._add_body(lines, body, message)
        if (data := shown_data(message)) is not None:
            lines.append(StyledText(data, DIM))
        return lines

    def _add_body(self, lines: list[StyledText], body: str, message: Message) -> None:
        """Append a body to the last line, with its mentions coloured."""
        for number, line in enumerate(body.split("\n")):
            if number:
                lines.append(StyledText())
            for part, name in split_mentions(line, [one_line(each) for each in message.mentions]):
                is_own = name.casefold() == self._people.name.casefold()
                lines[-1].add(part, "" if not name else REVERSE if is_own else self._style.colour_of(name))

    def _edit(self, message: Message) -> list[StyledText]:
        lines = [StyledText()]
        lines[0].add("".join(sender_of(message, self._marks)), self._style.colour_of(message.sender))
        lines[0].add(f" edited #{message.of}: ", DIM)
        if message.redacted:
            lines[0].add("(redacted)", DIM)
        else:
            self._add_body(lines, visible(message.body).expandtabs(len(TAB)), message)
        return lines

    def _change(self, message: Message, act: Act, width: int) -> str:
        name = "".join(sender_of(message, self._marks))
        target = message.of or 0
        what = one_line(message.body)
        match act:
            case Act.REACT:
                text = f"{what} {', '.join(self._names_of(target, message)) or name} on #{target}"
            case Act.UNREACT:
                return f"{name} took {what} back from #{target}"
            case Act.PIN:
                text = f"{name} pinned #{target}"
            case Act.UNPIN:
                text = f"{name} unpinned #{target}"
            case _:
                return f"{name} redacted #{target}"
        left = width - cells_of(text) - 2
        known = self._recent.get(target)
        has_excerpt = known is not None and not known.redacted and left > MIN_TEXT_CELLS + 2
        return f"{text} ({self._excerpt(target, left - 2)})" if has_excerpt else text

    def _names_of(self, seq: int, reaction: Message) -> list[str]:
        """Return the names that have reacted with the same emoji, as far as the message is known."""
        target = self._recent.get(seq)
        reactions = () if target is None or target.state is None else target.state.reactions
        names = next((each.by for each in reactions if each.emoji == reaction.body), ())
        return [one_line(name) for name in names]


def _is_action(message: Message) -> bool:
    return message.act is None and not message.redacted and message.body.startswith(ACTION)

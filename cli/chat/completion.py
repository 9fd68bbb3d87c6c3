"""What Tab completes in the input line: names, commands, numbers of messages, and emoji. No I/O."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from chatkit.cli.chat.commands import COMMANDS, CommandName
from chatkit.cli.chat.people import People
from chatkit.cli.chat.recent_messages import RecentMessages
from chatkit.core.text import fold

EMOJI: Final = ("👍", "❤️", "😂", "🎉", "👀", "✅")
MAX_CANDIDATES: Final = 50  # more presses of Tab than anybody makes


class Completions(NamedTuple):
    """The texts that may stand between the index `start` and the cursor, the likeliest first."""

    start: int
    texts: tuple[str, ...]


class Completer:
    """Completes the input line of one chat."""

    def __init__(self, people: People, recent: RecentMessages) -> None:
        self._people = people
        self._recent = recent

    def complete(self, text: str) -> Completions:
        """Return the completions of the text before the cursor."""
        if text.startswith("/") and not text.startswith("//"):
            command, space, rest = text[1:].partition(" ")
            if not space:
                return _completions(0, text, (f"/{name} " for name in COMMANDS))
            if (arguments := self._arguments(command, rest)) is not None:
                start = len(text) - len(rest.rpartition(" ")[2])
                return _completions(start, text[start:], arguments)
        return self._names(text)

    def _arguments(self, command: str, rest: str) -> Iterator[str] | None:
        """Return the candidates for the last word of a command's arguments, or None if it is free text."""
        usage = next((usage for name, usage in COMMANDS.items() if name == command), None)
        if usage is None or not usage.number:
            return None
        if " " not in rest:
            return (f"{number} " for number in self._numbers(command))
        return iter(EMOJI) if usage.text == "EMOJI" and rest.count(" ") == 1 else None

    def _numbers(self, command: str) -> Iterator[int]:
        is_for_own = command in (CommandName.EDIT, CommandName.REDACT)
        return (each.seq for each in self._recent.newest_first() if (each.sender == self._people.name) is is_for_own)

    def _names(self, text: str) -> Completions:
        """Complete a name after the last `@`, or at the start of the line also without one."""
        at = text.rfind("@")
        if at >= 0 and not text[at - 1 : at].isalnum():
            return _completions(at, text[at:], (f"@{name} " for name in self._people.names()))
        if text and " " not in text:
            return _completions(0, f"@{text}", (f"@{name} " for name in self._people.names()))
        return Completions(0, ())


def _completions(start: int, begin: str, candidates: Iterable[str]) -> Completions:
    """Return the candidates with this beginning, in upper or lower case."""
    begin = fold(begin)
    found = []
    for candidate in candidates:
        if fold(candidate).startswith(begin):
            found.append(candidate)
        if len(found) == MAX_CANDIDATES:
            break
    return Completions(start, tuple(found))

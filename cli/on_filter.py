"""MessageFilter: for which messages `chatkit on` runs its command. And patterns of rooms."""

import re
from typing import Final, Self

import msgspec

from chatkit.cli.output import print_notice
from chatkit.cli.timed_search import found_in_time
from chatkit.core.consumer import FAILED_SUFFIX
from chatkit.core.mentions import find_mentions
from chatkit.core.model import Message, check_room, check_sender
from chatkit.core.text import normalize
from chatkit.errors import BadRequest

ANY: Final = "*"  # at the end of a pattern


class MessageFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Conditions on messages; None is no condition. Messages of `own_name` never match."""

    mention: str | None = None
    match: re.Pattern[str] | None = None
    sender: str | None = None
    own_name: str | None = None

    @classmethod
    def parse(cls, mention: str | None, match: str | None, sender: str | None) -> Self:
        """Make a filter from the options of a command. Raise `BadName` or `BadRequest`."""
        try:
            pattern = None if match is None else re.compile(normalize(match))
        except re.error as error:
            raise BadRequest(f"--match is not a regular expression: {error}") from error
        return cls(
            mention=None if mention is None else check_sender(mention.removeprefix("@")),
            match=pattern,
            sender=None if sender is None else check_sender(sender),
        )

    def matches(self, message: Message) -> bool:
        """Return whether a message meets all conditions."""
        return (
            message.sender != self.own_name
            and self.sender in {None, message.sender}
            and (self.mention is None or self._mentions(message, self.mention))
            and (self.match is None or self._contains(message, self.match))
        )

    def _contains(self, message: Message, pattern: re.Pattern[str]) -> bool:
        """Return whether a message contains a pattern. One that takes too long to search does not, which is printed."""
        is_found = found_in_time(pattern, normalize(message.body))
        if is_found is None:
            print_notice(f"{message.room} #{message.seq} of {message.sender} is left out: --match took too long")
        return bool(is_found)

    def _mentions(self, message: Message, name: str) -> bool:
        """Return whether a message mentions a name, also if the server did not know the name then."""
        key = name.casefold()

        def known_name(text: str) -> str | None:
            return name if text.casefold() == key else None

        return name in message.mentions or ("@" in message.body and bool(find_mentions(message.body, known_name)))


class RoomPatterns:
    """Names of rooms and beginnings of names, such as `ops` and `ops*`. Raise `BadName`."""

    def __init__(self, texts: list[str]) -> None:
        plain = [text.removeprefix("#") for text in texts]
        self.names = list(dict.fromkeys(check_room(text) for text in plain if not text.endswith(ANY)))
        self._beginnings = tuple(_beginning(text) for text in plain if text.endswith(ANY))

    @property
    def has_patterns(self) -> bool:
        """Whether there are beginnings of names."""
        return bool(self._beginnings)

    def matches(self, room: str) -> bool:
        """Return whether a room's name has one of the beginnings. A room of failures has to be named itself."""
        return room.startswith(self._beginnings) and not room.endswith(FAILED_SUFFIX) and room not in self.names


def _beginning(text: str) -> str:
    beginning = text.removesuffix(ANY)
    return check_room(beginning) if beginning else ""

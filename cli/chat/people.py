"""The people of a chat: who is present, who has written, and who is typing. No I/O; the clock is an argument."""

from collections.abc import Iterable, Iterator
from typing import Final

TYPING_S: Final = 5.0  # after the last notification; clients send one every 3 seconds
MAX_SPEAKERS: Final = 200  # names that are remembered for completion, as many as a server lists as present
MAX_TYPING: Final = 20  # names that are kept; at most two are shown


class People:
    """The names of one room."""

    def __init__(self, name: str) -> None:
        self.name = name  # of this person
        self.present: set[str] = set()  # at most 200, as the server lists; changes in larger rooms have no names
        self._speakers: dict[str, None] = {}  # who has written, the last one at the end
        self._typing: dict[str, float] = {}  # until when

    def spoke(self, name: str) -> None:
        """Record that a message of this name was shown."""
        self._typing.pop(name, None)
        self._speakers.pop(name, None)
        self._speakers[name] = None
        if len(self._speakers) > MAX_SPEAKERS:
            del self._speakers[next(iter(self._speakers))]

    def names(self) -> Iterator[str]:
        """Iterate over the names of the others: who has written last comes first, then who is present, sorted."""
        known = dict.fromkeys([*reversed(self._speakers), *sorted(self.present, key=str.casefold)])
        return (name for name in known if name != self.name)

    def typed(self, name: str, now: float) -> None:
        """Record that somebody is typing."""
        typing = self.typing(now)
        if name != self.name and (name in typing or len(typing) < MAX_TYPING):
            self._typing[name] = now + TYPING_S

    def left(self, names: Iterable[str]) -> None:
        """Record that these names are not present any more."""
        self.present.difference_update(names)
        for name in names:
            self._typing.pop(name, None)

    def typing(self, now: float) -> list[str]:
        """Return the names of those who are typing."""
        self._typing = {name: until for name, until in self._typing.items() if until > now}
        return list(self._typing)

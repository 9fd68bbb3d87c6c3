"""What is asked of a store when it is read, and what it answers; see `Backend`."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Self

import msgspec

from chatkit.core.model import Head, Message
from chatkit.core.text import fold
from chatkit.errors import BadCursor

MAX_DIGITS: Final = 18  # of a number in a position: they fit in a store's 64 bits

# One search is compared with many messages. Four are enough: a process rarely runs more searches at the same time.
_fold_search = lru_cache(maxsize=4)(fold)


class Filter(msgspec.Struct, frozen=True):
    """Conditions on the messages of a room. A message matches if it meets every condition that is not None.

    `search` is text that the body contains, regardless of case and of composed or decomposed letters (`text.fold`).
    Times are Unix milliseconds: `since_ms` is inclusive, `until_ms` exclusive. A redacted message matches no `search`,
    not even an empty one. `of` chooses the messages that refer to that number. `pinned` chooses those that are pinned
    now, in a read that is `folded`. `above` chooses the messages with a higher number: a read MUST examine no others.
    """

    search: str | None = None
    sender: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    of: int | None = None
    pinned: bool = False
    above: int | None = None

    @property
    def is_search(self) -> bool:
        """Whether messages have to be examined one by one: `of` and `pinned` are found by an index."""
        return not (self.search is None and self.sender is None and self.since_ms is None and self.until_ms is None)

    def matches(self, message: Message) -> bool:
        """Return whether the message meets all conditions.

        In a read that is `folded`, it is asked with the message as it is returned, and so finds the newest text. A
        backend that filters in another way, such as in SQL, MUST choose the same messages.
        """
        return (
            (self.search is None or (not message.redacted and _fold_search(self.search) in fold(message.body)))
            and (self.sender is None or message.sender == self.sender)
            and (self.since_ms is None or message.time_ms >= self.since_ms)
            and (self.until_ms is None or message.time_ms < self.until_ms)
            and (self.of is None or message.of == self.of)
            and (not self.pinned or (message.state is not None and message.state.is_pinned))
            and (self.above is None or message.seq > self.above)
        )


class Page(msgspec.Struct, frozen=True):
    """Some messages of a room in `seq` order, and the head of its log when they were read.

    `complete` is true if no further message matches in the direction of the read.
    """

    head: Head
    messages: Sequence[Message]
    complete: bool


class RoomInfo(msgspec.Struct, frozen=True, gc=False):  # a list has 100,000; a collection would walk them all
    """An entry of the list of rooms. `time_ms` is the time of the room's newest message."""

    room: str
    head: Head
    time_ms: int


class MentionPosition(msgspec.Struct, frozen=True, order=True):
    """A position among messages of several rooms, by their times, rooms and numbers. Opaque to clients."""

    time_ms: int
    room: str
    seq: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the result of `str(position)`. Raise `BadCursor` for anything else."""
        time_ms, _, rest = text.partition(":")
        seq, _, room = rest.partition(":")
        if (
            not all(len(part) <= MAX_DIGITS and part.isascii() and part.isdigit() for part in (time_ms, seq))
            or not room
        ):
            raise BadCursor(text)
        return cls(int(time_ms), room, int(seq))

    def __str__(self) -> str:
        return f"{self.time_ms}:{self.seq}:{self.room}"


class RoomUnread(msgspec.Struct, frozen=True):
    """What a name has not read in a room after `marker`, the number up to which it has read; see `count_unread`.

    `last` is the number of the room's newest message.
    """

    room: str
    marker: int
    last: int
    n_unread: int
    n_mentions: int

"""What is asked of a store when it is read, and what it answers; see `Backend`."""

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from chatkit.core.model import Head, Message
from chatkit.core.text import fold

# One search is compared with many messages. Four are enough: a process rarely runs more searches at the same time.
_fold_search = lru_cache(maxsize=4)(fold)


class Filter(msgspec.Struct, frozen=True):
    """Conditions on the messages of a room. A message matches if it meets every condition that is not None.

    `search` is text that the body contains, regardless of case and of composed or decomposed letters (`text.fold`).
    Times are Unix milliseconds: `since_ms` is inclusive, `until_ms` exclusive. A redacted message matches no `search`,
    not even an empty one. `of` chooses the messages that refer to that number. `pinned` chooses those that are pinned
    now, in a read that is `folded`.
    """

    search: str | None = None
    sender: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    of: int | None = None
    pinned: bool = False

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
        )


class Page(msgspec.Struct, frozen=True):
    """Some messages of a room in `seq` order, and the head of its log when they were read.

    `complete` is true if no further message matches in the direction of the read.
    """

    head: Head
    messages: Sequence[Message]
    complete: bool


class RoomInfo(msgspec.Struct, frozen=True):
    """An entry of the list of rooms. `time_ms` is the time of the room's newest message."""

    room: str
    head: Head
    time_ms: int


class MentionPosition(msgspec.Struct, frozen=True, order=True):
    """A position in the mentions of a name, which are in the order of their times, rooms and numbers."""

    time_ms: int
    room: str
    seq: int


class RoomUnread(msgspec.Struct, frozen=True):
    """What a name has not read in a room after `marker`, the number up to which it has read; see `count_unread`.

    `last` is the number of the room's newest message.
    """

    room: str
    marker: int
    last: int
    n_unread: int
    n_mentions: int

"""The newest messages of a room as far as they were shown: what replies, changes and completion refer to. No I/O."""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from chatkit.core.message_state import Act
from chatkit.core.model import Message
from chatkit.core.relations import Relations

MAX_MESSAGES: Final = 1_000  # more than a person scrolls back
MAX_CHARS: Final = 200  # kept of a body: more than one row of a wide terminal


class RecentMessages:
    """At most 1,000 messages of one log, each with what later ones said about it."""

    def __init__(self) -> None:
        self._epoch = ""
        self._messages: dict[int, Message] = {}  # the beginnings of their bodies; in the order of their numbers
        self._relations: dict[int, Relations] = {}

    def add(self, entry: Message) -> None:
        """Add a message, or apply a change to the message that it refers to."""
        if entry.epoch != self._epoch:
            self._epoch = entry.epoch
            self._messages.clear()
            self._relations.clear()
        entry = replace(entry, body=entry.body[:MAX_CHARS], data=None)
        if entry.act is None:
            self._messages[entry.seq] = entry
            if len(self._messages) > MAX_MESSAGES:
                oldest = next(iter(self._messages))
                del self._messages[oldest]
                self._relations.pop(oldest, None)
        elif (target := self._messages.get(entry.of or 0)) is not None:
            self._apply(target, entry)

    def _apply(self, target: Message, change: Message) -> None:
        if change.act is Act.REDACT:
            self.redact(target.seq)
        elif not target.redacted and (change.act is not Act.EDIT or change.sender == target.sender):
            self._relations.setdefault(target.seq, Relations()).apply(change)

    def redact(self, seq: int) -> None:
        """Forget the body of a message."""
        if seq in self._messages:
            self._messages[seq] = self._messages[seq].tombstone()
            self._relations.pop(seq, None)

    def get(self, seq: int | None) -> Message | None:
        """Return a message in its current state, with the beginning of its body, or None if it is not known."""
        message = self._messages.get(seq or 0)
        relations = self._relations.get(seq or 0)
        return message if message is None or relations is None else relations.show(message)

    def newest_first(self) -> Iterator[Message]:
        """Iterate over the messages that are not redacted, newest first."""
        return (message for message in reversed(self._messages.values()) if not message.redacted)

    def last_of(self, sender: str) -> int | None:
        """Return the number of a sender's newest message, or None if it is not known."""
        return next((message.seq for message in self.newest_first() if message.sender == sender), None)

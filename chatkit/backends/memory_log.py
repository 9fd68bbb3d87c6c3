"""MemoryLog: the messages of one room in memory, with what refers to each of them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from chatkit.core.message_state import Act
from chatkit.core.model import Message
from chatkit.core.reading import Filter
from chatkit.core.relations import Relations


class MemoryLog:
    """One room: the messages that are kept, without holes, and their keys by sender.

    The number of the first new message is `last + 1`.
    """

    __slots__ = ("_mentions", "_relations", "home", "keys", "last", "messages", "time_ms")

    def __init__(self, last: int = 0) -> None:
        self.messages: list[Message] = []
        self.keys: dict[tuple[str, str], int] = {}
        self.last = last
        self.time_ms = 0
        self.home = ""  # the first name of a log that was renamed
        self._relations: dict[int, Relations] = {}  # by the number of the message that others refer to
        self._mentions: defaultdict[str, set[int]] = defaultdict(set)  # the messages that mention a name now

    @property
    def first(self) -> int:
        """The number of the oldest message that is kept; `last + 1` if none is."""
        return self.last - len(self.messages) + 1

    def get(self, seq: int) -> Message | None:
        """Return a message as it was written, if it is kept."""
        return self.messages[seq - self.first] if self.first <= seq <= self.last else None

    def between(self, after: int, before: int) -> list[Message]:
        """Return the messages between two numbers, both exclusive."""
        return self.messages[max(after + 1 - self.first, 0) : max(before - self.first, 0)]

    def fold(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Iterate over the messages among some of this log, without the changes, each in its current state."""
        return (self.show(message) for message in messages if message.act is None)

    def show(self, message: Message) -> Message:
        """Return a message of this log in its current state."""
        relations = self._relations.get(message.seq)
        return message if relations is None else relations.show(message)

    def recheck(self, messages: Iterable[Message], where: Filter, *, folded: bool) -> list[Message]:
        """Return the current state of messages that a search found, without those that no longer match.

        A search yields to the event loop, so that messages may be changed or trimmed before it ends.
        """
        kept = [self.messages[message.seq - self.first] for message in messages if message.seq >= self.first]
        return [message for message in (self.fold(kept) if folded else kept) if where.matches(message)]

    def add(self, message: Message) -> None:
        """Append a message."""
        self.messages.append(message)
        self.last, self.time_ms = message.seq, message.time_ms
        if message.key is not None:
            self.keys[message.sender, message.key] = message.seq
        if message.of is not None:
            self._relate(message, message.of)
        if message.mentions and message.act is None:
            self._mention(message)

    def _relate(self, entry: Message, of: int) -> None:
        target = self.get(of)
        if target is None or target.act is not None or (entry.act is not None and target.redacted):
            return
        if entry.act is Act.REDACT or (entry.act is Act.EDIT and entry.sender != target.sender):
            return
        relations = self._relations.setdefault(of, Relations())
        self._forget(relations.show(target))
        relations.apply(entry)
        self._mention(relations.show(target))

    def _mention(self, message: Message) -> None:
        for name in message.mentions:
            self._mentions[name].add(message.seq)

    def _forget(self, message: Message) -> None:
        for name in message.mentions:
            self._mentions[name].discard(message.seq)
            if not self._mentions[name]:
                del self._mentions[name]

    def redact(self, seq: int) -> list[int]:
        """Remove the body of a kept message, and those of its edits; return the numbers of those that had one."""
        message = self.messages[seq - self.first]
        if message.redacted:
            return []
        if message.act is Act.EDIT:
            self._clear(seq)
            self._show_edit_before(message)
            return [seq]
        self._forget(self.show(message))
        if seq in self._relations:
            self._relations[seq].redact()
        numbers = [seq, *(edit.seq for edit in self._edits(message))]
        for number in numbers:
            self._clear(number)
        return numbers

    def _clear(self, seq: int) -> None:
        index = seq - self.first
        self.messages[index] = self.messages[index].tombstone()

    def _edits(self, message: Message) -> Iterator[Message]:
        later = self.between(message.seq, self.last + 1)
        return (entry for entry in later if entry.act is Act.EDIT and entry.of == message.seq)

    def _show_edit_before(self, redacted: Message) -> None:
        target, relations = self.get(redacted.of or 0), self._relations.get(redacted.of or 0)
        if target is None or relations is None or target.redacted:
            return
        self._forget(relations.show(target))
        edits = (edit for edit in self._edits(target) if not edit.redacted and edit.sender == target.sender)
        relations.show_edit(max(edits, key=lambda edit: edit.seq, default=None))
        self._mention(relations.show(target))

    def has_reaction(self, seq: int, emoji: str, sender: str) -> bool:
        """Return whether a sender has put an emoji to a message."""
        relations = self._relations.get(seq)
        return relations is not None and relations.has_reaction(emoji, sender)

    def mentions_of(self, name: str) -> Iterator[Message]:
        """Iterate over the messages that mention a name, in any order, each in its current state."""
        return (self.show(self.messages[seq - self.first]) for seq in self._mentions.get(name, ()))

    def drop(self, count: int) -> int:
        """Drop the `count` oldest messages; return how many were dropped."""
        dropped = self.messages[: max(count, 0)]
        for message in dropped:
            if message.mentions or message.seq in self._relations:
                self._forget(self.show(message))
                self._relations.pop(message.seq, None)
            if message.key is not None:
                del self.keys[message.sender, message.key]
        del self.messages[: len(dropped)]
        return len(dropped)

    def rename(self, room: str, epoch: str) -> None:
        """Give the log another name, and the epoch that it has there."""
        self.messages[:] = [replace(message, room=room, epoch=epoch) for message in self.messages]

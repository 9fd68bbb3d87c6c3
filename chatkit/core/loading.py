"""The rules for messages that are loaded from another store. Synchronous and without I/O; see `Backend.load`."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from chatkit.core.model import MAX_SEQ, Head, Message
from chatkit.errors import BadRequest, KeyConflict


def check_load(messages: Sequence[Message]) -> None:
    """Raise `BadRequest` unless the messages are of one room, numbered upwards from at least 1 without holes."""
    for expected, message in enumerate(messages, messages[0].seq if messages else 1):
        if message.seq != expected or not 1 <= message.seq <= MAX_SEQ:
            raise BadRequest(f"message {message.seq} of {message.room!r} does not follow message {expected - 1}")
        if message.room != messages[0].room:
            raise BadRequest("the messages of one load are of one room")


def choose_new(messages: Sequence[Message], head: Head) -> Sequence[Message]:
    """Return the messages after the end of the log. Raise `BadRequest` if there would be a hole before them.

    The messages have passed `check_load`. A log that holds no message may begin with any of them.
    """
    if not messages or messages[-1].seq <= head.last:
        return ()
    new = messages[max(head.last + 1 - messages[0].seq, 0) :]
    is_empty = head.first > head.last
    if new[0].seq != head.last + 1 and not is_empty:
        raise BadRequest(f"the room {new[0].room!r} ends with message {head.last}: {new[0].seq} does not follow it")
    return new


def check_keys(messages: Sequence[Message], used: AbstractSet[tuple[str, str]]) -> None:
    """Raise `KeyConflict` if a sender has two messages with one key. `used` are senders and keys of stored messages."""
    seen = set(used)
    for message in messages:
        if message.key is not None:
            if (message.sender, message.key) in seen:
                raise KeyConflict(message.key)
            seen.add((message.sender, message.key))

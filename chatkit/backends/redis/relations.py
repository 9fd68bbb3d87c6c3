"""What refers to messages: the members of a room's `refs`, and the states that a script reads from them.

lua/relations.lua describes the members. Synchronous and without I/O.
"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from chatkit.backends.redis.codec import decode_entry
from chatkit.core.message_state import NO_STATE, Edit, MessageState, Reaction
from chatkit.core.model import Message

# The sources of a page: see lua/read.lua.
AS_STORED: Final = b""
ALL_MESSAGES: Final = b"*"
PINNED: Final = b"p"
CHOSEN: Final = b"="


def encode_number(number: int) -> bytes:
    """Encode a number so that the order of the bytes is that of the numbers."""
    digits = str(number)
    return f"{chr(64 + len(digits))}{digits}".encode()


def decode_number(member: bytes, at: int) -> tuple[int, int]:
    """Decode a number in a member; return it, and the index after it."""
    stop = at + member[at] - 63
    return int(member[at + 1 : stop]), stop


def replies_to(of: int) -> bytes:
    """Return the source of the replies to a message."""
    return encode_number(max(of, 0)) + b"r"


def reaction_member(of: int, emoji: str, sender: str) -> bytes:
    """Return the member that exists while a sender has put an emoji to a message."""
    return b"%sx%s\0%s" % (encode_number(of), emoji.encode(), sender.encode())


def show_states(messages: list[Message], states: Sequence[Any]) -> list[Message]:
    """Return messages in the states that a script has read, those of some of them."""
    if not states:
        return messages
    by_seq = {state[0]: state for state in states}
    return [_show(message, by_seq[message.seq]) if message.seq in by_seq else message for message in messages]


def _show(message: Message, found: list[Any]) -> Message:
    """Return a message in its current state, as `Relations.show` does."""
    _, n_replies, is_pinned, edit_seq, time_ms, text, emojis = found
    reactions = tuple(
        Reaction(emoji.decode(), count, tuple(name.decode() for name in names))
        for _, emoji, count, *names in sorted(emojis)
    )
    edited = Edit(edit_seq, int(time_ms)) if edit_seq else None
    state = MessageState(edited, reactions, n_replies, bool(is_pinned))
    if state == NO_STATE:
        return message
    if edited is None:
        return replace(message, state=state)
    edit = decode_entry(message.room, message.epoch, edit_seq, [time_ms, text])
    return replace(message, body=edit.body, mentions=edit.mentions, state=state)

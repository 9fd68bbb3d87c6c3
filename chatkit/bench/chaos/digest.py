"""The digest of a message, which tells whether two clients in any processes received the same."""

from hashlib import blake2b

import msgspec

from chatkit.core.model import Message


def digest_of(message: Message) -> int:
    """Return a digest of the fields of a message that never change, as a signed number of 64 bits; never 0."""
    fields = (
        message.room,
        message.epoch,
        message.seq,
        message.time_ms,
        message.sender,
        message.body,
        message.key,
        message.data,
    )
    digest = blake2b(msgspec.json.encode(fields), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True) or 1

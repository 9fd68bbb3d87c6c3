"""The largest size of a page of history: a bound on bytes in addition to the bound on messages.

It limits the memory that a client can occupy by asking for large pages and reading them slowly.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import msgspec

from chatkit.core.model import Message

MAX_PAGE_BYTES: Final = 1 << 20  # some thousand messages that people wrote, or 16 of the largest bodies


def size_of(message: Message) -> int:
    """Return the size of a message's body and data in bytes of UTF-8."""
    n_bytes = len(message.body if message.body.isascii() else message.body.encode())
    return n_bytes if message.data is None else n_bytes + len(msgspec.json.encode(message.data))


def cut_page(messages: Sequence[Message], *, is_forward: bool) -> Sequence[Message]:
    """Return as many messages as a page may hold, at least one, from the end from which the read started."""
    if not messages:
        return messages
    in_order = messages if is_forward else messages[::-1]
    n_kept = max(1, sum(1 for n_bytes in accumulate(map(size_of, in_order)) if n_bytes <= MAX_PAGE_BYTES))
    return messages[:n_kept] if is_forward else messages[-n_kept:]

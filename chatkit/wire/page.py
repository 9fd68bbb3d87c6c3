"""A page of history as it is sent: each message encoded, and together no more bytes than a page may have.

JSON writes some characters as six: what is sent may be several times what the store holds.
"""

import asyncio
from typing import Final

import msgspec

from chatkit.core.history import HistoryPage
from chatkit.core.model import Cursor
from chatkit.core.page_size import MAX_PAGE_BYTES
from chatkit.wire.protocol import message_json

SLICE_BYTES: Final = 1 << 16  # encoded in one turn of the event loop


class EncodedPage(msgspec.Struct, frozen=True):
    """The messages of a page as JSON, in order, and where to read on."""

    messages: list[msgspec.Raw]
    cursor: Cursor
    complete: bool


async def encode_page(past: HistoryPage, *, is_forward: bool) -> EncodedPage:
    """Encode a page from the end at which reading began, until it has as many bytes as may be sent."""
    messages = past.messages if is_forward else past.messages[::-1]
    encoded: list[msgspec.Raw] = []
    n_bytes = n_in_slice = 0
    for message in messages:
        text = message_json(message)
        n_bytes += len(text)
        if encoded and n_bytes > MAX_PAGE_BYTES:
            break
        encoded.append(msgspec.Raw(text))
        n_in_slice += len(text)
        if n_in_slice > SLICE_BYTES:
            n_in_slice = 0
            await asyncio.sleep(0)
    if len(encoded) == len(messages):
        cursor, complete = past.cursor, past.complete
    else:
        cursor, complete = messages[len(encoded) - 1].cursor if is_forward else past.cursor, False
    return EncodedPage(encoded if is_forward else encoded[::-1], cursor, complete)

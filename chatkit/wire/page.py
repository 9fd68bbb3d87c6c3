"""A page of history as it is sent: its messages encoded, and together no more bytes than a page may have.

JSON writes some characters as six, so the encoded page may be several times as large as the stored one.
"""

import asyncio
from typing import Final, cast

import msgspec

from chatkit.core.history import HistoryPage
from chatkit.core.model import Cursor
from chatkit.core.page_size import MAX_PAGE_BYTES
from chatkit.wire.http import MessagePage
from chatkit.wire.protocol import WireGap, WireMessage, encode, message_json

SLICE_BYTES: Final = 1 << 16  # encoded in one turn of the event loop


class EncodedPage(msgspec.Struct, frozen=True):
    """The messages of a page as JSON, in `seq` order, and the cursor after them; `reached` as in a `HistoryPage`."""

    messages: list[msgspec.Raw]
    cursor: Cursor
    complete: bool
    reached: int | None = None


async def encode_page(page: HistoryPage, *, is_forward: bool) -> EncodedPage:
    """Encode a page, from the end from which the read started, up to the largest size that is sent."""
    messages = page.messages if is_forward else page.messages[::-1]
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
        cursor, complete, reached = page.cursor, page.complete, page.reached
    else:
        cursor, complete, reached = messages[len(encoded) - 1].cursor if is_forward else page.cursor, False, None
    return EncodedPage(encoded if is_forward else encoded[::-1], cursor, complete, reached)


def page_json(history: HistoryPage, page: EncodedPage) -> bytes:
    """Return the body of a page as JSON."""
    head = history.head
    gap = None if history.gap is None else WireGap.of(history.gap)
    messages = cast("list[WireMessage]", page.messages)  # they are encoded already
    return encode(MessagePage(messages, str(page.cursor), head.first, head.last, page.complete, gap, page.reached))

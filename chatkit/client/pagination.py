"""Reading all of a room, page by page: memory holds one page, however long the room is."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

from chatkit.client.http import HistoryResult
from chatkit.client.signals import Item
from chatkit.core.model import Cursor

PAGE_MESSAGES = 500  # about 100 KB of ordinary messages, and few enough that the first come soon


ReadPage: TypeAlias = Callable[..., Awaitable[HistoryResult]]
"""What reads a page: a client's `history`, or a store's."""


async def scroll(read: ReadPage, room: str, *, after: int | str | Cursor, **which: Any) -> AsyncIterator[Item]:
    """Yield every message above `after`, in order, and a `Gap` where some are missing."""
    while True:
        page = await read(room, after=after, limit=PAGE_MESSAGES, **which)
        if page.gap is not None:
            yield page.gap
        for message in page.messages:
            yield message
        if page.complete or not page.messages:
            return
        # By cursor, not by number: a log that begins anew between two pages is noticed.
        after = page.messages[-1].cursor

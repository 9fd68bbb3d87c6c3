"""Read all messages of a room, page by page: memory holds one page, however long the room is."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

from chatkit.client.http import HistoryResult
from chatkit.client.signals import Item
from chatkit.core.model import Cursor
from chatkit.errors import Unavailable

PAGE_MESSAGES = 500  # about 100 KB of ordinary messages, and few enough that the first arrive soon
MAX_EPOCHS = 20  # that a log may have while it is read: more are a server that never ends


ReadPage: TypeAlias = Callable[..., Awaitable[HistoryResult]]
"""A function that reads a page: a client's `history`, or a store's."""


async def scroll(read: ReadPage, room: str, *, after: int | str | Cursor, **which: Any) -> AsyncIterator[Item]:
    """Iterate over every message behind `after`, in order, with a `Gap` where some are missing. Raise `Unavailable`."""
    epochs: set[str] = set()
    while True:
        page = await read(room, after=after, limit=PAGE_MESSAGES, **which)
        if page.gap is not None:
            yield page.gap
        for message in page.messages:
            yield message
        if page.complete or not (page.messages or page.reached):
            return
        # By cursor, not by number: a log that is created again between two pages is noticed.
        after = page.messages[-1].cursor if page.reached is None else Cursor(page.cursor.epoch, page.reached)
        epochs.add(after.epoch)
        if len(epochs) > MAX_EPOCHS:
            raise Unavailable(f"the room {room} is created again and again while it is read")

"""Read all messages of a room, page by page: memory holds one page, however long the room is."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from chatkit.client.http import HistoryResult
from chatkit.client.signals import Item
from chatkit.core.model import Cursor, Message
from chatkit.errors import Unavailable

PAGE_MESSAGES = 500  # about 100 KB of ordinary messages, and few enough that the first arrive soon
MAX_EMPTY_PAGES = 10_000  # in a row: more than an hour of searching, in which a server examines a billion messages
MAX_EPOCHS = 20  # that a log may have while it is read: more are a server that never ends


class PageProgress:
    """Counts the pages in a row that have no message: a search may need many, but a server may also never end."""

    def __init__(self) -> None:
        self._n_empty = 0

    def check(self, messages: Sequence[Message]) -> None:
        """Count a page. Raise `Unavailable` if too many in a row had no message."""
        self._n_empty = 0 if messages else self._n_empty + 1
        if self._n_empty > MAX_EMPTY_PAGES:
            raise Unavailable(f"the server sent {MAX_EMPTY_PAGES:,} pages without a message")


ReadPage: TypeAlias = Callable[..., Awaitable[HistoryResult]]
"""A function that reads a page: a client's `history`, or a store's."""


async def scroll(read: ReadPage, room: str, *, after: int | str | Cursor, **which: Any) -> AsyncIterator[Item]:
    """Iterate over every message behind `after`, in order, with a `Gap` where some are missing. Raise `Unavailable`."""
    epochs: set[str] = set()
    progress = PageProgress()
    while True:
        page = await read(room, after=after, limit=PAGE_MESSAGES, **which)
        progress.check(page.messages)
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

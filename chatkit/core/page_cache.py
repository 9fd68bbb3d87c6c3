"""Pages of rooms' past, for readers behind the recent tail: read from the store once, however many readers want them.

After a restart thousands of readers come back at once, each from a place of its own in the same few pages.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from chatkit.core.backend import Page
from chatkit.core.model import Head
from chatkit.core.segment import Segment

PAGE_MESSAGES = 256  # as many as go out in one chunk: a reader's first ends with its page, and the next are shared
MAX_PAGES = 64  # of all rooms together: readers far behind are rarely in many places at once
MAX_CHARS = 1 << 25  # of bodies in all pages

Read: TypeAlias = Callable[[int, int, int], Coroutine[Any, Any, Page]]
"""Read a room's messages after one number and before another, at most so many."""


class PageCache:
    """A bounded number of pages; those used least recently go first. A page is a feed that does not grow."""

    def __init__(self) -> None:
        self._pages: dict[tuple[str, int], Segment] = {}  # in the order of their last use
        self._locks: WeakValueDictionary[tuple[str, int], asyncio.Lock] = (
            WeakValueDictionary()
        )  # one reads, others wait
        self._n_chars = 0

    def find(self, room: str, epoch: str, after: int) -> Segment | None:
        """Return the page in which the message behind `after` is, if it is here."""
        key = room, after // PAGE_MESSAGES
        page = self._pages.get(key)
        if page is None or page.epoch != epoch or not page.first - 1 <= after < page.last:
            return None
        self._pages[key] = self._pages.pop(key)
        return page

    async def load(self, room: str, epoch: str, after: int, read: Read) -> Segment | None:
        """Return that page, read with `read` if need be; None if the log of that epoch has no such message."""
        key = room, after // PAGE_MESSAGES
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            page = self.find(room, epoch, after)
            if page is None:
                start = key[1] * PAGE_MESSAGES
                cut = self._pages.get(key)
                if cut is not None and cut.epoch == epoch and start < cut.last <= after:
                    start = after  # the page's beginning was as much as a read returns
                is_whole = await self._load_from(start, key, epoch, read)
                page = self.find(room, epoch, after)
                if page is None and not is_whole and start < after:
                    await self._load_from(after, key, epoch, read)
                    page = self.find(room, epoch, after)
        return page

    async def _load_from(self, start: int, key: tuple[str, int], epoch: str, read: Read) -> bool:
        """Keep what one read returns of a page from `start` on; return whether that is all."""
        stop = (key[1] + 1) * PAGE_MESSAGES
        found = await read(start, stop + 1, stop - start)
        if found.head.epoch == epoch and found.messages:
            self._keep(key, Segment(Head(epoch, found.head.first, found.messages[-1].seq), found.messages))
        return found.complete

    def redact(self, room: str, seq: int) -> None:
        """Take away a message's body, if it is here."""
        page = self._pages.get((room, (seq - 1) // PAGE_MESSAGES))
        if page is not None:
            page.redact(seq)

    def clear(self) -> None:
        """Forget everything: the store may have dropped what was read."""
        self._pages.clear()
        self._n_chars = 0

    def _keep(self, key: tuple[str, int], page: Segment) -> None:
        self._drop(key)
        self._pages[key] = page
        self._n_chars += page.n_chars
        while len(self._pages) > MAX_PAGES or (self._n_chars > MAX_CHARS and len(self._pages) > 1):
            self._drop(next(iter(self._pages)))

    def _drop(self, key: tuple[str, int]) -> None:
        page = self._pages.pop(key, None)
        if page is not None:
            self._n_chars -= page.n_chars

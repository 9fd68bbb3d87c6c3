"""PageCache: pages of history for readers behind a room's tail. A page is read from the store once for all readers.

After a restart, thousands of readers reconnect at once, with different positions in the same few pages.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from chatkit.core.backend import Page
from chatkit.core.model import Head
from chatkit.core.segment import Segment

PAGE_MESSAGES = 256  # one chunk: a reader's first chunk ends with its page, and the next chunks are shared
MAX_PAGES = 64  # of all rooms together: readers far behind rarely need many different pages at once
MAX_CHARS = 1 << 25  # of bodies in all pages

Read: TypeAlias = Callable[[int, int, int], Coroutine[Any, Any, Page]]
"""Reads a room's messages after a number, before a number, at most a number of them."""


class PageCache:
    """A bounded number of pages; the least recently used are dropped first. A page is a segment that does not grow."""

    def __init__(self) -> None:
        self._pages: dict[tuple[str, int], Segment] = {}  # in the order of their last use
        # Each is held while its page is read, so that readers of the same page wait instead of reading it again.
        self._locks: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()
        self._n_chars = 0

    def find(self, room: str, epoch: str, after: int) -> Segment | None:
        """Return the page that has the message after `after`, if it is cached."""
        key = room, after // PAGE_MESSAGES
        page = self._pages.get(key)
        if page is None or page.epoch != epoch or not page.first - 1 <= after < page.last:
            return None
        self._pages[key] = self._pages.pop(key)
        return page

    async def load(self, room: str, epoch: str, after: int, read: Read) -> Segment | None:
        """Return that page, read with `read` if necessary; None if the log of that epoch has no such message."""
        key = room, after // PAGE_MESSAGES
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            page = self.find(room, epoch, after)
            if page is None:
                start = key[1] * PAGE_MESSAGES
                cut = self._pages.get(key)
                if cut is not None and cut.epoch == epoch and start < cut.last <= after:
                    start = after  # one read returned only the beginning of this page
                is_whole = await self._load_from(start, key, epoch, read)
                page = self.find(room, epoch, after)
                if page is None and not is_whole and start < after:
                    await self._load_from(after, key, epoch, read)
                    page = self.find(room, epoch, after)
        return page

    async def _load_from(self, start: int, key: tuple[str, int], epoch: str, read: Read) -> bool:
        """Cache the part of a page that one read returns from `start` on; return whether it is complete."""
        stop = (key[1] + 1) * PAGE_MESSAGES
        found = await read(start, stop + 1, stop - start)
        if found.head.epoch == epoch and found.messages:
            self._keep(key, Segment(Head(epoch, found.head.first, found.messages[-1].seq), found.messages))
        return found.complete

    def redact(self, room: str, seq: int) -> None:
        """Remove a message's body from its page, if that is cached."""
        page = self._pages.get((room, (seq - 1) // PAGE_MESSAGES))
        if page is not None:
            page.redact(seq)

    def discard(self, room: str) -> None:
        """Drop the pages of a room: its log was deleted, or began again."""
        for key in [key for key in self._pages if key[0] == room]:
            self._drop(key)

    def clear(self) -> None:
        """Drop all pages: the store may have dropped their messages."""
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

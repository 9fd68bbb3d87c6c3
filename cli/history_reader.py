"""HistoryReader: reads the selected messages of a room, in their current state, as written, or as of a time."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from chatkit.cli.times import unix_ms
from chatkit.client.http import HistoryResult
from chatkit.client.pagination import PAGE_MESSAGES, PageProgress, scroll
from chatkit.core.model import Cursor, Gap, Message
from chatkit.core.reading import Filter
from chatkit.core.relations import fold

if TYPE_CHECKING:
    from chatkit.cli.store_client import StoreClient
    from chatkit.client import Client


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The messages of a room to print. `count` None is all of them. `raw` selects the changes, too, as entries."""

    room: str
    count: int | None = None
    after: str | None = None
    before: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    sender: str | None = None
    search: str | None = None
    of: int | None = None
    pinned: bool = False
    raw: bool = False
    as_of: datetime | None = None

    @property
    def filters(self) -> dict[str, Any]:
        """The conditions on messages, as `history` of a client has them."""
        names = ("since", "until", "sender", "search", "of", "pinned")
        return {name: getattr(self, name) for name in names}

    @property
    def has_filters(self) -> bool:
        """Whether there are conditions on messages."""
        return any(value not in {None, False} for value in self.filters.values())

    def matches(self, message: Message) -> bool:
        """Return whether a message, in the state in which it is printed, meets the conditions."""
        return Filter(
            self.search, self.sender, unix_ms(self.since), unix_ms(self.until), of=self.of, pinned=self.pinned
        ).matches(message)


class HistoryReader:
    """Reads the selected messages. `cursor` is the position at which a follow continues.

    When all are read, `left_out` tells whether older messages match, too: it is the number before which they are.
    `n_entries` is the number of entries of the room's log.
    """

    def __init__(self, source: "Client | StoreClient", selection: Selection) -> None:
        self.cursor = Cursor("none", 0)
        self.left_out: int | None = None
        self.n_entries = 0
        self._source = source
        self._selection = selection

    async def read(self) -> AsyncIterator[Message | Gap]:
        """Iterate over the selected messages and the gaps between them, oldest first."""
        # Messages that arrive during the reading are after this cursor, where a follow continues.
        page = await self._source.history(self._selection.room, limit=1)
        self.cursor, self.n_entries = page.cursor, page.last - page.first + 1
        left = self._selection.count
        async for item in self._items():
            if isinstance(item, Message):
                self._advance(item.cursor)
                left = None if left is None else left - 1
            yield item
            if left == 0:
                return

    def _items(self) -> AsyncIterator[Message | Gap]:
        selection = self._selection
        if selection.as_of is not None:
            return self._as_of(selection.as_of)
        if selection.count is None or selection.after is not None:
            return self._all()
        return self._newest(selection.count)

    def _advance(self, cursor: Cursor) -> None:
        if cursor.epoch != self.cursor.epoch or cursor.seq > self.cursor.seq:
            self.cursor = cursor

    async def _all(self) -> AsyncIterator[Message | Gap]:
        selection = self._selection
        is_first = True
        async for item in scroll(
            self._source.history,
            selection.room,
            after=0 if selection.after is None else selection.after,
            before=selection.before,
            raw=selection.raw,
            **selection.filters,
        ):
            # Without --after, all stored messages are wanted: it is no gap that older ones were trimmed.
            is_expected = is_first and selection.after is None and isinstance(item, Gap) and item.reason == "trimmed"
            is_first = False
            if not is_expected:
                yield item

    async def _newest(self, count: int) -> AsyncIterator[Message | Gap]:
        selection = self._selection
        pages: list[Sequence[Message]] = []
        progress = PageProgress()
        before: int | str | None = selection.before
        while count > 0:
            page = await self._source.history(
                selection.room,
                before=before,
                limit=min(count, PAGE_MESSAGES),
                raw=selection.raw,
                **selection.filters,
            )
            progress.check(page.messages)
            pages.append(page.messages)
            count -= len(page.messages)
            before = _older_than(page)
            if before is None:
                break
        else:
            self.left_out = before if isinstance(before, int) else None
        for message in chain.from_iterable(reversed(pages)):
            yield message

    async def _as_of(self, moment: datetime) -> AsyncIterator[Message | Gap]:
        """Iterate over the messages in the state that they had at a time.

        A change comes after its message, so the entries from the first of these messages on suffice.
        """
        selection = self._selection
        wanted = None if selection.has_filters else selection.count
        messages = [message for message in fold(await self._entries(moment, wanted)) if selection.matches(message)]
        if selection.count is not None and len(messages) > selection.count:
            messages = messages[-selection.count :]
            self.left_out = messages[0].seq
        for message in messages:
            yield message

    async def _entries(self, moment: datetime, wanted: int | None) -> list[Message]:
        """Return the entries before a time: all, or so many that more than `wanted` messages are among them."""
        pages: list[Sequence[Message]] = []
        progress = PageProgress()
        before: int | None = None
        n_messages = 0
        while wanted is None or n_messages <= wanted:
            page = await self._source.history(
                self._selection.room, before=before, limit=PAGE_MESSAGES, until=moment, raw=True
            )
            progress.check(page.messages)
            pages.append(page.messages)
            n_messages += sum(entry.act is None for entry in page.messages)
            before = _older_than(page)
            if before is None:
                break
        return list(chain.from_iterable(reversed(pages)))


def _older_than(page: HistoryResult) -> int | None:
    """Return the number before which older messages follow a page that was read backwards; None if none do."""
    if page.complete:
        return None
    if page.reached is not None:
        return page.reached
    return page.messages[0].seq if page.messages else None

"""Inbox: news on their way from a backend to the one who reads them. In the event loop's thread; no I/O, no clock.

It is bounded by the number of watched rooms: news of one room are folded together while nobody reads them.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable, Iterable
from itertools import pairwise

from chatkit.core.backend import Disconnected, MessageRedacted, Notification, Reconnected, RoomAdvanced, Typing

# Messages that wait here, where nothing else is said; beyond it only the number a room has reached is told, and the
# reader reads the room.
MAX_MESSAGES = 1_024


class NotificationQueue:
    """News in order of arrival, folded by room."""

    def __init__(self, max_messages: int = MAX_MESSAGES) -> None:
        self._max_messages = max_messages
        self._pending: OrderedDict[Hashable, Notification] = OrderedDict()
        self._messages = 0
        self._is_closed = False
        self._waiter: asyncio.Future[None] | None = None  # set while the reader waits for news

    def put(self, news: Iterable[Notification]) -> None:
        """Add news, and wake the reader."""
        for item in news:
            self._fold(item)
        self._wake()

    def close(self) -> None:
        """End the iterator, after what is in it has been read."""
        self._is_closed = True
        self._wake()

    async def read(self) -> AsyncIterator[Notification]:
        """Iterate until closed."""
        while True:
            while self._pending:
                yield self._take()
            if self._is_closed:
                return
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _take(self) -> Notification:
        _, item = self._pending.popitem(last=False)
        if isinstance(item, RoomAdvanced):
            self._messages -= len(item.messages)
        return item

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fold(self, item: Notification) -> None:
        # A room's Grown stays where it stands when more is folded into it: were it moved behind a Redacted, the body
        # that was taken away would come after.
        match item:
            case RoomAdvanced():
                self._grow(item)
            case MessageRedacted():
                self._pending[item.room, item.seq] = item
            case Typing():
                self._pending[item] = item
            case Disconnected():
                self._pending.pop(Reconnected, None)
                self._pending[Disconnected] = item
            case Reconnected():
                self._pending.pop(Reconnected, None)
                self._pending[Reconnected] = item

    def _grow(self, item: RoomAdvanced) -> None:
        older = self._pending.get(item.room)
        if isinstance(older, RoomAdvanced):
            self._messages -= len(older.messages)
            item = merge(older, item)
        if self._messages + len(item.messages) > self._max_messages:
            item = RoomAdvanced(item.room, item.last, epoch=item.epoch or item.messages[-1].epoch)
        self._messages += len(item.messages)
        self._pending[item.room] = item


def merge(older: RoomAdvanced, newer: RoomAdvanced) -> RoomAdvanced:
    """Fold two news of one room into one that says as much."""
    epochs = _epoch(older), _epoch(newer)
    is_same_log = epochs[0] == epochs[1] or "" in epochs  # where none is told, there is no sign of another
    if newer.last <= older.last and is_same_log:
        return older
    both = [*older.messages, *newer.messages]
    if newer.messages and is_same_log and all(one.seq + 1 == next_.seq for one, next_ in pairwise(both)):
        return RoomAdvanced(newer.room, newer.last, both, newer.epoch)
    return newer


def _epoch(grown: RoomAdvanced) -> str:
    return grown.epoch or (grown.messages[-1].epoch if grown.messages else "")

"""NotificationQueue: the notifications of a backend until they are read. Runs in the event loop's thread; does no I/O.

The queue is bounded by the number of watched rooms: the notifications of one room are merged while nobody reads them.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable, Iterable
from itertools import pairwise

from chatkit.core.backend import Disconnected, MessageRedacted, Notification, Reconnected, RoomAdvanced, Typing

# Messages that the queue may hold. Beyond it, a notification carries only the number that a room has reached, and its
# consumer reads the messages from the store.
MAX_MESSAGES = 1_024


class NotificationQueue:
    """Notifications in the order of arrival, merged by room."""

    def __init__(self, max_messages: int = MAX_MESSAGES) -> None:
        self._max_messages = max_messages
        self._pending: OrderedDict[Hashable, Notification] = OrderedDict()
        self._messages = 0
        self._is_closed = False
        self._waiter: asyncio.Future[None] | None = None  # set while the reader waits

    def put(self, notifications: Iterable[Notification]) -> None:
        """Add notifications, and wake the reader. Never waits."""
        for item in notifications:
            self._merge(item)
        self._wake()

    def close(self) -> None:
        """Close the queue: the iterator ends after the notifications that are still in it."""
        self._is_closed = True
        self._wake()

    async def read(self) -> AsyncIterator[Notification]:
        """Iterate over the notifications until the queue is closed; one reader at a time.

        A reader that is cancelled loses none of them.
        """
        while True:
            while self._pending:
                yield self._pop()
            if self._is_closed:
                return
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _pop(self) -> Notification:
        _, item = self._pending.popitem(last=False)
        if isinstance(item, RoomAdvanced):
            self._messages -= len(item.messages)
        return item

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _merge(self, item: Notification) -> None:
        # A room's RoomAdvanced keeps its place when a newer one is merged into it: if it moved behind a
        # MessageRedacted, the body that was removed would be delivered after the redaction.
        match item:
            case RoomAdvanced():
                self._merge_advanced(item)
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

    def _merge_advanced(self, item: RoomAdvanced) -> None:
        older = self._pending.get(item.room)
        if isinstance(older, RoomAdvanced):
            self._messages -= len(older.messages)
            if "" != _epoch(older) != _epoch(item) != "":
                self._drop_redactions(item.room)
            item = merge(older, item)
        if self._messages + len(item.messages) > self._max_messages:
            item = RoomAdvanced(item.room, item.last, epoch=item.epoch or item.messages[-1].epoch)
        self._messages += len(item.messages)
        self._pending[item.room] = item

    def _drop_redactions(self, room: str) -> None:
        """Drop the redactions of a log that is gone: the new log's messages have the same numbers."""
        for item in [
            item for item in self._pending.values() if isinstance(item, MessageRedacted) and item.room == room
        ]:
            del self._pending[item.room, item.seq]


def merge(older: RoomAdvanced, newer: RoomAdvanced) -> RoomAdvanced:
    """Merge two notifications of one room into one that carries the same information."""
    epochs = _epoch(older), _epoch(newer)
    is_same_log = epochs[0] == epochs[1] or "" in epochs  # a missing epoch is no sign of another log
    if newer.last <= older.last and is_same_log:
        # If only the newer one has an epoch, it may be that of another log: its consumer compares.
        return older if epochs[0] else RoomAdvanced(older.room, older.last, older.messages, epochs[1])
    both = [*older.messages, *newer.messages]
    if newer.messages and is_same_log and all(one.seq + 1 == next_.seq for one, next_ in pairwise(both)):
        return RoomAdvanced(newer.room, newer.last, both, newer.epoch)
    return newer


def _epoch(item: RoomAdvanced) -> str:
    return item.epoch or (item.messages[-1].epoch if item.messages else "")

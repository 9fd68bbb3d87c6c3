"""EventReader: moves events from the channels to a subscriber's queue while it has space. The rest stays in the log."""

import logging
from abc import ABC, abstractmethod
from asyncio import QueueFull
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Final

from litestar.channels.subscriber import BacklogStrategy

from chatkit.core.model import Cursor, Gap, Message
from chatkit.core.subscription import Item
from chatkit.errors import ChatkitError
from chatkit.litestar.backends import LogChannelsBackend
from chatkit.litestar.cursor import ChannelCursor
from chatkit.litestar.events import payload_of
from chatkit.litestar.queue import EventQueue, QueuedEvent

if TYPE_CHECKING:
    from chatkit.litestar.direct_sender import DirectSender

WINDOW: Final = 512  # events read ahead of a reader without a `max_backlog`
PAGE: Final = 256  # events read at once

_logger = logging.getLogger(__name__)


class EventReader(ABC):
    """A subscriber's cursors and its queue. With `overrides_put`, every event is added by `put_nowait`."""

    def __init__(self, max_backlog: int, strategy: BacklogStrategy, *, overrides_put: bool) -> None:
        self._queue = EventQueue(max_backlog, strategy)
        self._max_backlog = max_backlog
        self._overrides_put = overrides_put
        self._cursors: dict[str, ChannelCursor] = {}
        self._lagging: dict[ChannelCursor, None] = {}  # they have more events than there is space for
        self._log: LogChannelsBackend | None = None
        self._sender: DirectSender | None = None
        self._missed = 0

    @abstractmethod
    def put_nowait(self, item: bytes | None) -> bool:
        """Add an item to the queue. Return False if it was dropped."""

    @abstractmethod
    def _end_if_read(self) -> None:
        """Stop a finishing reader if all its cursors have been read. Called after each change of them."""

    async def follow(self, channel: str, *, history: int = 0, after: Cursor | None = None) -> None:
        """Start reading a channel. Called by the plugin to subscribe. Raise `Unavailable`."""
        cursor = self._cursors[channel] = ChannelCursor(channel, self._on_ready, history=history, after=after)
        if self._log is not None:
            await cursor.open(self._log)

    async def put_history(self, channel: str, history: Awaitable[Sequence[bytes]]) -> None:
        """Add the complete history of a channel from a foreign backend before its next events."""
        cursor = self._cursors[channel]
        cursor.until = 0  # read no events until the history is in the queue
        for event in await history:
            self._queue.put_always(event)
        cursor.until = None
        cursor.wake()

    def unfollow(self, channel: str) -> None:
        """Stop reading a channel. Queued events stay."""
        cursor = self._cursors.pop(channel, None)
        if cursor is not None:
            cursor.close()
            self._lagging.pop(cursor, None)
            self._end_if_read()

    async def attach(self, log: LogChannelsBackend) -> None:
        """Start reading from this log. Called by the plugin at its start."""
        self._log = log
        for cursor in list(self._cursors.values()):
            if cursor.subscription is None:
                await cursor.open(log)

    def set_log(self, log: LogChannelsBackend | None) -> None:
        """Set the log (None before the plugin's start), before any channel is followed."""
        self._log = log

    def _on_ready(self, cursor: ChannelCursor) -> None:
        if self._sender is not None:
            self._sender.write_channel(cursor)
        else:
            self.pull_soon(cursor)

    def _wake_all(self) -> None:
        for cursor in self._cursors.values():
            cursor.wake()

    def _wake_sender(self) -> None:
        if self._sender is not None:
            self._sender.write_due()

    def cursors(self) -> list[ChannelCursor]:
        """Return the cursors of all channels."""
        return list(self._cursors.values())

    def pull_soon(self, cursor: ChannelCursor) -> None:
        """Move a cursor's events to the queue in a task, while there is space."""
        if not cursor.is_pulling and self._log is not None:
            cursor.is_pulling = True
            self._log.hub.spawn(self._pull_all(cursor))

    async def pull(self, cursor: ChannelCursor, limit: int) -> bool:
        """Move at most `limit` events to the queue. Return whether there may be more. Raise `Unavailable`."""
        subscription = cursor.subscription
        if subscription is None:
            return False
        cursor.is_pulling = True
        try:
            items = await subscription.read(limit, wait=False)
        except ChatkitError:
            subscription.check()  # the hub checks the room until the store answers, and then wakes the cursor
            raise
        finally:
            cursor.is_pulling = False
        self._count_gaps(items)
        messages = [item for item in items if isinstance(item, Message)]
        if messages and not (self._sender is not None and self._sender.write_page(messages)):
            self._enqueue(cursor, messages)
        return bool(items)

    def _count_gaps(self, items: Sequence[Item]) -> None:
        self._missed += sum(max(item.before - item.after - 1, 0) for item in items if isinstance(item, Gap))

    async def _pull_all(self, cursor: ChannelCursor) -> None:
        cursor.is_pulling = False
        try:
            while (space := self._space(cursor)) and await self.pull(cursor, min(space, PAGE)):
                pass
        except ChatkitError:
            return
        self._wake_sender()
        self._end_if_read()
        if space:
            cursor.wake()  # for events that were committed during the read
        elif cursor.is_behind and self._sender is None:
            self._lagging[cursor] = None

    def _space(self, cursor: ChannelCursor) -> int:
        """Return the number of events that may be added. Live events are added to a full backlog too: it drops them."""
        subscription = cursor.subscription
        if subscription is None or subscription.is_closed:
            return 0
        space, position = WINDOW - self._queue.qsize(), subscription.position
        if self._sender is not None:  # equal pages are encoded once for all readers
            space = PAGE - position % PAGE if self._sender.may_write else 0
        elif self._max_backlog and position >= cursor.live_from:
            space = PAGE
        elif self._max_backlog:  # history is read as the reader advances, so that none is dropped
            space = min(self._max_backlog - self._queue.qsize(), cursor.live_from - position)
        if cursor.until is not None:
            space = min(space, cursor.until - position)
        return max(space, 0)

    def _refill(self) -> None:
        """Continue with the cursors that had no space."""
        if self._queue.qsize() <= (0 if self._max_backlog else WINDOW // 2):
            lagging, self._lagging = self._lagging, {}
            for cursor in lagging:
                self.pull_soon(cursor)

    def _enqueue(self, cursor: ChannelCursor, messages: Sequence[Message]) -> None:
        if self._overrides_put:
            for message in messages:
                self.put_nowait(payload_of(message))
        elif self._max_backlog:
            for message in messages:
                self._try_put((cursor, message))
        else:
            self._queue.extend([(cursor, message) for message in messages])

    def _try_put(self, item: bytes | QueuedEvent | None) -> bool:
        dropped = self._queue.dropped
        try:
            self._queue.put_nowait(item)
        except QueueFull:
            was_queued = False
        else:
            was_queued = True
        if self._queue.dropped and not dropped:
            channels = ", ".join(sorted(self._cursors)) or "no channel"
            _logger.warning("a subscriber of %s is behind: its backlog of %d drops events", channels, self._max_backlog)
        return was_queued

"""From the channels into a subscriber's stream, as far as there is room; the rest waits where it is."""

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
from chatkit.litestar.payload import payload_of
from chatkit.litestar.queue import Arrival, EventQueue

if TYPE_CHECKING:
    from chatkit.litestar.direct_sender import DirectSender

WINDOW: Final = 512  # events taken from the channels ahead of a reader without a backlog of its own
PAGE: Final = 256  # events read at once

_logger = logging.getLogger(__name__)


class EventReader(ABC):
    """A subscriber's cursors and its stream. With `hears_put`, every event goes by way of `put_nowait`."""

    def __init__(self, max_backlog: int, strategy: BacklogStrategy, *, hears_put: bool) -> None:
        self._stream = EventQueue(max_backlog, strategy)
        self._max_backlog = max_backlog
        self._hears_put = hears_put
        self._cursors: dict[str, ChannelCursor] = {}
        self._lagging: dict[ChannelCursor, None] = {}  # of these there is more, but no room for it
        self._log: LogChannelsBackend | None = None
        self._sender: DirectSender | None = None
        self._missed = 0

    @abstractmethod
    def put_nowait(self, item: bytes | None) -> bool:
        """Put an item in the stream; say whether it is in it, or was dropped."""

    @abstractmethod
    def _end_if_read(self) -> None:
        """Hear that something was read, or will not be."""

    async def follow(self, channel: str, *, history: int = 0, after: Cursor | None = None) -> None:
        """Read a channel; the plugin's part of subscribing. Raise `Unavailable`."""
        cursor = self._cursors[channel] = ChannelCursor(channel, self._rung, history=history, after=after)
        if self._log is not None:
            await cursor.open(self._log)

    async def put_past(self, channel: str, past: Awaitable[Sequence[bytes]]) -> None:
        """Put what a foreign backend has of a channel before what is to come of it, however much it is."""
        cursor = self._cursors[channel]
        cursor.until = 0  # nothing of it, until that is done
        for event in await past:
            self._stream.put_always(event)
        cursor.until = None
        cursor.ring()

    def unfollow(self, channel: str) -> None:
        """Read a channel no more; what is in the stream stays."""
        cursor = self._cursors.pop(channel, None)
        if cursor is not None:
            cursor.close()
            self._lagging.pop(cursor, None)
            self._end_if_read()

    async def attach(self, log: LogChannelsBackend) -> None:
        """Read from this log on; the plugin's part of starting up."""
        self._log = log
        for cursor in list(self._cursors.values()):
            if cursor.subscription is None:
                await cursor.open(log)

    def attach_later(self, log: LogChannelsBackend | None) -> None:
        """Know the log, if it is open yet, before any channel is followed."""
        self._log = log

    def _rung(self, cursor: ChannelCursor) -> None:
        if self._sender is not None:
            self._sender.ring(cursor)
        else:
            self.pull_soon(cursor)

    def _ring_all(self) -> None:
        for cursor in self._cursors.values():
            cursor.ring()

    def _ring_sender(self) -> None:
        if self._sender is not None:
            self._sender.ring_all()

    def cursors(self) -> list[ChannelCursor]:
        """Return the places in all channels."""
        return list(self._cursors.values())

    def pull_soon(self, cursor: ChannelCursor) -> None:
        """Have what a cursor is owed put into the stream, as far as there is room."""
        if not cursor.is_pulling and self._log is not None:
            cursor.is_pulling = True
            self._log.hub.spawn(self._pull_all(cursor))

    async def pull(self, cursor: ChannelCursor, limit: int) -> bool:
        """Put at most so many events into the stream; say whether there may be more. Raise `Unavailable`."""
        subscription = cursor.subscription
        if subscription is None:
            return False
        cursor.is_pulling = True
        try:
            items = await subscription.read(limit, wait=False)
        except ChatkitError:
            subscription.check()  # the room is compared with the store until that answers, and rings then
            raise
        finally:
            cursor.is_pulling = False
        self._note_gaps(items)
        messages = [item for item in items if isinstance(item, Message)]
        if messages and not (self._sender is not None and self._sender.write_page(messages)):
            self._arrive(cursor, messages)
        return bool(items)

    def _note_gaps(self, items: Sequence[Item]) -> None:
        self._missed += sum(max(item.before - item.after - 1, 0) for item in items if isinstance(item, Gap))

    async def _pull_all(self, cursor: ChannelCursor) -> None:
        cursor.is_pulling = False
        try:
            while (room := self._room(cursor)) and await self.pull(cursor, min(room, PAGE)):
                pass
        except ChatkitError:
            return
        self._ring_sender()
        self._end_if_read()
        if room:
            cursor.ring()  # for what came while the store was asked
        elif cursor.is_behind and self._sender is None:
            self._lagging[cursor] = None

    def _room(self, cursor: ChannelCursor) -> int:
        """Return how many events may be put into the stream; to a full backlog live ones come to be dropped."""
        subscription = cursor.subscription
        if subscription is None or subscription.is_closed:
            return 0
        room, position = WINDOW - self._stream.qsize(), subscription.position
        if self._sender is not None:  # pages that begin and end at the same places are joined once for all readers
            room = PAGE - position % PAGE if self._sender.may_write else 0
        elif self._max_backlog and position >= cursor.live_from:
            room = PAGE
        elif self._max_backlog:  # the past is read as the reader gets on: it is not dropped
            room = min(self._max_backlog - self._stream.qsize(), cursor.live_from - position)
        if cursor.until is not None:
            room = min(room, cursor.until - position)
        return max(room, 0)

    def _refill(self) -> None:
        """Go on where there was no room."""
        if self._stream.qsize() <= (0 if self._max_backlog else WINDOW // 2):
            lagging, self._lagging = self._lagging, {}
            for cursor in lagging:
                self.pull_soon(cursor)

    def _arrive(self, cursor: ChannelCursor, messages: Sequence[Message]) -> None:
        if self._hears_put:
            for message in messages:
                self.put_nowait(payload_of(message))
        elif self._max_backlog:
            for message in messages:
                self._offer((cursor, message))
        else:
            self._stream.extend([(cursor, message) for message in messages])

    def _offer(self, item: bytes | Arrival | None) -> bool:
        dropped = self._stream.dropped
        try:
            self._stream.put_nowait(item)
        except QueueFull:
            was_taken = False
        else:
            was_taken = True
        if self._stream.dropped and not dropped:
            channels = ", ".join(sorted(self._cursors)) or "no channel"
            _logger.warning("a subscriber of %s is behind: its backlog of %d drops events", channels, self._max_backlog)
        return was_taken

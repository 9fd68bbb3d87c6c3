"""A reader of one room: a cursor into its log, and a bell that rings when the room grows."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Self, TypeAlias

from chatkit.core.model import Cursor, Gap, Head, Message
from chatkit.core.position import resume
from chatkit.core.room import Room, Signal
from chatkit.core.segment import Encode, Segment

Item: TypeAlias = Message | Gap
"""What a log delivers: what is there, or that it is not to be had."""

PAGE_MESSAGES = 256  # what a reader far behind takes from the store at once

_logger = logging.getLogger(__name__)


class Subscription:
    """A position in a room's log. All behind it is had in order, once, and no hole is passed over in silence.

    Two ways to read, one position: `take` gives encoded bytes at once while the room's recent tail holds what is due,
    and `fetch` whatever is next, from the store if need be. Iterating waits for the bell and fetches. A subscription
    belongs to one reader: calls do not overlap. It is a context manager; leaving it closes it.
    """

    __slots__ = (
        "_bell",
        "_gap",
        "_had",
        "_life",
        "_live",
        "_release",
        "_signalled",
        "epoch",
        "feed",
        "is_closed",
        "position",
    )

    def __init__(
        self,
        live: Room,
        start: Cursor,
        *,
        had: Cursor | None = None,
        gap: Gap | None = None,
        bell: Callable[[], None] | None,
        signalled: Callable[[Signal], None] | None,
        release: Callable[["Subscription"], None],
    ) -> None:
        self.epoch = start.epoch
        self.position = start.seq
        self.is_closed = False
        self._had = had  # where the reader stands until it has the gap
        self._gap = gap
        self._live = live
        self.feed = live.feed  # the recent tail of the room's log, for all of its readers
        # The feed's life in which this position was found good; until then, and when the feed began anew, the store is
        # asked.
        self._life = live.feed.life if start.epoch == live.feed.epoch and live.feed.reaches(start.seq) else 0
        self._bell = bell
        self._signalled = signalled
        self._release = release

    @property
    def room(self) -> str:
        """The room's name."""
        return self._live.room

    @property
    def cursor(self) -> Cursor:
        """Where this reader stands: subscribing again from here goes on without a hole or a repeat."""
        if self._gap is not None and self._had is not None:
            return self._had
        return Cursor(self.epoch, self.position)

    @property
    def head(self) -> Head:
        """Where the room's log stands, as far as this process knows."""
        return self.feed.head

    @property
    def is_at_head(self) -> bool:
        """Say whether all that this process knows of has been read."""
        feed = self.feed
        return self._life == feed.life and self.position >= feed.last and self._gap is None

    @property
    def is_due(self) -> bool:
        """Say whether there may be something to read now; if not, the bell will ring."""
        return not self.is_closed and not self.is_at_head and self.epoch == self.feed.epoch

    def check(self) -> None:
        """Have the room compared with the store, as often as it takes; the bell rings when that is done."""
        self._live.check()

    def take(self, encode: Encode) -> bytes | None:
        """Return the next messages encoded and joined, and move behind them; None if they are not at hand (`fetch`).

        Empty when there is nothing to read now, or the subscription is closed.
        """
        feed = self.feed
        if self.is_closed:
            return b""
        if self._life != feed.life or self._gap is not None:
            return None
        if self.position >= feed.last:
            return b""
        source = feed if self.position >= feed.first - 1 else self._live.page(self.epoch, self.position)
        if source is None:
            return None
        chunk, self.position = source.chunk(encode, self.position)
        return chunk

    async def load(self) -> bool:
        """Have what is next at hand, if the log has it; say whether `take` will give it.

        Raise `Unavailable` when the store cannot be asked.
        """
        await asyncio.sleep(0)  # a reader that catches up from memory must not keep the loop for itself
        return self._gap is None and await self._find() is not None

    async def _find(self) -> Segment | None:
        """Return where the messages behind this position are; None if nothing that this process knows of holds them."""
        feed = self.feed
        if self.epoch != feed.epoch or self.position > feed.last:
            return None
        source: Segment | None = feed
        if not feed.reaches(self.position) and self._live.keeps_history:
            source = await self._live.load_page(self.epoch, self.position)
        if source is not None and self.epoch == feed.epoch and source.reaches(self.position):
            self._life = feed.life
            return source
        return None

    def take_gap(self) -> Gap | None:
        """Return the gap that this subscription began with, once, if there is one."""
        gap, self._gap = self._gap, None
        return gap

    async def fetch(self, limit: int = PAGE_MESSAGES) -> Sequence[Item]:
        """Return what is next, a gap first where there is one, and move behind it; empty when there is nothing now.

        Raise `Unavailable` when it cannot be read; the position then stays, and fetching again goes on from it.
        """
        if self.is_closed:
            return ()
        if gap := self.take_gap():
            return (gap,)
        if self.is_at_head:
            return ()
        source = await self._find()
        return await self._fetch_from_store(limit) if source is None else self._read_from(source, limit)

    def _read_from(self, source: Segment, limit: int) -> Sequence[Message]:
        if self.is_closed:  # while the source was loaded
            return ()
        messages = source.read(self.position, limit)
        self.position += len(messages)
        return messages

    async def _fetch_from_store(self, limit: int) -> Sequence[Item]:
        if not self._live.keeps_history:
            return self._skip_to_feed(limit)
        page = await self._live.read(after=self.position, limit=limit)
        if self.is_closed:  # while the store was asked: whoever closed it wants no more, and has the position
            return ()
        start, gap = resume(Cursor(self.epoch, self.position), page.head)
        self.epoch, self.position = start.epoch, start.seq
        if self.epoch == self.feed.epoch:
            self._life = self.feed.life
        else:
            self._life = 0
            self._live.check()
        if gap is not None:
            return (gap,)
        if page.messages:
            self.position = page.messages[-1].seq
        return page.messages

    def _skip_to_feed(self, limit: int) -> Sequence[Item]:
        """Go on where the feed begins: what lies before it is kept nowhere."""
        feed = self.feed
        self._life = feed.life
        if self.epoch == feed.epoch and self.position > feed.last:
            self._live.check()  # this process knows less than another: the bell rings when that is mended
            return ()
        kept = Head(feed.epoch, feed.first, feed.last)  # what this process still has, though no store keeps it
        start, gap = resume(Cursor(self.epoch, self.position), kept, keeps_history=False)
        self.epoch, self.position = start.epoch, start.seq
        return self._read_from(feed, limit) if gap is None else (gap,)

    async def next(self) -> Sequence[Item]:
        """Wait until there is something to read and return it; empty only when the subscription was closed."""
        while not self.is_closed:
            if items := await self.fetch():
                return items
            if not self.is_due:
                await self._wait()
        return ()

    async def _wait(self) -> None:
        rung = asyncio.Event()
        bell, self._bell = self._bell, rung.set
        try:
            # No await lies between finding that there is nothing to read and here: no bell is missed.
            await rung.wait()
        finally:
            self._bell = bell

    async def __aiter__(self) -> AsyncIterator[Item]:
        while items := await self.next():
            for item in items:
                # Who leaves the loop here has had this item and none of those behind it.
                stand = self.position = item.before - 1 if isinstance(item, Gap) else item.seq
                yield item
                if self.is_closed or self.position != stand:
                    break  # who read on by other means meanwhile has had the rest

    def ring(self) -> None:
        """Hear that the feed grew."""
        if self._bell is not None:
            try:
                self._bell()
            except Exception:
                # One reader's mistake must not leave all others deaf.
                _logger.exception("a reader of %s could not be told that it grew", self.room)

    def tell(self, signal: Signal) -> None:
        """Hear a signal."""
        if self._signalled is not None:
            try:
                self._signalled(signal)
            except Exception:
                _logger.exception("a reader of %s could not be told of a signal", self.room)

    def close(self) -> None:
        """Read no more: a waiting iterator ends. Closing again does nothing."""
        if not self.is_closed:
            self.is_closed = True
            self._release(self)
            self.ring()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

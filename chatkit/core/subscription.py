"""A reader of one room: a cursor into its log, which is woken when the room grows."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Final, Self, TypeAlias

from chatkit.core.model import Cursor, Gap, Head, Message
from chatkit.core.room import Room, Signal
from chatkit.core.segment import Encode

Item: TypeAlias = Message | Gap
"""What a log delivers: a message, or the statement that messages are missing."""

READ_MESSAGES = 256  # as many as a page from the store holds
NEVER: Final = -1  # the room was not compared with the store on behalf of this reader
NOTHING: Final = (b"", False)

_logger = logging.getLogger(__name__)


class WouldBlock(Exception):  # an outcome, not an error; anyio's name for it
    """Raised where nothing can be read without waiting."""


class Subscription:
    """A position in a room's log. All messages behind it are read in order, once, and no hole is passed over silently.

    `read_nowait` returns what is in memory, `read` waits, for the store or for new messages; iterating reads. `chunk`
    returns encoded bytes that all readers share, for deliveries. Only reading moves the position. A subscription
    belongs to one reader: calls do not overlap. It is a context manager; leaving it closes it.
    """

    __slots__ = (
        "_checked",
        "_feed",
        "_gap",
        "_had",
        "_life",
        "_live",
        "_on_close",
        "_on_signal",
        "epoch",
        "is_closed",
        "member",
        "position",
    )

    def __init__(
        self,
        live: Room,
        start: Cursor,
        *,
        had: Cursor | None = None,
        gap: Gap | None = None,
        member: str | None = None,
        on_signal: Callable[[Signal], None] | None,
        on_close: Callable[["Subscription"], None],
    ) -> None:
        self.epoch = start.epoch
        self.position = start.seq
        self.is_closed = False
        self.member = member  # whose name is present in the room as long as this reader is
        self._had = had  # where the reader stands until it has read the gap
        self._gap = gap
        self._live = live
        self._feed = live.feed  # the room's recent messages, shared by all of its readers
        self._life = 0  # the life of the feed in which this position is known to be one of the feed's log
        self._checked = NEVER  # the room's check after which this reader has to look for its place again
        self._on_signal = on_signal
        self._on_close = on_close

    @property
    def room(self) -> str:
        """The room's name."""
        return self._live.room

    @property
    def cursor(self) -> Cursor:
        """Where this reader stands: a subscription from here goes on without a hole or a repeat."""
        if self._gap is not None and self._had is not None:
            return self._had
        return Cursor(self.epoch, self.position)

    @property
    def head(self) -> Head:
        """Where the room's log stands, as far as this process knows."""
        return self._feed.head

    @property
    def is_at_head(self) -> bool:
        """Whether everything that this process knows of has been read."""
        return self._gap is None and self._has_place() and self.position >= self._feed.last

    @property
    def is_due(self) -> bool:
        """Whether there may be something to read; if not, the reader is woken when there is."""
        if self.is_closed:
            return False
        if self._gap is not None:
            return True
        if self._has_place():
            return self.position < self._feed.last
        return self._checked != self._live.n_checks

    def check(self) -> None:
        """Compare the room with the store, again until it answers; then wake this reader."""
        self._live.check()

    # Reading

    def chunk(self, encode: Encode) -> tuple[bytes, bool]:
        """Return the next messages, encoded and joined, and whether more are due; move behind them.

        Empty where nothing is due. Raise `WouldBlock` where what is due is a gap, or not in memory: then `read`.
        """
        feed = self._feed
        if self.is_closed:
            return NOTHING
        if self._gap is not None or (self._life != feed.life and not self._has_place()):
            raise WouldBlock
        if self.position >= feed.last:
            return NOTHING
        source = feed if self.position >= feed.first - 1 else self._live.page(self.epoch, self.position)
        if source is None:
            raise WouldBlock
        frames, self.position = source.chunk(encode, self.position)
        return frames, self.position < feed.last

    def read_nowait(self, limit: int = READ_MESSAGES) -> Sequence[Item]:
        """Return at most `limit` items that are in memory, and move behind them; a gap comes alone.

        Raise `WouldBlock` where there are none. Empty only when the subscription is closed.
        """
        if self.is_closed:
            return ()
        if self._gap is not None:
            gap, self._gap, self._had = self._gap, None, None
            return (gap,)
        feed = self._feed
        if not self._has_place() or self.position >= feed.last:
            raise WouldBlock
        source = feed if self.position >= feed.first - 1 else self._live.page(self.epoch, self.position)
        if source is None:
            raise WouldBlock
        messages = source.read(self.position, limit)
        self.position += len(messages)
        return messages

    async def read(self, limit: int = READ_MESSAGES, *, wait: bool = True) -> Sequence[Item]:
        """Return at most `limit` items, a gap alone, and move behind them; wait until there are some.

        Without `wait`, the store is asked where that is needed, but new messages are not waited for: empty where
        nothing is due. Otherwise empty only when the subscription is closed. Raise `Unavailable` when the store cannot
        be read; the position then stays, and reading again goes on from it.
        """
        while not self.is_closed:
            try:
                return self.read_nowait(limit)
            except WouldBlock:
                if self.is_due:
                    await self._load()
                elif wait:
                    await self._wait()
                else:
                    break
        return ()

    def _has_place(self) -> bool:
        """Return whether the feed's log is this reader's, and reaches as far."""
        feed = self._feed
        if self._life == feed.life:
            return True
        if self.epoch != feed.epoch or self.position > feed.last:
            return False
        if not feed.reaches(self.position) and self._live.page(self.epoch, self.position) is None:
            return False
        self._life = feed.life
        return True

    async def _load(self) -> None:
        """Bring what is next into memory. If the log does not have it, find out where to go on, and what is missing."""
        feed, live = self._feed, self._live
        if live.keeps_history and self.epoch == feed.epoch and self.position < feed.last:
            page = await live.load_page(self.epoch, self.position)
            if page is not None and self.epoch == feed.epoch:
                self._life = feed.life
                return
        had = Cursor(self.epoch, self.position)
        start, gap = await live.place(had, feed.first)
        if self.is_closed:  # while the store was asked: the reader wants no more, and keeps its position
            return
        self.epoch, self.position = start.epoch, start.seq
        self._life = 0
        if gap is not None:
            self._gap, self._had = gap, had
        elif not self._has_place():
            # This process knows less than the store, or something else: it is compared first.
            self._checked = live.n_checks
            live.check()

    async def _wait(self) -> None:
        woken = asyncio.Event()
        readers = self._live.readers
        wake, readers[self] = readers[self], woken.set
        try:
            # No await lies between finding that there is nothing to read and here: no call is missed.
            await woken.wait()
        finally:
            if self in readers:
                readers[self] = wake

    async def __aiter__(self) -> AsyncIterator[Item]:
        while items := await self.read():
            for item in items:
                # A reader that leaves the loop here has had this item and none of those behind it.
                stand = self.position = item.before - 1 if isinstance(item, Gap) else item.seq
                yield item
                if self.is_closed or self.position != stand:
                    break  # it read on by other means in the meantime: that was the rest

    def notify(self, signal: Signal) -> None:
        """Pass a signal to the reader."""
        if self._on_signal is not None:
            try:
                self._on_signal(signal)
            except Exception:
                # One reader's mistake must not keep the signal from all others.
                _logger.exception("a reader of %s failed at a signal", self.room)

    def close(self) -> None:
        """Stop reading: a waiting iterator ends. Closing again does nothing."""
        if not self.is_closed:
            self.is_closed = True
            self._on_close(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""Subscription: a reader of one room. It is a position in the room's log, and is woken when the log grows."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Final, Self, TypeAlias

from chatkit.core.model import Cursor, Gap, Head, Message
from chatkit.core.room import Room
from chatkit.core.segment import Encode
from chatkit.core.signals import Signal

Item: TypeAlias = Message | Gap
"""An item of a log: a message, or a gap where messages are missing."""

READ_MESSAGES = 256  # as many as a page from the store has
NEVER: Final = -1  # this reader has not asked for a comparison of the room with the store
NOTHING: Final = (b"", False)

_logger = logging.getLogger(__name__)


class WouldBlock(Exception):  # an outcome, not an error; anyio's name
    """Nothing can be read without waiting."""


class Subscription:
    """A position in a room's log. Each message after it is read once and in order, and missing messages are a gap.

    `read_nowait` returns items that are in memory. `read` waits for the store or for new messages, and so does
    iteration. `chunk` returns encoded bytes that all readers share, for deliveries. Only reading moves the position.
    A subscription belongs to one reader: calls must not overlap. Leaving it as a context manager closes it.
    """

    __slots__ = (
        "_checked",
        "_gap",
        "_generation",
        "_had",
        "_on_close",
        "_on_signal",
        "_origin",
        "_room",
        "_tail",
        "epoch",
        "is_closed",
        "member",
        "position",
    )

    def __init__(
        self,
        room: Room,
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
        self._origin = start.seq  # the position, less the messages read: a move without reading moves both
        self.is_closed = False
        self.member = member  # the name that is present in the room until this subscription is closed
        self._had = had  # the reader's cursor until it has read the gap
        self._gap = gap
        self._room = room
        self._tail = room.tail  # shared by all readers of the room
        self._generation = 0  # the tail's generation for which this position is known to be in the tail's log
        self._checked = NEVER  # the room's `n_checks` when this reader asked for a check, after which it tries again
        self._on_signal = on_signal
        self._on_close = on_close

    @property
    def room(self) -> str:
        """The room's name."""
        return self._room.name

    @property
    def cursor(self) -> Cursor:
        """The reader's position: a subscription from here continues without a hole or a repeat."""
        if self._gap is not None and self._had is not None:
            return self._had
        return Cursor(self.epoch, self.position)

    @property
    def head(self) -> Head:
        """The head of the room's log, as far as this process knows."""
        return self._tail.head

    @property
    def n_read(self) -> int:
        """The number of messages that were read."""
        return self.position - self._origin

    @property
    def n_due(self) -> int:
        """The number of messages after the position, as far as this process knows; in a log that began again, all."""
        tail = self._tail
        return max(0, tail.last - self.position) if self.epoch == tail.epoch else tail.last - tail.log_first + 1

    @property
    def is_at_head(self) -> bool:
        """Whether the reader has read every message that this process knows of."""
        return self._gap is None and self._is_positioned() and self.position >= self._tail.last

    @property
    def is_due(self) -> bool:
        """Whether there may be something to read. If not, the reader is woken when there is."""
        if self.is_closed:
            return False
        if self._gap is not None:
            return True
        if self._is_positioned():
            return self.position < self._tail.last
        return self._checked != self._room.n_checks

    def check(self) -> None:
        """Compare the room with the store, again and again until the store answers, and then wake the readers."""
        self._room.check()

    # Reading

    def chunk(self, encode: Encode) -> tuple[bytes, bool]:
        """Return the next messages, encoded and joined, and whether more are due; move the position after them.

        The bytes are empty if nothing is due. Raise `WouldBlock` if a gap is due, or a message that is not in memory:
        `read` returns those.
        """
        tail = self._tail
        if self.is_closed:
            return NOTHING
        if self._gap is not None or (self._generation != tail.generation and not self._is_positioned()):
            raise WouldBlock
        if self.position >= tail.last:
            return NOTHING
        source = tail if self.position >= tail.first - 1 else self._room.find_page(self.epoch, self.position)
        if source is None:
            raise WouldBlock
        frames, self.position = source.chunk(encode, self.position)
        return frames, self.position < tail.last

    def read_nowait(self, limit: int = READ_MESSAGES) -> Sequence[Item]:
        """Return at most `limit` items that are in memory, and move the position after them. A gap is returned alone.

        Raise `WouldBlock` without any. The result is empty only if the subscription is closed.
        """
        if self.is_closed:
            return ()
        if self._gap is not None:
            gap, self._gap, self._had = self._gap, None, None
            return (gap,)
        tail = self._tail
        if not self._is_positioned() or self.position >= tail.last:
            raise WouldBlock
        source = tail if self.position >= tail.first - 1 else self._room.find_page(self.epoch, self.position)
        if source is None:
            raise WouldBlock
        messages = source.read(self.position, limit)
        self.position += len(messages)
        return messages

    async def read(self, limit: int = READ_MESSAGES, *, wait: bool = True) -> Sequence[Item]:
        """Wait for items, return at most `limit` of them, and move the position after them. A gap is returned alone.

        Without `wait`, this waits for the store if necessary, but not for new messages: the result is empty if nothing
        is due. Otherwise it is empty only if the subscription is closed. Raise `Unavailable` if the store cannot be
        read; the position then does not move, and the next read continues from it.
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

    def _is_positioned(self) -> bool:
        """Return whether the position is in the tail's log, and the next message is in memory."""
        tail = self._tail
        if self._generation == tail.generation:
            return True
        if self.epoch != tail.epoch or self.position > tail.last:
            return False
        if not tail.reaches(self.position) and self._room.find_page(self.epoch, self.position) is None:
            return False
        self._generation = tail.generation
        return True

    async def _load(self) -> None:
        """Load the next messages into memory. If the log does not have them, find the gap, and where to continue."""
        tail, room = self._tail, self._room
        if room.keeps_history and self.epoch == tail.epoch and self.position < tail.last:
            page = await room.load_page(self.epoch, self.position)
            if page is not None and self.epoch == tail.epoch:
                self._generation = tail.generation
                return
        had = Cursor(self.epoch, self.position)
        start, gap = await room.resume_from(had, tail.first)
        if self.is_closed:  # closed during the read from the store: the position stays as it is
            return
        self._origin += start.seq - self.position
        self.epoch, self.position = start.epoch, start.seq
        self._generation = 0
        if gap is not None:
            self._gap, self._had = gap, had
        elif not self._is_positioned():
            # This process's tail is behind the store's log, or of another log: compare them first.
            self._checked = room.n_checks
            room.check()

    async def _wait(self) -> None:
        woken = asyncio.Event()
        readers = self._room.readers
        wake, readers[self] = readers[self], woken.set
        try:
            # There is no await between finding nothing to read and this one, so no wake is missed.
            await woken.wait()
        finally:
            if self in readers:
                readers[self] = wake

    async def __aiter__(self) -> AsyncIterator[Item]:
        while items := await self.read():
            for item in items:
                # If the loop is left here, the reader has had this item and none of the following.
                expected = self.position = item.before - 1 if isinstance(item, Gap) else item.seq
                yield item
                if self.is_closed or self.position != expected:
                    break  # the loop's body read by other means: the rest of these items was read there

    def notify(self, signal: Signal) -> None:
        if self._on_signal is not None:
            try:
                self._on_signal(signal)
            except Exception:
                # An error in one reader must not stop the others.
                _logger.exception("a reader of %s failed to handle a signal", self.room)

    def close(self) -> None:
        """Stop reading, which ends a waiting iterator. Closing again does nothing."""
        if not self.is_closed:
            self.is_closed = True
            self._on_close(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

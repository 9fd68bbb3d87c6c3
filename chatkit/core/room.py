"""A room that has readers in this process: its feed, kept at the head of the log, and its readers."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Protocol, TypeAlias

import msgspec

from chatkit.backoff import Backoff
from chatkit.core.backend import Backend, Page, RoomAdvanced
from chatkit.core.model import Cursor, Gap, Head, Message
from chatkit.core.page_cache import PageCache
from chatkit.core.position import is_in_log, resume
from chatkit.core.roster import Change
from chatkit.core.segment import MAX_MESSAGES, Segment
from chatkit.errors import ChatkitError

MAX_EARLY = 64  # notifications of a room that is being opened: more come only while the store hardly answers
UNKEPT_MESSAGES = 4_096  # of a tail behind which there is no store: what many publish between two turns of the loop
OPENING_MESSAGES = 64  # enough for a join with the usual ten; readers further back have pages loaded
MESSAGE_CHARS = 64  # a message counts as much beside its body, where growth is measured
FIRST_RETRY_S, MAX_RETRY_S = 0.05, 2.0  # a store that is back is noticed within this time

_logger = logging.getLogger(__name__)


class Redaction(msgspec.Struct, frozen=True):
    """Signal: a message's body was taken away."""

    room: str
    seq: int


class Typing(msgspec.Struct, frozen=True):
    """Signal: somebody is writing."""

    room: str
    sender: str


class StoreUnavailable(msgspec.Struct, frozen=True):
    """Signal: nothing arrives from other processes, and perhaps nothing can be stored; `reason` is a sentence."""

    reason: str


class StoreAvailable(msgspec.Struct, frozen=True):
    """Signal: the store is back; what happened in the meantime is read on."""


Signal: TypeAlias = Change | Redaction | Typing | StoreUnavailable | StoreAvailable
"""What reaches readers beside the log: not numbered, not stored, not repeated to readers that were away."""


Wake: TypeAlias = Callable[[], None]
"""Called when there is something to read. It must neither wait nor raise."""


class RoomReader(Protocol):
    """A reader of a room in this process."""

    def notify(self, signal: Signal) -> None:
        """Pass a signal to the reader. Must neither wait nor raise."""

    def close(self) -> None:
        """Stop reading."""


class Room:
    """One room's feed, and its readers in this process.

    `grow` gets every notification of the log, in whatever order; the feed is extended by what follows its last
    message, and the rest is read from the backend, which alone is the truth.
    """

    __slots__ = (
        "_backend",
        "_early",
        "_is_filling",
        "_is_stale",
        "_n_redactions",
        "_pages",
        "_spawn",
        "feed",
        "is_open",
        "keeps_history",
        "lock",
        "n_checks",
        "readers",
        "room",
        "users",
    )

    def __init__(
        self, room: str, backend: Backend, pages: PageCache, spawn: Callable[[Coroutine[None, None, None]], object]
    ) -> None:
        self.room = room
        self.feed = Segment(Head("", 1, 0), (), None if backend.keeps_history else UNKEPT_MESSAGES)
        # In the order in which they came: an arrival or departure moves no other reader. With what wakes each.
        self.readers: dict[RoomReader, Wake] = {}
        self.users = 0  # readers, and those about to be: the room is kept as long as there are any
        self.is_open = False
        self.lock = asyncio.Lock()  # opening and closing take turns: a late unwatch must not end a new watch
        self.keeps_history = backend.keeps_history
        self._backend = backend
        self._pages = pages
        self._spawn = spawn
        self._is_stale = False  # something was heard of that the feed does not have
        self._is_filling = False
        self.n_checks = 0  # how often the feed was compared with the backend's log
        self._n_redactions = 0
        # Without a history: what was heard before there was a feed to take it, and can be read nowhere.
        self._early: deque[RoomAdvanced] = deque(maxlen=MAX_EARLY)

    async def open(self) -> None:
        """Watch the room and load its tail; the caller holds the lock."""
        self._is_stale = False
        self._early.clear()
        try:
            await self._backend.watch(self.room)
            page = await self.read(limit=OPENING_MESSAGES)
        except BaseException:
            # A watch that was cancelled may have happened. Who cancelled, or what failed first, is what counts.
            with suppress(ChatkitError):
                await self._backend.unwatch(self.room)
            raise
        self.feed.restart(page.head, page.messages)
        self.is_open = True
        if not self.keeps_history:
            self._take_early()
        elif self._is_stale:  # heard of between the watch and the read, when there was no feed to take it
            self.check()

    def _take_early(self) -> None:
        early, self._is_stale = list(self._early), False
        self._early.clear()
        for grown in early:
            if grown.epoch == self.feed.epoch:
                self.grow(grown.last, grown.messages, grown.epoch)
            else:
                self.check()

    async def close(self) -> None:
        """Watch the room no more; the caller holds the lock."""
        self.is_open = False
        await self._backend.unwatch(self.room)

    async def read(self, *, after: int | None = None, before: int | None = None, limit: int) -> Page:
        """Read the room from the backend; what was taken away meanwhile is not in the page."""
        while True:
            n_redactions = self._n_redactions
            page = await self._backend.read(self.room, after=after, before=before, limit=limit)
            if n_redactions == self._n_redactions:
                return page

    def redact(self, seq: int) -> None:
        """Remove a message's body from memory, and notify the readers."""
        self._n_redactions += 1
        self.feed.redact(seq)
        self._pages.redact(self.room, seq)
        self.notify(Redaction(self.room, seq))

    def grow(self, last: int, messages: Sequence[Message], epoch: str = "") -> int:
        """Note that the log reached `last`, with its newest messages if they are known; return by how much it grew.

        That is in characters, `MESSAGE_CHARS` for each message beside its body; 0 where the feed did not grow. `epoch`
        is the log's, if it is known and no message has it.
        """
        feed = self.feed
        if not self.is_open:
            self._is_stale = True
            if not self.keeps_history:
                self._early.append(RoomAdvanced(self.room, last, messages, messages[-1].epoch if messages else epoch))
            return 0
        fresh = messages if messages and messages[0].seq > feed.last else [m for m in messages if m.seq > feed.last]
        if fresh and fresh[0].seq == feed.last + 1 and fresh[0].epoch == feed.epoch:
            n_chars = feed.extend(fresh)
            if not self.keeps_history:
                feed.log_first = feed.last + 1
            return n_chars + MESSAGE_CHARS * len(fresh)
        is_new_life = (messages[-1].epoch if messages else epoch) not in ("", feed.epoch)
        if messages and not self.keeps_history and (fresh or is_new_life):
            # What lies between is nowhere to be had: the feed goes on with what there is, and readers find the gap.
            feed.restart(Head(messages[-1].epoch, last + 1, last), messages)
            return feed.n_chars + MESSAGE_CHARS * len(messages)
        if last > feed.last or is_new_life:
            self.check()
        return 0

    def check(self) -> None:
        """Compare the feed with the backend's log, extend it by what it does not have, and wake the readers."""
        self._is_stale = True
        if self.is_open and not self._is_filling:
            self._is_filling = True
            self._spawn(self._fill())

    async def _fill(self) -> None:
        backoff = Backoff(FIRST_RETRY_S, MAX_RETRY_S)
        try:
            while self.is_open and self._is_stale:
                self._is_stale = False
                try:
                    await self._fill_once()
                    backoff.reset()
                    self.n_checks += 1
                    self.wake()
                except Exception as error:
                    self._is_stale = True
                    if isinstance(error, ChatkitError):
                        _logger.warning("room %s cannot be read on: %s", self.room, error)
                    else:  # whatever it is, those who read here must not be deaf from now on
                        _logger.exception("room %s cannot be read on", self.room)
                    await asyncio.sleep(backoff.next_s())
        finally:
            self._is_filling = False

    async def _fill_once(self) -> None:
        feed = self.feed
        known = feed.last
        page = await self.read(after=known, limit=MAX_MESSAGES)
        if page.head.epoch == feed.epoch and page.head.last >= known:
            # The feed may have grown by itself meanwhile, by this process's own appends.
            fresh = [message for message in page.messages if message.seq > feed.last]
            follows = bool(fresh) and fresh[0].seq == feed.last + 1
            if follows and page.complete:
                feed.extend(fresh)
            if follows or page.head.last <= feed.last:
                feed.log_first = page.head.first
                if page.complete:
                    return
        # A new life of the log, a hole that was trimmed, or too far behind: the feed starts again at the newest end,
        # and each reader finds from its own position what it is owed, be it messages of the store's or a gap.
        newest = await self.read(limit=MAX_MESSAGES)
        if newest.head.epoch != feed.epoch or newest.head.last > feed.last or newest.head.last < known:
            feed.restart(newest.head, newest.messages)

    async def place(self, had: Cursor, oldest: int) -> tuple[Cursor, Gap | None]:
        """Return where a reader that stood at `had` goes on, and what it missed, as the store says.

        Without history, a reader goes on with `oldest`, the first message that this process has for it.
        """
        feed = self.feed
        if self.keeps_history:
            head = (await self.read(after=had.seq, limit=1)).head
            if head.epoch != feed.epoch or head.last > feed.last:
                self.check()  # the store has more than this process was notified of
            return resume(had, head)
        # Another process may have told the client of messages that are still on their way to this one.
        if had.epoch == feed.epoch and had.seq > feed.last and is_in_log(had, (await self.read(limit=1)).head):
            return had, None
        return resume(had, Head(feed.epoch, oldest, feed.last), keeps_history=False)

    def page(self, epoch: str, after: int) -> Segment | None:
        """Return the part of the past in which the message behind `after` is, if it is in memory."""
        return self._pages.find(self.room, epoch, after)

    async def load_page(self, epoch: str, after: int) -> Segment | None:
        """Return that part, from the store if need be; None where the log of that epoch has no such message."""
        return await self._pages.load(self.room, epoch, after, self._read_between)

    async def _read_between(self, after: int, before: int, limit: int) -> Page:
        return await self.read(after=after, before=before, limit=limit)

    def wake(self) -> None:
        """Wake every reader."""
        for wake in tuple(self.readers.values()):
            wake_reader(wake, self.room)

    def notify(self, signal: Signal) -> None:
        """Pass a signal to every reader."""
        for reader in tuple(self.readers):
            reader.notify(signal)

    def remove(self, reader: RoomReader) -> None:
        """Remove a reader, and wake it for the last time: what waits to read ends."""
        if (wake := self.readers.pop(reader, None)) is not None:
            wake_reader(wake, self.room)


def wake_reader(wake: Wake, room: str) -> None:
    """Call `wake`; one reader's mistake must not keep all others from reading."""
    try:
        wake()
    except Exception:
        _logger.exception("a reader of %s failed when it was woken", room)

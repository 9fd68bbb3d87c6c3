"""A room that has readers in this process: the recent tail of its log, and its readers.

The tail is kept at the head of the log. Knows no other rooms, no publishers and no members.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Protocol, TypeAlias

from chatkit.backoff import Backoff
from chatkit.core.backend import Backend, Page, RoomAdvanced
from chatkit.core.model import Cursor, Gap, Head, Message
from chatkit.core.page_cache import PageCache
from chatkit.core.position import is_in_log, resume
from chatkit.core.segment import MAX_MESSAGES, Segment
from chatkit.core.signals import Redaction, Signal
from chatkit.core.tasks import Spawn
from chatkit.errors import ChatkitError

MAX_EARLY = 64  # notifications of a room that is being opened: more arrive only while the store hardly answers
UNKEPT_MESSAGES = 4_096  # of a tail without a store behind it: many publishers' messages of one turn of the loop
OPENING_MESSAGES = 64  # enough for a join with the usual ten; readers further back load pages
MESSAGE_CHARS = 64  # counted for each message beside its body when the growth of a room is measured
FIRST_RETRY_S, MAX_RETRY_S = 0.05, 2.0  # so a store that is available again is noticed within two seconds

_logger = logging.getLogger(__name__)


Wake: TypeAlias = Callable[[], None]
"""A callback for a reader that has something to read. It must neither wait nor raise."""


class RoomReader(Protocol):
    """A reader of a room in this process. Its methods must neither wait nor raise."""

    is_closed: bool

    @property
    def n_read(self) -> int: ...

    @property
    def n_due(self) -> int: ...

    def notify(self, signal: Signal) -> None: ...

    def close(self) -> None: ...


class Room:
    """One room's tail, and its readers in this process.

    `grow` is called for every notification of the log, in any order. Messages that follow the last one extend the
    tail. Everything else is read from the backend, whose log is authoritative.
    """

    __slots__ = (
        "_backend",
        "_early",
        "_is_filling",
        "_is_stale",
        "_n_redactions",
        "_pages",
        "_spawn",
        "delivered_at",
        "is_open",
        "keeps_history",
        "lock",
        "n_checks",
        "n_users",
        "name",
        "readers",
        "tail",
        "work",
    )

    def __init__(self, name: str, backend: Backend, pages: PageCache, spawn: Spawn) -> None:
        self.name = name
        self.tail = Segment(Head("", 1, 0), (), None if backend.keeps_history else UNKEPT_MESSAGES)
        # Each reader's callback, in the order in which the readers came: none is moved when another comes or leaves.
        self.readers: dict[RoomReader, Wake] = {}
        self.delivered_at = -inf  # when the fan-out last woke the readers, by its clock
        self.work = (-inf, 0.0)  # when it last chose a pause, and how long the process had worked by then
        self.n_users = 0  # readers, and subscribe calls in progress: the room is kept as long as there are any
        self.is_open = False
        self.lock = asyncio.Lock()  # held while the room is opened or closed: a late unwatch must not end a new watch
        self.keeps_history = backend.keeps_history
        self._backend = backend
        self._pages = pages
        self._spawn = spawn
        self._is_stale = False  # a notification reported something that the tail does not have
        self._is_filling = False
        self.n_checks = 0  # how often the tail was compared with the backend's log
        self._n_redactions = 0
        # Without history: notifications that came before the tail was loaded. Their messages cannot be read anywhere.
        self._early: deque[RoomAdvanced] = deque(maxlen=MAX_EARLY)

    async def open(self) -> None:
        """Watch the room and load its tail. The caller holds the lock."""
        self._is_stale = False
        self._early.clear()
        try:
            await self._backend.watch(self.name)
            page = await self.read(limit=OPENING_MESSAGES)
        except BaseException:
            # A watch that was cancelled may have happened. The cancellation, or the first error, is the one to raise.
            with suppress(ChatkitError):
                await self._backend.unwatch(self.name)
            raise
        self.tail.restart(page.head, page.messages)
        self.is_open = True
        if not self.keeps_history:
            self._apply_early()
        elif self._is_stale:  # notified between the watch and the read, before there was a tail to extend
            self.check()

    def _apply_early(self) -> None:
        early, self._is_stale = list(self._early), False
        self._early.clear()
        for notification in early:
            if notification.epoch == self.tail.epoch:
                self.grow(notification.last, notification.messages, notification.epoch)
            else:
                self.check()

    async def close(self) -> None:
        """Stop watching the room. The caller holds the lock."""
        self.is_open = False
        await self._backend.unwatch(self.name)

    async def read(self, *, after: int | None = None, before: int | None = None, limit: int) -> Page:
        """Read the room from the backend. A message that is redacted during the read is not returned with its body."""
        while True:
            n_redactions = self._n_redactions
            page = await self._backend.read(self.name, after=after, before=before, limit=limit)
            if n_redactions == self._n_redactions:
                return page

    def redact(self, seq: int) -> None:
        """Remove a message's body from memory, and notify the readers."""
        self._n_redactions += 1
        self.tail.redact(seq)
        self._pages.redact(self.name, seq)
        self.notify(Redaction(self.name, seq))

    def grow(self, last: int, messages: Sequence[Message], epoch: str = "") -> int:
        """Extend the tail after the log reached `last`, and return by how many characters the tail grew.

        `messages` are the newest of the log, if they are known. `epoch` is the log's, if it is known and no message
        carries it. Each message counts `MESSAGE_CHARS` beside its body. The result is 0 if the tail did not grow.
        """
        tail = self.tail
        if not self.is_open:
            self._is_stale = True
            if not self.keeps_history:
                self._early.append(RoomAdvanced(self.name, last, messages, messages[-1].epoch if messages else epoch))
            return 0
        fresh = messages if messages and messages[0].seq > tail.last else [m for m in messages if m.seq > tail.last]
        if fresh and fresh[0].seq == tail.last + 1 and fresh[0].epoch == tail.epoch:
            n_chars = tail.extend(fresh)
            if not self.keeps_history:
                tail.log_first = tail.last + 1
            return n_chars + MESSAGE_CHARS * len(fresh)
        is_new_log = (messages[-1].epoch if messages else epoch) not in ("", tail.epoch)
        if messages and not self.keeps_history and (fresh or is_new_log):
            # The messages in between cannot be read anywhere: the tail restarts with these, and readers find the gap.
            tail.restart(Head(messages[-1].epoch, last + 1, last), messages)
            return tail.n_chars + MESSAGE_CHARS * len(messages)
        if last > tail.last or is_new_log:
            self.check()
        return 0

    def check(self) -> None:
        """Compare the tail with the backend's log, extend it by what it lacks, and wake the readers."""
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
                        _logger.warning("the log of room %s cannot be read: %s", self.name, error)
                    else:  # an unexpected error must not end all later deliveries in this room
                        _logger.exception("the log of room %s cannot be read", self.name)
                    await asyncio.sleep(backoff.next_s())
        finally:
            self._is_filling = False

    async def _fill_once(self) -> None:
        tail = self.tail
        known = tail.last
        page = await self.read(after=known, limit=MAX_MESSAGES)
        if page.head.epoch == tail.epoch and page.head.last >= known:
            # During the read, this process's own appends may have extended the tail.
            fresh = [message for message in page.messages if message.seq > tail.last]
            follows = bool(fresh) and fresh[0].seq == tail.last + 1
            if follows and page.complete:
                tail.extend(fresh)
            if follows or page.head.last <= tail.last:
                tail.log_first = page.head.first
                if page.complete:
                    return
        # The log has a new epoch, a trimmed hole, or more than one page of new messages. So the tail restarts at the
        # log's end, and each reader continues from its own position: with messages from the store, or with a gap.
        newest = await self.read(limit=MAX_MESSAGES)
        if newest.head.epoch != tail.epoch:
            self._pages.discard(self.name)  # the messages of a log that was deleted must not stay in memory
        if newest.head.epoch != tail.epoch or newest.head.last > tail.last or newest.head.last < known:
            tail.restart(newest.head, newest.messages)

    async def resume_from(self, had: Cursor, oldest: int) -> tuple[Cursor, Gap | None]:
        """Return where a reader with the position `had` continues, and the gap before that, by the head in the store.

        Without history, it continues with `oldest`, the first message that this process has for the reader.
        """
        tail = self.tail
        if self.keeps_history:
            head = (await self.read(after=had.seq, limit=1)).head
            if head.epoch != tail.epoch or head.last > tail.last:
                self.check()  # the store has more than this process was notified of
            return resume(had, head)
        # Another process may have delivered messages to the client that have not yet reached this process.
        if had.epoch == tail.epoch and had.seq > tail.last and is_in_log(had, (await self.read(limit=1)).head):
            return had, None
        return resume(had, Head(tail.epoch, oldest, tail.last), keeps_history=False)

    def find_page(self, epoch: str, after: int) -> Segment | None:
        """Return the page of history that has the message after `after`, if that page is in memory."""
        return self._pages.find(self.name, epoch, after)

    async def load_page(self, epoch: str, after: int) -> Segment | None:
        """Return that page, read from the store if necessary; None if the log of that epoch has no such message."""
        return await self._pages.load(self.name, epoch, after, self._read_between)

    async def _read_between(self, after: int, before: int, limit: int) -> Page:
        return await self.read(after=after, before=before, limit=limit)

    def wake(self) -> None:
        for wake in tuple(self.readers.values()):
            wake_reader(wake, self.name)

    def notify(self, signal: Signal) -> None:
        for reader in tuple(self.readers):
            reader.notify(signal)

    def remove(self, reader: RoomReader) -> None:
        """Remove a reader and wake it a last time, which ends a read that waits."""
        if (wake := self.readers.pop(reader, None)) is not None:
            wake_reader(wake, self.name)


def wake_reader(wake: Wake, room: str) -> None:
    """Call `wake` and log what it raises: an error in one reader must not stop the others."""
    try:
        wake()
    except Exception:
        _logger.exception("a reader of %s failed when it was woken", room)

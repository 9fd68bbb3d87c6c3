"""MemoryBackend: rooms in this process's memory, lost when it ends. The reference implementation of the contract.

Each room keeps its newest messages, whether it has readers or not. Only a search yields to the event loop; every other
method runs without interruption and is therefore atomic.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Self

import msgspec

from chatkit.backends.notifications import NotificationQueue
from chatkit.backends.records import MemoryRecords
from chatkit.backends.renaming import check_rename, choose_suffix
from chatkit.core.backend import (
    Backend,
    Filter,
    MessageRedacted,
    Notification,
    Page,
    PresenceChange,
    RoomAdvanced,
    RoomInfo,
    new_epoch,
)
from chatkit.core.loading import check_keys, check_load, choose_new
from chatkit.core.model import Cursor, Draft, Head, Member, Message, Receipt
from chatkit.core.page_size import cut_page
from chatkit.core.records import Record, RecordChanges
from chatkit.core.repeat import repeat_of
from chatkit.errors import NotFound

DEFAULT_KEEP = 1_000  # a room of short messages then takes less than a megabyte
SLICE_CHARS = 1 << 14  # of bodies, searched in one turn of the event loop: a few hundred microseconds
CHARS_A_MESSAGE = 64  # the cost of a message besides its body


class MemoryLog:
    """One room: the messages that are kept, without holes, and their keys by sender.

    The number of the first new message is `last + 1`.
    """

    __slots__ = ("home", "keys", "last", "messages", "time_ms")

    def __init__(self, last: int = 0) -> None:
        self.messages: list[Message] = []
        self.keys: dict[tuple[str, str], int] = {}
        self.last = last
        self.time_ms = 0
        self.home = ""  # the first name of a log that was renamed

    @property
    def first(self) -> int:
        """The number of the oldest message that is kept; `last + 1` if none is."""
        return self.last - len(self.messages) + 1

    def between(self, after: int, before: int) -> list[Message]:
        """Return the messages between two numbers, both exclusive."""
        return self.messages[max(after + 1 - self.first, 0) : max(before - self.first, 0)]

    def recheck(self, messages: Iterable[Message], where: Filter) -> list[Message]:
        """Return the current state of messages that a search found, without those that no longer match.

        A search yields to the event loop, so that messages may be redacted or trimmed before it ends.
        """
        kept = [self.messages[message.seq - self.first] for message in messages if message.seq >= self.first]
        return kept if where.search is None else [message for message in kept if not message.redacted]

    def add(self, message: Message) -> None:
        """Append a message."""
        self.messages.append(message)
        self.last, self.time_ms = message.seq, message.time_ms
        if message.key is not None:
            self.keys[message.sender, message.key] = message.seq

    def drop(self, count: int) -> int:
        """Drop the `count` oldest messages; return how many were dropped."""
        dropped = self.messages[: max(count, 0)]
        del self.messages[: len(dropped)]
        for message in dropped:
            if message.key is not None:
                del self.keys[message.sender, message.key]
        return len(dropped)


class MemoryBackend(Backend):
    """At most `keep` messages of each room, in memory. A backend that is opened again still has its rooms.

    A subclass may override when a room is created (`_make_room`) and what is dropped after an append (`_trim_room`),
    and may append synchronously (`_commit`).
    """

    shared = False

    def __init__(self, *, keep: int = DEFAULT_KEEP) -> None:
        self._keep = keep
        self._epoch = new_epoch()
        self._epochs: dict[str, str] = {}  # of the rooms that were deleted
        self._records = MemoryRecords()
        self._logs: dict[str, MemoryLog] = {}
        self._watched: set[str] = set()
        self._notifications = NotificationQueue()

    async def __aenter__(self) -> Self:
        self._notifications = NotificationQueue()
        self._watched.clear()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._notifications.close()

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        return self._commit(drafts)

    async def read(
        self,
        room: str,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int = 100,
        where: Filter | None = None,
    ) -> Page:
        log = self._logs.get(room) or MemoryLog()  # a read must not create the room
        head, is_forward = self._head(room, log), after is not None
        found = log.between(after or 0, log.last + 1 if before is None else before)
        if where is not None:
            found = await choose(found if is_forward else found[::-1], where, limit + 1)
            found = log.recheck(found if is_forward else found[::-1], where)
        page = cut_page(found[:limit] if is_forward else found[-limit:], is_forward=is_forward)
        return Page(head, page, complete=len(page) == len(found))

    async def rooms(self) -> list[RoomInfo]:
        return [RoomInfo(room, self._head(room, log), log.time_ms) for room, log in sorted(self._logs.items())]

    async def redact(self, room: str, seq: int) -> Message:
        log = self._logs.get(room)
        if log is None or not log.first <= seq <= log.last:
            raise NotFound(f"there is no message {seq} in {room!r}")
        index = seq - log.first
        message = log.messages[index]
        if not message.redacted:
            message = msgspec.structs.replace(message, body="", data=None, redacted=True)
            log.messages[index] = message
            self._notify([MessageRedacted(room, seq)])
        return message

    async def trim(self, room: str | None = None, *, keep: int | None = None, before_ms: int | None = None) -> int:
        logs = self._logs.values() if room is None else [log] if (log := self._logs.get(room)) else []
        return sum(log.drop(_count_to_drop(log, keep, before_ms)) for log in logs)

    async def watch(self, room: str) -> None:
        self._watched.add(room)

    async def unwatch(self, room: str) -> None:
        self._watched.discard(room)

    def notifications(self) -> AsyncIterator[Notification]:
        return self._notifications.read()

    async def typing(self, room: str, sender: str) -> None:
        pass  # there is no other process

    async def announce(
        self, process: str, *, joined: Sequence[tuple[str, Member]], left: Sequence[tuple[str, Member]], ttl_s: float
    ) -> None:
        pass  # there is no other process

    async def poll_presence(self, process: str) -> Sequence[PresenceChange]:  # noqa: ARG002 - the contract's
        return ()

    async def get_record(self, kind: str, key: str) -> Record | None:
        return self._records.get(kind, key)

    async def put_record(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Record:
        return self._records.put(kind, key, value, expected_version=expected_version)

    async def scan_records(self, kind: str, prefix: str = "") -> Sequence[Record]:
        return self._records.scan(kind, prefix)

    async def record_changes(self, after: Cursor | None) -> RecordChanges:
        return self._records.changes(after)

    async def delete_room(self, room: str) -> bool:
        log = self._logs.get(room)
        if log is None or not log.last:
            return False
        del self._logs[room]
        self._epochs[room] = new_epoch()
        self._notify([RoomAdvanced(room, 0, epoch=self._epochs[room])])
        return True

    async def rename_room(self, room: str, new: str) -> bool:
        log = self._logs.get(room)
        if log is None or not log.last:
            return False
        check_rename(room, new, is_taken=new in self._logs and self._logs[new].last > 0)
        own = "" if self._epoch_of(room) == self._epoch else self._epoch_of(room)
        log.home = log.home or room
        epoch = choose_suffix(own, log.home, new, self._epochs.get(new, "")) or self._epoch
        log.messages[:] = [msgspec.structs.replace(message, room=new, epoch=epoch) for message in log.messages]
        self._logs[new] = log
        self._epochs[new] = epoch
        del self._logs[room]
        self._epochs[room] = new_epoch()
        self._notify([RoomAdvanced(room, 0, epoch=self._epochs[room]), RoomAdvanced(new, log.last, epoch=epoch)])
        return True

    async def load(self, messages: Sequence[Message]) -> int:
        check_load(messages)
        room = messages[0].room if messages else ""
        log = self._logs.get(room) or MemoryLog()
        new = choose_new(messages, self._head(room, log))
        if not new:
            return 0
        check_keys(new, log.keys.keys())
        self._make_room(room)
        self._logs[room].last = new[0].seq - 1
        for message in new:
            self._logs[room].add(msgspec.structs.replace(message, epoch=self._epoch_of(room)))
        self._trim_room(room)
        self._notify([RoomAdvanced(room, new[-1].seq, epoch=self._epoch_of(room))])
        return len(new)

    def _commit(self, drafts: Sequence[Draft]) -> list[Receipt]:
        rooms = dict.fromkeys(draft.room for draft in drafts)
        for room in rooms:
            self._make_room(room)
        receipts = [self._append(draft) for draft in drafts]
        for room in rooms:
            self._trim_room(room)
        return receipts

    def _make_room(self, room: str) -> None:
        """Create the room if it does not exist."""
        if room not in self._logs:
            self._logs[room] = MemoryLog()

    def _trim_room(self, room: str) -> None:
        """Drop the messages over the limit after an append."""
        log = self._logs[room]
        log.drop(len(log.messages) - self._keep)

    def _notify(self, notifications: Iterable[RoomAdvanced | MessageRedacted]) -> None:
        """Queue the notifications of watched rooms."""
        self._notifications.put(item for item in notifications if item.room in self._watched)

    def _head(self, room: str, log: MemoryLog) -> Head:
        return Head(self._epoch_of(room), log.first, log.last)

    def _epoch_of(self, room: str) -> str:
        return self._epochs.get(room, self._epoch)

    def _append(self, draft: Draft) -> Receipt:
        log = self._logs[draft.room]
        if draft.key is not None and (stored := log.keys.get((draft.sender, draft.key))) is not None:
            return repeat_of(draft, log.messages[stored - log.first])
        message = draft.to_message(self._epoch_of(draft.room), log.last + 1, _now_ms())
        log.add(message)
        return Receipt(message)


async def choose(messages: Iterable[Message], where: Filter, limit: int) -> list[Message]:
    """Return the first `limit` messages that match the filter. Yield to the event loop after each slice of them."""
    found: list[Message] = []
    n_chars = 0
    for message in messages:
        if where.matches(message):
            found.append(message)
            if len(found) >= limit:
                break
        n_chars += CHARS_A_MESSAGE + len(message.body)
        if n_chars >= SLICE_CHARS:
            n_chars = 0
            await asyncio.sleep(0)
    return found


def _count_to_drop(log: MemoryLog, keep: int | None, before_ms: int | None) -> int:
    by_count = 0 if keep is None else len(log.messages) - keep
    by_time = 0 if before_ms is None else _count_expired(log.messages, before_ms, _now_ms())
    return max(by_count, by_time)


def _count_expired(messages: Sequence[Message], before_ms: int, now_ms: int) -> int:
    """Count the messages up to the last old one that has no young one before it; see `Backend.trim`."""
    n_old = 0
    for n, message in enumerate(messages, 1):
        if message.time_ms < before_ms:
            n_old = n
        elif message.time_ms <= now_ms:
            break
    return n_old


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

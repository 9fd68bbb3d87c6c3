"""MemoryBackend: rooms in this process's memory, lost when it ends. The reference implementation of the contract.

Each room keeps its newest messages, whether it has readers or not. Only searches and trims yield to the event loop;
every other method runs without interruption and is therefore atomic.
"""

import asyncio
import time
from bisect import bisect_left, insort
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from heapq import nlargest
from itertools import islice
from types import TracebackType
from typing import Self

import msgspec

from chatkit.backends.memory_log import MemoryLog
from chatkit.backends.notifications import NotificationQueue
from chatkit.backends.records import MemoryRecords
from chatkit.backends.renaming import check_rename, choose_suffix
from chatkit.core.backend import (
    Backend,
    Filter,
    MentionPosition,
    MessageRedacted,
    Notification,
    Page,
    PresenceChange,
    RoomAdvanced,
    RoomInfo,
    RoomUnread,
    new_epoch,
)
from chatkit.core.loading import check_keys, check_load, choose_new
from chatkit.core.model import Cursor, Draft, Head, Member, Message, Receipt
from chatkit.core.name_range import EVERY_NAME, NameRange
from chatkit.core.page_size import cut_page
from chatkit.core.records import Record, RecordChanges
from chatkit.core.repeat import repeat_of
from chatkit.errors import NotFound

DEFAULT_KEEP = 1_000  # a room of short messages then takes less than a megabyte
SLICE_CHARS = 1 << 14  # of bodies, searched in one turn of the event loop: a few hundred microseconds
TRIM_STEP = 500  # messages dropped in one turn of the event loop: a few hundred microseconds
CHARS_A_MESSAGE = 64  # the cost of a message besides its body


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
        self._names: list[str] = []  # of `_logs`, in order
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
        folded: bool = False,
    ) -> Page:
        log = self._logs.get(room) or MemoryLog()  # a read must not create the room
        head, is_forward = self._head(room, log), after is not None
        low = max(after or 0, (where.above if where else None) or 0)
        entries = log.between(low, log.last + 1 if before is None else before)
        in_order: Iterable[Message] = entries if is_forward else reversed(entries)
        if folded:
            in_order = log.fold(in_order)
        if where is None:
            found = list(islice(in_order, limit + 1))
        else:
            found = log.recheck(await choose(in_order, where, limit + 1), where, folded=folded)
        chosen = found[:limit] if is_forward else found[:limit][::-1]
        page = cut_page(chosen, is_forward=is_forward)
        return Page(head, page, complete=len(page) == len(found))

    async def rooms(self, *, start: str = "", end: str | None = None, limit: int | None = None) -> list[RoomInfo]:
        first = bisect_left(self._names, start)
        last = len(self._names) if end is None else bisect_left(self._names, end)
        chosen = self._names[first : last if limit is None else min(last, first + limit)]
        return [RoomInfo(room, self._head(room, log), log.time_ms) for room in chosen for log in [self._logs[room]]]

    async def heads(self, rooms: Collection[str]) -> dict[str, Head]:
        return {room: self._head(room, log) for room in rooms if (log := self._logs.get(room)) is not None}

    async def redact(self, room: str, seq: int) -> Message:
        log = self._logs.get(room)
        if log is None or not log.first <= seq <= log.last:
            raise NotFound(f"there is no message {seq} in {room!r}")
        self._notify([MessageRedacted(room, number) for number in log.redact(seq)])
        return log.messages[seq - log.first]

    async def has_reaction(self, room: str, seq: int, emoji: str, sender: str) -> bool:
        log = self._logs.get(room)
        return log is not None and log.has_reaction(seq, emoji, sender)

    async def read_mentions(
        self,
        name: str,
        *,
        within: Sequence[NameRange] = (EVERY_NAME,),
        before: MentionPosition | None = None,
        limit: int = 100,
    ) -> Sequence[Message]:
        logs = [log for room, log in self._logs.items() if any(part.includes(room) for part in within)]
        found = [message for log in logs for message in log.mentions_of(name)]
        earlier = [message for message in found if before is None or _mention_position(message) < before]
        return nlargest(limit, earlier, key=_mention_position)

    async def count_unread(self, name: str, markers: Mapping[str, int], *, limit: int = 1_000) -> Sequence[RoomUnread]:
        found: list[RoomUnread] = []
        for room, log in sorted(self._logs.items()):
            mentions = [message.seq for message in log.mentions_of(name)]
            if log.last and (room in markers or mentions):
                marker = markers.get(room, 0)
                n_mentions = min(sum(seq > marker for seq in mentions), limit)
                found.append(RoomUnread(room, marker, log.last, _count_unread(log, name, marker, limit), n_mentions))
                await asyncio.sleep(0)
        return found

    async def trim(self, room: str | None = None, *, keep: int | None = None, before_ms: int | None = None) -> int:
        logs = list(self._logs.values()) if room is None else [log] if (log := self._logs.get(room)) else []
        n_dropped = n_in_slice = 0
        for log in logs:
            n_step = 1
            while n_step:
                n_step = log.drop(min(_count_to_drop(log, keep, before_ms), TRIM_STEP))
                n_dropped += n_step
                n_in_slice += n_step + 1  # a room costs about as much as a message
                if n_in_slice >= TRIM_STEP:
                    n_in_slice = 0
                    await asyncio.sleep(0)
        return n_dropped

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
        self._remove_log(room)
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
        self._add_log(new, log)
        log.rename(new, epoch)
        self._epochs[new] = epoch
        self._remove_log(room)
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
            self._add_log(room, MemoryLog())

    def _add_log(self, room: str, log: MemoryLog) -> None:
        if room not in self._logs:
            insort(self._names, room)
        self._logs[room] = log

    def _remove_log(self, room: str) -> MemoryLog:
        del self._names[bisect_left(self._names, room)]
        return self._logs.pop(room)

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


def _mention_position(message: Message) -> MentionPosition:
    return MentionPosition(message.time_ms, message.room, message.seq)


def _count_unread(log: MemoryLog, name: str, marker: int, limit: int) -> int:
    unread = (
        message
        for message in log.between(marker, log.last + 1)
        if message.act is None and message.sender != name and not message.redacted
    )
    return sum(1 for _ in islice(unread, limit))


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
    """Count the messages up to the last old one that has no young one before it; see `Backend.trim`.

    Counting ends when there are enough for a step of a trim.
    """
    n_old = 0
    for n, message in enumerate(messages, 1):
        if message.time_ms < before_ms:
            n_old = n
            if n_old >= TRIM_STEP:
                break
        elif message.time_ms <= now_ms:
            break
    return n_old


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

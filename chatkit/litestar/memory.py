"""MemoryChannelsBackend: channels in this process's memory, with what Litestar's does at its own level."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from chatkit.backends.memory import MemoryBackend, MemoryLog
from chatkit.core.backend import RoomAdvanced
from chatkit.core.model import Cursor, Draft, Message, Receipt
from chatkit.litestar.backends import NOT_STARTED, AbandonedChannels, LogChannelsBackend
from chatkit.litestar.events import Published
from chatkit.litestar.naming import room_of
from chatkit.litestar.payload import draft_of, payload_of

TAIL: Final = 512  # messages kept for readers that are behind, whatever the history
MAX_ROOMS: Final = 10_000  # channels whose history is kept while nobody reads them
_LOOKED_AT: Final = 64  # rooms, of those that were appended to longest ago, when one has to go


class ChannelsMemory(MemoryBackend):
    """Rooms in memory that may be entered again with what they hold, and appended to without waiting.

    `slowest` returns the number that the slowest reader of a room has read. What it has not read is kept for it,
    however much that is.
    """

    def __init__(self, history: int, slowest: Callable[[str], int | None] = lambda _: None) -> None:
        super().__init__(keep=max(history, TAIL))
        self._history = history
        self._slowest = slowest
        self._trim_at: dict[str, int] = {}  # the length at which a room is looked at again
        self._first_free = 0  # no number that a forgotten room used is used again

    async def watch(self, room: str) -> None:
        """Watch the room. It is made, so that those who wait for its first number know it."""
        self._make_room(room)
        await super().watch(room)

    def append_now(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Commit the drafts at once, and send a notification of each."""
        receipts = self._commit(drafts)
        self._notify(RoomAdvanced(each.room, each.seq, (each,)) for each in (receipt.message for receipt in receipts))
        return receipts

    def cursor_before(self, room: str, n_messages: int) -> Cursor:
        """Return the place so many messages before a room's end."""
        log = self._logs.get(room)
        if log is None:
            return Cursor(self._epoch, 0)
        return Cursor(self._epoch, max(log.last - n_messages, log.first - 1))

    def kept(self, room: str) -> list[Message]:
        """Return a room's history."""
        log = self._logs.get(room)
        return [] if log is None or not self._history else log.messages[-self._history :]

    def rooms_kept(self) -> list[str]:
        """Return the rooms that have a history."""
        return [room for room in self._logs if self.kept(room)]

    def forget(self, room: str) -> None:
        """Drop a room's messages."""
        if log := self._logs.get(room):
            log.drop(len(log.messages))

    def skip(self, room: str) -> None:
        """Drop a room's messages and leave one number out, so that a reader that goes on from before gets a gap."""
        if log := self._logs.get(room):
            log.drop(len(log.messages))
            log.last += 1

    def _make_room(self, room: str) -> None:
        log = self._logs.pop(room, None)
        if log is None:
            log = MemoryLog(self._first_free)
            if len(self._logs) >= MAX_ROOMS:
                self._forget_oldest()
        self._logs[room] = log  # at the end: the room that was appended to last

    def _forget_oldest(self) -> None:
        for room in islice(self._logs, _LOOKED_AT):
            if room not in self._watched:
                self._first_free = max(self._first_free, self._logs.pop(room).last)
                self._trim_at.pop(room, None)
                return

    def _trim_room(self, room: str) -> None:
        log = self._logs[room]
        if room not in self._watched:
            self._trim_at.pop(room, None)
            log.drop(len(log.messages) - self._history)
        elif len(log.messages) >= self._trim_at.get(room, 2 * self._keep):
            slowest = self._slowest(room)
            n_read = len(log.messages) if slowest is None else slowest - log.first + 1
            log.drop(min(len(log.messages) - self._keep, n_read))
            self._trim_at[room] = max(2 * self._keep, 2 * len(log.messages))  # looked at rarely, however long it gets


class MemoryChannelsBackend(LogChannelsBackend):
    """The newest `history` events of each channel, in memory, gone with the process.

    `unsubscribe` by hand forgets a channel's history, as Litestar's does; when a subscriber leaves, it stays.
    """

    def __init__(self, history: int = 0) -> None:
        self._memory = ChannelsMemory(history, self.slowest_in)
        super().__init__(lambda: self._memory, history=history)

    @property
    def _history(self) -> "HistoryView":
        return HistoryView(self._memory, self._max_history or 0)

    async def publish(self, data: bytes, channels: Iterable[str]) -> list[Published]:  # type: ignore[override]  # None
        """Add an event to each channel, at once. Raise `RuntimeError` before `on_startup`."""
        if self._hub is None:
            raise RuntimeError(NOT_STARTED)
        names = list(channels)
        receipts = self._memory.append_now([draft_of(room_of(name), data) for name in names])
        return [Published.of(name, receipt.message) for name, receipt in zip(names, receipts, strict=True)]

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Have `stream_events` give no more events of these channels, and forget their history."""
        names = channels if isinstance(channels, AbandonedChannels) else list(channels)
        await super().unsubscribe(names)
        if not isinstance(names, AbandonedChannels):
            for channel in names:
                self._memory.forget(room_of(channel))

    def start_of(self, channel: str, history: int) -> Cursor:
        """Return where a subscriber begins: what is published at once is in the log before the hub hears of it."""
        return self._memory.cursor_before(room_of(channel), history)

    def last_of(self, channel: str) -> int:
        """Return the number of the newest event."""
        return self._memory.cursor_before(room_of(channel), 0).seq

    async def get_history(self, channel: str, limit: int | None = None) -> list[bytes]:
        """Return the newest events of a channel; see `LogChannelsBackend`."""
        n_events = self.history_limit(limit)
        kept = self._memory.kept(room_of(channel))
        return [payload_of(message) for message in kept[max(len(kept) - n_events, 0) :]]


class HistoryView(Mapping[str, deque[bytes]]):
    """The histories, as Litestar's backend keeps them by channel: each a copy to look at; `pop` and `clear` forget."""

    def __init__(self, memory: ChannelsMemory, max_events: int) -> None:
        self._memory = memory
        self._max_events = max_events

    def __getitem__(self, channel: str) -> deque[bytes]:
        return deque(map(payload_of, self._memory.kept(room_of(channel))), maxlen=self._max_events)

    def __contains__(self, channel: object) -> bool:
        return isinstance(channel, str) and bool(self._memory.kept(room_of(channel)))

    def __iter__(self) -> Iterator[str]:
        return iter(self._memory.rooms_kept())

    def __len__(self) -> int:
        return len(self._memory.rooms_kept())

    def pop(self, channel: str, default: object = None) -> object:
        """Forget a channel's history, and return it."""
        history: object = deque(self[channel]) if channel in self else default
        self._memory.forget(room_of(channel))
        return history

    def clear(self) -> None:
        """Forget every channel's history."""
        for room in self._memory.rooms_kept():
            self._memory.forget(room)

"""MemoryChannelsBackend: channels in this process's memory, with the behaviour of Litestar's memory backend."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final

from chatkit.backends.memory import MemoryBackend
from chatkit.backends.memory_log import MemoryLog
from chatkit.core.backend import RoomAdvanced
from chatkit.core.model import Cursor, Draft, Message, Receipt
from chatkit.litestar.backends import NOT_STARTED, AbandonedChannels, LogChannelsBackend
from chatkit.litestar.events import Published, draft_of, payload_of, room_of
from chatkit.litestar.private_names import HistoryView

TAIL: Final = 512  # messages kept for readers that are behind, independent of the history
MAX_ROOMS: Final = 10_000  # channels whose history is kept while they have no reader
_EXAMINED: Final = 64  # of the rooms least recently appended to, to find one to remove


class ChannelsMemory(MemoryBackend):
    """Rooms in memory that keep their messages between two starts, and accept messages without waiting.

    `slowest` returns the last seq that the slowest reader of a room has read. All later messages are kept for it,
    without a limit.
    """

    def __init__(self, history: int, slowest: Callable[[str], int | None] = lambda _: None) -> None:
        super().__init__(keep=max(history, TAIL))
        self._history = history
        self._slowest = slowest
        self._trim_at: dict[str, int] = {}  # the length at which a room is examined again
        self._first_free = 0  # the seqs of a removed room are not reused

    async def watch(self, room: str) -> None:
        """Watch the room. Create it, so that readers that wait for its first message have an epoch."""
        self._make_room(room)
        await super().watch(room)

    def append_now(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Commit the drafts at once, and notify of each message."""
        receipts = self._commit(drafts)
        self._notify(RoomAdvanced(each.room, each.seq, (each,)) for each in (receipt.message for receipt in receipts))
        return receipts

    def cursor_before(self, room: str, n_messages: int) -> Cursor:
        """Return the cursor that is `n_messages` before a room's end."""
        log = self._logs.get(room)
        if log is None:
            return Cursor(self._epoch_of(room), 0)
        return Cursor(self._epoch_of(room), max(log.last - n_messages, log.first - 1))

    def history(self, room: str) -> list[Message]:
        """Return a room's history."""
        log = self._logs.get(room)
        return [] if log is None or not self._history else log.messages[-self._history :]

    def rooms_with_history(self) -> list[str]:
        """Return the rooms that have a history."""
        return [room for room in self._logs if self.history(room)]

    def forget(self, room: str) -> None:
        """Drop a room's messages."""
        if log := self._logs.get(room):
            log.drop(len(log.messages))

    def skip(self, room: str) -> None:
        """Drop a room's messages and skip one seq, so that a reader that resumes from before gets a gap."""
        if log := self._logs.get(room):
            log.drop(len(log.messages))
            log.last += 1

    def _make_room(self, room: str) -> None:
        log = self._logs.pop(room, None)
        if log is None:
            log = MemoryLog(self._first_free)
            if len(self._logs) >= MAX_ROOMS:
                self._forget_oldest()
            self._add_log(room, log)
        else:
            self._logs[room] = log  # the order is that of the last append

    def _forget_oldest(self) -> None:
        for room in islice(self._logs, _EXAMINED):
            if room not in self._watched:
                self._first_free = max(self._first_free, self._remove_log(room).last)
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
            self._trim_at[room] = max(2 * self._keep, 2 * len(log.messages))  # a longer log is examined less often


class MemoryChannelsBackend(LogChannelsBackend):
    """Channels in memory, which end with the process. Each keeps its newest `history` events.

    A call of `unsubscribe` by the application deletes a channel's history, as in Litestar. When the last subscriber
    leaves a channel, its history is kept.
    """

    def __init__(self, history: int = 0) -> None:
        self._memory = ChannelsMemory(history, self.slowest_position)
        super().__init__(lambda: self._memory, history=history)

    @property
    def _history(self) -> HistoryView:
        return HistoryView(self._memory, self._max_history or 0)

    async def publish(self, data: bytes, channels: Iterable[str]) -> list[Published]:  # type: ignore[override]  # None
        """Add an event to each channel, at once. Raise `RuntimeError` before `on_startup`."""
        if self._hub is None:
            raise RuntimeError(NOT_STARTED)
        names = list(channels)
        receipts = self._memory.append_now([draft_of(room_of(name), data) for name in names])
        return [Published.of(name, receipt.message) for name, receipt in zip(names, receipts, strict=True)]

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Stop delivering these channels' events to `stream_events`, and delete their history."""
        names = channels if isinstance(channels, AbandonedChannels) else list(channels)
        await super().unsubscribe(names)
        if not isinstance(names, AbandonedChannels):
            for channel in names:
                self._memory.forget(room_of(channel))

    def start_cursor(self, channel: str, history: int) -> Cursor:
        """Return a subscriber's first position. The hub may not know it: `publish` writes to the log directly."""
        return self._memory.cursor_before(room_of(channel), history)

    def last_seq(self, channel: str) -> int:
        """Return the seq of the newest event."""
        return self._memory.cursor_before(room_of(channel), 0).seq

    async def get_history(self, channel: str, limit: int | None = None) -> list[bytes]:
        """Return the newest events of a channel; see `LogChannelsBackend`."""
        n_events = self.history_limit(limit)
        kept = self._memory.history(room_of(channel))
        return [payload_of(message) for message in kept[max(len(kept) - n_events, 0) :]]

"""A reader's position in one room, and the items that have arrived for it and are not read yet. Knows no socket.

The buffer is bounded. When it is full, the connection first stops reading its socket, as the reader may be about to
continue. A reader that reads nothing for longer is *parked*: the room is left, so that it does not delay other readers,
and joined again by cursor when the buffer is empty. Nothing is lost by it, and memory stays bounded.
"""

import asyncio
from collections import deque
from enum import Enum
from typing import Final, assert_never

from chatkit.client.signals import Item, Joined, Presence, Redacted, Signal
from chatkit.client.validation import read_members
from chatkit.core.model import Cursor, Gap, check_room
from chatkit.core.signals import RoomChanged, Typing
from chatkit.errors import BadName
from chatkit.wire.protocol import (
    GapEvent,
    JoinCommand,
    JoinedEvent,
    MessageEvent,
    PresenceEvent,
    RedactedEvent,
    RoomEvent,
    TypingEvent,
)

MAX_ITEMS: Final = 2_000  # a page of history, and what arrives while it is printed
MAX_RENAMES: Final = 16  # of one room, one after another: more come from a server that contradicts itself
MAX_BYTES: Final = 4 * 2**20  # of the events that brought them: 64 bodies of the largest size

LiveEvent = MessageEvent | GapEvent | PresenceEvent | TypingEvent | RedactedEvent | RoomEvent


class FollowState(Enum):
    """Whether a room is joined: not, requested, delivered, or left until its reader has emptied the buffer."""

    OUT = 0
    JOINING = 1
    LIVE = 2
    PARKED = 3


class RoomFollower:
    """The buffer between a connection, which calls `receive`, and a `Client.follow`, which calls `next`."""

    def __init__(self, room: str, after: Cursor | None, history: int, *, with_signals: bool) -> None:
        self.room = room
        self.state = FollowState.OUT
        self.join_ref = 0
        self._history = history
        self._cursor = after
        self._epoch = ""
        self._with_signals = with_signals
        self._items: deque[tuple[Item | Signal, int]] = deque()  # each with the size of its event
        self._n_bytes = 0
        self._n_renames = 0  # since the last join
        self._end: Exception | None = None
        self._arrived = asyncio.Event()  # set while `next` has something to return, or the end to raise
        self._drained = asyncio.Event()  # set when the buffer is no longer full: the connection continues to read

    @property
    def is_full(self) -> bool:
        """Whether the reader has to read before more can be received."""
        return len(self._items) >= MAX_ITEMS or self._n_bytes >= MAX_BYTES

    @property
    def is_overrun(self) -> bool:
        """Whether the connection has to wait, or to leave the room, before it receives more."""
        return self.state is FollowState.LIVE and self.is_full

    @property
    def is_empty(self) -> bool:
        """Whether the reader has read everything."""
        return not self._items

    def rename(self, room: str) -> bool:
        """Continue at the new name of the room. Return false if the name is invalid, or rooms lead to each other."""
        if self._n_renames >= MAX_RENAMES:
            return False
        try:
            self.room = check_room(room)
        except BadName:
            return False
        self._n_renames += 1
        return True

    def join(self, ref: int) -> JoinCommand:
        """Return the command that joins at this reader's position; events before its answer are ignored."""
        self.state = FollowState.JOINING
        self.join_ref = ref
        if self._cursor is None:
            return JoinCommand(room=self.room, ref=ref, history=self._history)
        return JoinCommand(room=self.room, ref=ref, after=str(self._cursor))

    def receive(self, event: JoinedEvent | LiveEvent, size: int) -> None:
        """Add an event of the room, of `size` bytes."""
        if isinstance(event, JoinedEvent):
            if event.ref == self.join_ref and self.state is FollowState.JOINING:
                self._receive_joined(event, size)
        elif self.state is FollowState.LIVE:  # else it belongs to an earlier join, and the next join delivers it again
            self._receive_live(event, size)

    def notify(self, signal: Signal, size: int = 0) -> None:
        """Add a signal, if the reader wants signals."""
        # While the buffer is full, the connection receives nothing; only its own `ConnectionLost` and
        # `ConnectionRestored` can be dropped here, and a `Joined` will follow them.
        if self._with_signals and not self.is_full:
            self._put(signal, size)

    def end(self, error: Exception) -> None:
        """Close the buffer: the reader gets `error` after the items that have arrived."""
        if self._end is None:
            self._end = error
            self._arrived.set()

    async def next(self) -> Item | Signal:
        """Wait for the next item and return it. Raise the error that ended the buffer when all items are read."""
        while not self._items:
            if self._end is not None:
                raise self._end
            self._arrived.clear()
            await self._arrived.wait()
        item, size = self._items.popleft()
        self._n_bytes -= size
        if not self.is_full:
            self._drained.set()
        return item

    async def drained(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` until the buffer is no longer full; return False after a timeout."""
        self._drained.clear()
        try:
            async with asyncio.timeout(timeout_s):
                while self.is_full and self._end is None:
                    self._drained.clear()
                    await self._drained.wait()
        except TimeoutError:
            return False
        return True

    def _receive_joined(self, event: JoinedEvent, size: int) -> None:
        at = Cursor.parse(event.cursor)
        self.state = FollowState.LIVE
        self._n_renames = 0
        self._epoch = at.epoch
        # When resuming, the reader's own cursor is kept until something arrives: if the connection broke before the gap
        # that is due, the server's cursor would lose the gap.
        self._cursor = self._cursor or at
        members = read_members(event.members)
        settings = (event.rights, event.topic, event.archived)
        self.notify(Joined(self.room, at.epoch, event.first, event.last, members, event.count, *settings), size)

    def _receive_live(self, event: LiveEvent, size: int) -> None:
        match event:
            case MessageEvent():
                if self._is_new(event.seq):
                    self._cursor = Cursor(self._epoch, event.seq)
                    self._put(event.to_message(self._epoch), size)
            case GapEvent():
                self._cursor = Cursor(self._epoch, event.before - 1)
                self._put(Gap(event.after, event.before, event.reason), size)
            case PresenceEvent():
                self.notify(Presence(self.room, event.joined or (), event.left or (), event.count), size)
            case TypingEvent():
                self.notify(Typing(self.room, event.sender), size)
            case RedactedEvent():
                self.notify(Redacted(self.room, event.seq), size)
            case RoomEvent():
                self.notify(RoomChanged(self.room, event.topic, event.archived), size)
            case _:
                assert_never(event)

    def _is_new(self, seq: int) -> bool:
        """Return whether a message is behind the last: a server that repeats some must not break the order."""
        return self._cursor is None or self._cursor.epoch != self._epoch or seq > self._cursor.seq

    def _put(self, item: Item | Signal, size: int) -> None:
        self._items.append((item, size))
        self._n_bytes += size
        self._arrived.set()

"""Follow: one reader's place in one room, and what has arrived there and was not yet taken. Knows no socket.

The buffer is bounded. When it is full, the link first stops reading its socket, as the reader may be about to go on. A
reader that takes nothing meanwhile is *parked*: the room is left on the wire, so that it holds up nobody else, and is
joined again by cursor when the buffer has been drained. Nothing is lost by it, and memory stays bounded.
"""

import asyncio
from collections import deque
from enum import Enum

from chatkit.client.signals import Item, Joined, Presence, Redacted, Signal, Typing
from chatkit.core.model import Cursor, Gap, Member, Message, parse_time
from chatkit.wire.protocol import (
    GapEvent,
    JoinCommand,
    JoinedEvent,
    MessageEvent,
    PresenceEvent,
    RedactedEvent,
    TypingEvent,
)

MAX_ITEMS = 2_000  # a page of history and what comes while it is printed
MAX_CHARS = 4 * 2**20  # 64 bodies of the largest size: what bounds a reader of long messages

RoomEvent = JoinedEvent | MessageEvent | GapEvent | PresenceEvent | TypingEvent | RedactedEvent


class FollowState(Enum):
    """Whether a room is on the wire: no, asked for, delivered, or left until its reader has drained the buffer."""

    OUT = 0
    JOINING = 1
    LIVE = 2
    PARKED = 3


class RoomFollower:
    """What a `follow` reads from. The link fills it by `take`; `next` empties it."""

    def __init__(self, room: str, after: Cursor | None, history: int, *, with_signals: bool) -> None:
        self.room = room
        self.state = FollowState.OUT
        self.join_ref = 0
        self._history = history
        self._cursor = after
        self._epoch = ""
        self._with_signals = with_signals
        self._items: deque[Item | Signal] = deque()
        self._chars = 0
        self._end: Exception | None = None
        self._arrived = asyncio.Event()  # set while there is something for `next`, be it the end
        self._drained = asyncio.Event()  # set when the buffer is no longer full, for the link that waits to go on

    @property
    def is_full(self) -> bool:
        """Whether the reader has to take something before more may come."""
        return len(self._items) >= MAX_ITEMS or self._chars >= MAX_CHARS

    @property
    def is_overrun(self) -> bool:
        """Whether the link has to wait, or to leave the room, before it takes more."""
        return self.state is FollowState.LIVE and self.is_full

    @property
    def is_empty(self) -> bool:
        """Whether the reader has taken everything."""
        return not self._items

    def join(self, ref: int) -> JoinCommand:
        """Return the command that goes on where this reader is; what comes before its answer is not for it."""
        self.state = FollowState.JOINING
        self.join_ref = ref
        if self._cursor is None:
            return JoinCommand(room=self.room, ref=ref, history=self._history)
        return JoinCommand(room=self.room, ref=ref, after=str(self._cursor))

    def take(self, event: RoomEvent) -> None:
        """Take what the server says about the room."""
        if isinstance(event, JoinedEvent):
            if event.ref == self.join_ref and self.state is FollowState.JOINING:
                self._take_joined(event)
        elif self.state is FollowState.LIVE:  # else it belongs to an earlier join: the cursor brings it again
            self._take_live(event)

    def tell(self, signal: Signal) -> None:
        """Give a signal to a reader who wants them."""
        # While it is full, the link takes nothing from the server; what comes nevertheless is the link's own `Lost` and
        # `Back`, and a `Joined` will follow them.
        if self._with_signals and not self.is_full:
            self._put(signal, 0)

    def end(self, error: Exception) -> None:
        """Say that nothing will come any more; the reader gets `error` after what has arrived."""
        if self._end is None:
            self._end = error
            self._arrived.set()

    async def next(self) -> Item | Signal:
        """Wait for the next thing and return it. Raise what ended the follow when everything has been taken."""
        while not self._items:
            if self._end is not None:
                raise self._end
            self._arrived.clear()
            await self._arrived.wait()
        item = self._items.popleft()
        if isinstance(item, Message):
            self._chars -= len(item.body)
        if not self.is_full:
            self._drained.set()
        return item

    async def drained(self, timeout_s: float) -> bool:
        """Wait until the buffer is no longer full, at most `timeout_s`; return whether it is not."""
        self._drained.clear()
        try:
            async with asyncio.timeout(timeout_s):
                while self.is_full and self._end is None:
                    self._drained.clear()
                    await self._drained.wait()
        except TimeoutError:
            return False
        return True

    def _take_joined(self, event: JoinedEvent) -> None:
        at = Cursor.parse(event.cursor)
        self.state = FollowState.LIVE
        self._epoch = at.epoch
        # When resuming, our own cursor stands until something arrives: if the connection broke between this and a gap
        # that is due, then taking the server's cursor now would lose the gap.
        self._cursor = self._cursor or at
        members = [Member(member.name, parse_time(member.since)) for member in event.members]
        self.tell(Joined(self.room, at.epoch, event.first, event.last, members, event.count))

    def _take_live(self, event: MessageEvent | GapEvent | PresenceEvent | TypingEvent | RedactedEvent) -> None:
        match event:
            case MessageEvent():
                self._cursor = Cursor(self._epoch, event.seq)
                self._put(_message(event, self._epoch), len(event.body))
            case GapEvent():
                self._cursor = Cursor(self._epoch, event.before - 1)
                self._put(Gap(event.after, event.before, event.reason), 0)
            case PresenceEvent():
                self.tell(Presence(self.room, event.joined or (), event.left or (), event.count))
            case TypingEvent():
                self.tell(Typing(self.room, event.sender))
            case RedactedEvent():
                self.tell(Redacted(self.room, event.seq))

    def _put(self, item: Item | Signal, chars: int) -> None:
        self._items.append(item)
        self._chars += chars
        self._arrived.set()


def _message(event: MessageEvent, epoch: str) -> Message:
    return Message(
        event.room,
        epoch,
        event.seq,
        parse_time(event.time),
        event.sender,
        event.body,
        event.data,
        event.key,
        event.redacted,
    )

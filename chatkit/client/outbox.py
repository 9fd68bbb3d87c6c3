"""The messages that a client wants stored, in order, until each is answered. No I/O; the clock is an argument.

The outbox keeps the order. Messages that a broken connection or a rate limit returns are sent again before later ones,
and with the same key, so that each is stored once.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from math import inf
from typing import Any

from msgspec.structs import replace

from chatkit.client.follower import MAX_RENAMES
from chatkit.client.rate_limit import RateLimit
from chatkit.core.model import Cursor, Message, Receipt, check_room, parse_time
from chatkit.errors import BadName
from chatkit.wire.protocol import AckEvent, PublishCommand, WireLimits, encode

FIRST = 0  # the `behind` of a message that was sent after no other: no message has this `ref`


class Entry:
    """One message that is being published. Its publisher waits for `answer`.

    With `follow_rename`, it is stored at the new name of its room if the room is renamed.
    """

    __slots__ = ("_n_renames", "answer", "command", "follow_rename", "frame", "has_own_key", "ref", "sender")

    def __init__(
        self, ref: int, sender: str, command: PublishCommand, *, has_own_key: bool, follow_rename: bool = False
    ) -> None:
        self.ref = ref
        self.sender = sender
        self.command = command
        self.has_own_key = has_own_key
        self.follow_rename = follow_rename
        self._n_renames = 0
        self.frame = encode(command)
        self.answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()

    def accept(self, ack: AckEvent) -> None:
        """Return the receipt to the publisher."""
        if self.answer.done():
            return
        cursor = Cursor.parse(ack.cursor)
        body: str = self.command.body or ""
        data: Any = self.command.data
        room, time_ms = self.command.room or ack.room, parse_time(ack.time)
        of, act = self.command.of, self.command.act
        message = Message(
            room, cursor.epoch, ack.seq, time_ms, self.sender, body, data, self.command.key, of=of, act=act
        )
        # With a generated key, a repeat is the first attempt, whose answer was lost: to the publisher it is new. The
        # answer to a change that changes nothing has the number of the message that it refers to.
        self.answer.set_result(Receipt(message, ack.repeat and (self.has_own_key or ack.seq == of)))

    def rename(self, room: str) -> bool:
        """Address the message to the new name of its room; return false if the message is not to follow there."""
        if not self.follow_rename or self._n_renames >= MAX_RENAMES:
            return False
        try:
            self.command = replace(self.command, room=check_room(room))
        except BadName:
            return False
        self.frame = encode(self.command)
        self._n_renames += 1
        return True

    def frame_behind(self, ref: int) -> bytes:
        """Return the command as JSON, marked as sent after the message `ref`."""
        return self.frame[:-1] + b',"behind":%d}' % ref

    def refuse(self, error: Exception) -> None:
        """Raise an error in the publisher."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Outbox:
    """Entries in the order in which they were added: those to send again first, then those never sent."""

    def __init__(self) -> None:
        self._unsent: deque[Entry] = deque()
        self._in_flight: dict[int, Entry] = {}
        self._refused: list[Entry] = []
        self._resume_at = -inf
        self._behind = FIRST
        self._rate_limit: RateLimit | None = None
        self._limits: WireLimits | None = None

    def __len__(self) -> int:
        return len(self._unsent) + len(self._in_flight) + len(self._refused)

    @property
    def last_ref(self) -> int:
        """The `ref` of the message that was sent last on this connection; `FIRST` before any."""
        return self._behind

    def add(self, entry: Entry) -> None:
        """Queue a message."""
        self._unsent.append(entry)

    def connected(self, limits: WireLimits, now: float) -> None:
        """Start a new connection: nothing is in flight on it, and these are the server's limits."""
        self._unsent.extendleft(sorted([*self._in_flight.values(), *self._refused], key=_ref, reverse=True))
        self._in_flight.clear()
        self._refused.clear()
        self._behind = FIRST
        # The tokens are kept where the limits are the same: the server counts senders, not connections.
        if self._rate_limit is None or limits != self._limits:
            self._rate_limit = RateLimit(limits, now)
            self._limits = limits

    def next(self, now: float) -> bytes | float | None:
        """Return a frame to send now, or the seconds to wait first, or None until a message is added or answered."""
        if self._refused:
            # The messages in flight were sent behind a refused one and will be refused too. Then all are sent again.
            if self._in_flight:
                return None
            if now < self._resume_at:
                return self._resume_at - now
            self._unsent.extendleft(sorted(self._refused, key=_ref, reverse=True))
            self._refused.clear()
            self._behind = FIRST
        while self._unsent and self._unsent[0].answer.cancelled():
            self._unsent.popleft()
        if not self._unsent or self._rate_limit is None:
            return None
        size = len(self._unsent[0].frame)
        wait_s = self._rate_limit.wait_s(size, now)
        if wait_s > 0:
            return wait_s
        self._rate_limit.spend(size, now)
        entry = self._unsent.popleft()
        self._in_flight[entry.ref] = entry
        behind, self._behind = self._behind, entry.ref
        return entry.frame_behind(behind)

    def pop(self, ref: int) -> Entry | None:
        """Remove and return an entry whose answer has arrived."""
        return self._in_flight.pop(ref, None)

    def hold(self, ref: int, retry_after_s: float, now: float) -> None:
        """Keep an entry that was refused for now, until all in flight are answered and the time is over."""
        entry = self._in_flight.pop(ref, None)
        if entry is not None:
            self._refused.append(entry)
            self._resume_at = max(self._resume_at, now + retry_after_s)

    def redirect(self, ref: int, room: str, now: float) -> bool:
        """Send a refused entry again, to the new name of its room. Return false if it does not follow."""
        entry = self._in_flight.get(ref)
        old = None if entry is None else entry.command.room
        if entry is None or not entry.rename(room):
            return False
        self.hold(ref, 0, now)
        if old is not None:
            self.rename(old, room)
        return True

    def rename(self, room: str, new: str) -> None:
        """Address the entries for a renamed room that follow it to the new name, before later ones are added there."""
        for entry in [*self._unsent, *self._in_flight.values(), *self._refused]:
            if entry.command.room == room != new:
                entry.rename(new)

    def slow_down(self, now: float) -> None:
        """Start without tokens: the server has counted more messages than this client."""
        if self._rate_limit is not None:
            self._rate_limit.empty(now)

    def clear(self) -> Iterator[Entry]:
        """Remove all entries and iterate over them in order."""
        entries = sorted([*self._unsent, *self._in_flight.values(), *self._refused], key=_ref)
        self._unsent.clear()
        self._in_flight.clear()
        self._refused.clear()
        yield from entries


def _ref(entry: Entry) -> int:
    return entry.ref

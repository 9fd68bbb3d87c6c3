"""Outbox: the messages that a client wants stored, in order, until each is answered. No I/O; the clock is an argument.

Order is what it is for. What a broken connection or a server's "too much" sends back goes again before anything that
was given later, and with the same key, so that it is stored once.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from math import inf
from typing import Any

from chatkit.client.rate_limit import RateLimit
from chatkit.core.model import Cursor, Message, Receipt, parse_time
from chatkit.wire.protocol import AckEvent, PublishCommand, WireLimits, encode

FIRST = 0  # no message's `ref`: what is sent behind it is behind none


class Entry:
    """One message on its way. `answer` is what its publisher waits for."""

    __slots__ = ("answer", "command", "frame", "has_own_key", "ref", "sender")

    def __init__(self, ref: int, sender: str, command: PublishCommand, *, has_own_key: bool) -> None:
        self.ref = ref
        self.sender = sender
        self.command = command
        self.has_own_key = has_own_key
        self.frame = encode(command)
        self.answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()

    def accept(self, ack: AckEvent) -> None:
        """Tell the publisher that it is stored."""
        if self.answer.done():
            return
        cursor = Cursor.parse(ack.cursor)
        body: str = self.command.body or ""
        data: Any = self.command.data
        message = Message(
            ack.room, cursor.epoch, ack.seq, parse_time(ack.time), self.sender, body, data, self.command.key
        )
        # With a key that we made, a repeat is our own first attempt, whose answer got lost: to the publisher it is new.
        self.answer.set_result(Receipt(message, ack.repeat and self.has_own_key))

    def frame_behind(self, ref: int) -> bytes:
        """Return the command as it goes over the socket after the message `ref`."""
        return self.frame[:-1] + b',"behind":%d}' % ref

    def refuse(self, error: Exception) -> None:
        """Tell the publisher that it is not."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Outbox:
    """Entries in the order given: first those to send again, then those never sent."""

    def __init__(self) -> None:
        self._unsent: deque[Entry] = deque()
        self._in_flight: dict[int, Entry] = {}
        self._refused: list[Entry] = []
        self._resume_at = -inf
        self._behind = FIRST
        self._pace: RateLimit | None = None
        self._limits: WireLimits | None = None

    def __len__(self) -> int:
        return len(self._unsent) + len(self._in_flight) + len(self._refused)

    def add(self, entry: Entry) -> None:
        """Take a message to send."""
        self._unsent.append(entry)

    def connected(self, limits: WireLimits, now: float) -> None:
        """Begin with a new connection: nothing is in flight on it, and the server allows this much."""
        self._unsent.extendleft(sorted([*self._in_flight.values(), *self._refused], key=_ref, reverse=True))
        self._in_flight.clear()
        self._refused.clear()
        self._behind = FIRST
        # What was saved up is kept where the limits are the same: the server counts senders, not connections.
        if self._pace is None or limits != self._limits:
            self._pace = RateLimit(limits, now)
            self._limits = limits

    def next(self, now: float) -> bytes | float | None:
        """Return what to send now; or how many seconds to wait first; or None, until something is given or answered."""
        if self._refused:
            # What is in flight was sent behind what was refused, and will be refused, too. All of it then goes again.
            if self._in_flight:
                return None
            if now < self._resume_at:
                return self._resume_at - now
            self._unsent.extendleft(sorted(self._refused, key=_ref, reverse=True))
            self._refused.clear()
            self._behind = FIRST
        while self._unsent and self._unsent[0].answer.cancelled():
            self._unsent.popleft()
        if not self._unsent or self._pace is None:
            return None
        size = len(self._unsent[0].frame)
        wait_s = self._pace.wait_s(size, now)
        if wait_s > 0:
            return wait_s
        self._pace.spend(size, now)
        entry = self._unsent.popleft()
        self._in_flight[entry.ref] = entry
        behind, self._behind = self._behind, entry.ref
        return entry.frame_behind(behind)

    def answered(self, ref: int) -> Entry | None:
        """Give out an entry whose answer has come."""
        return self._in_flight.pop(ref, None)

    def hold(self, ref: int, retry_after_s: float, now: float) -> None:
        """Keep an entry that was refused for now, to go again when all in flight is answered and the time is over."""
        entry = self._in_flight.pop(ref, None)
        if entry is not None:
            self._refused.append(entry)
            self._resume_at = max(self._resume_at, now + retry_after_s)

    def slow_down(self, now: float) -> None:
        """Begin anew to save up: the server has counted more than was counted here."""
        if self._pace is not None:
            self._pace.empty(now)

    def clear(self) -> Iterator[Entry]:
        """Give out everything, in order, and be empty."""
        entries = sorted([*self._unsent, *self._in_flight.values(), *self._refused], key=_ref)
        self._unsent.clear()
        self._in_flight.clear()
        self._refused.clear()
        yield from entries


def _ref(entry: Entry) -> int:
    return entry.ref

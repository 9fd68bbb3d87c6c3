"""Sender: publishes its messages in order, each with a key until it is acknowledged, at most so many at once.

It goes as fast as the server says it may, waits as told, and after a lost connection publishes again by key.
"""

import asyncio
import time
from collections import deque
from math import inf
from typing import Protocol

from chatkit.bench.load.connection import ConnectionOwner, LoadConnection
from chatkit.bench.load.frame_parser import ControlFrame, ParsedChunk, cut
from chatkit.bench.load.plan import LoadPlan
from chatkit.client.rate_limit import RateLimit
from chatkit.errors import RateLimited, TooLarge, Unavailable
from chatkit.websocket.frames import TEXT, client_frame
from chatkit.wire.protocol import AckEvent, AnyEvent, ErrorEvent, WelcomeEvent, WireLimits

STORE_AWAY_S = 0.5  # before a message is tried again that the server could not store


class SenderOwner(ConnectionOwner, Protocol):
    """What a sender tells beside."""

    def acknowledged(self, number: int, seq: int) -> None:
        """Hear that a message is committed."""


class LoadSender(LoadConnection):
    """Publishes the messages that the plan gives to the sender `index`, once `start` was called."""

    def __init__(self, name: str, owner: SenderOwner, plan: LoadPlan, index: int) -> None:
        super().__init__(name, owner, cut)
        self.waited_s = 0.0  # because the server said so
        self.limits: WireLimits | None = None
        self._listener = owner
        self._plan = plan
        self._fresh = iter(plan.numbers_of(index))
        self._queue: deque[tuple[int, int]] = deque()  # to be sent: numbers, and when each was first sent, or 0
        self._in_flight: dict[int, int] = {}  # the same, in the order sent
        self._refused: list[int] = []
        self._timer: asyncio.TimerHandle | None = None  # while waiting
        self._resume_at = -inf
        self._pace: RateLimit | None = None
        self._has_started = False
        self._filler = b"x" * plan.size

    @property
    def is_waiting(self) -> bool:
        """Whether it waits because it was told to."""
        return self._timer is not None

    def start(self) -> None:
        """Begin to publish."""
        self._has_started = True
        self._fill()

    def stop(self) -> None:
        """Publish no more."""
        self._has_started = False
        if self._timer is not None:
            self._timer.cancel()

    def _path(self) -> str:
        return "/ws"

    def _query(self) -> dict[str, str | int]:
        return {}

    def _take(self, cut: ParsedChunk) -> None:
        for item in cut.items:
            if isinstance(item, ControlFrame):
                self._control(item)
        self._fill()

    def _event(self, event: AnyEvent) -> None:
        match event:
            case AckEvent(seq=seq, ref=int(number)):
                if self._in_flight.pop(number, None) is not None:
                    self._listener.acknowledged(number, seq)
            case ErrorEvent():
                self._refuse(event)
            case WelcomeEvent():
                self._welcome(event.limits)
            case _:
                pass

    def _welcome(self, limits: WireLimits) -> None:
        if limits.body < self._plan.size:
            raise TooLarge("body", limits.body)
        if self._pace is None and limits.rate:
            self._pace = RateLimit(limits, time.monotonic())
        self.limits = limits
        # What was on its way goes again, before anything newer; the keys see to it that it is stored once.
        again = sorted([*self._in_flight.items(), *((number, 0) for number in self._refused)], reverse=True)
        self._queue.extendleft(again)
        self._in_flight.clear()
        self._refused.clear()
        self._begin_work()

    def _refuse(self, event: ErrorEvent) -> None:
        error = event.to_error()
        if not isinstance(event.ref, int) or not isinstance(error, RateLimited | Unavailable):
            raise error
        if self._in_flight.pop(event.ref, None) is None:
            return
        now = time.monotonic()
        self._refused.append(event.ref)
        if isinstance(error, RateLimited):
            self._resume_at = max(self._resume_at, now + error.retry_after_s)
            if self._pace is not None:
                self._pace.empty(now)
        else:
            self._resume_at = max(self._resume_at, now + STORE_AWAY_S)

    def _fill(self) -> None:
        """Send what may be sent now."""
        if not self._has_started or not self._is_at_work or self._timer is not None or not self._may_go_on():
            return
        frames: list[bytes] = []
        now_ns, window = time.monotonic_ns(), self._plan.window
        while len(self._in_flight) < window and self._has_next():
            if self._pace is not None and self._must_wait(self._pace, now_ns / 1e9):
                break
            number, sent_ns = self._queue.popleft()
            self._in_flight[number] = sent_ns = sent_ns or now_ns
            frames.append(client_frame(TEXT, self._command(number, sent_ns)))
        self._write(b"".join(frames))

    def _may_go_on(self) -> bool:
        """Say whether nothing that was refused has to be waited for; if it had, and need not any more, queue it."""
        if not self._refused:
            return True
        # What is sent before everything in flight is answered could slip in before what was refused.
        if self._in_flight:
            return False
        wait_s = self._resume_at - time.monotonic()
        if wait_s > 0:
            self._wait(wait_s)
            return False
        self._queue.extendleft((number, 0) for number in sorted(self._refused, reverse=True))
        self._refused.clear()
        return True

    def _has_next(self) -> bool:
        if not self._queue:
            number = next(self._fresh, None)
            if number is None:
                return False
            self._queue.append((number, 0))
        return True

    def _must_wait(self, pace: RateLimit, now: float) -> bool:
        size = len(self._command(*self._queue[0]))
        wait_s = pace.wait_s(size, now)
        if wait_s > 0:
            self._wait(wait_s)
            return True
        pace.spend(size, now)
        return False

    def _wait(self, wait_s: float) -> None:
        self.waited_s += wait_s
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        self._fill()

    def _command(self, number: int, sent_ns: int) -> bytes:
        plan = self._plan
        body = f"@@{sent_ns:019d}".encode() + self._filler
        head = b'{"op":"publish","room":"%b","body":"%b"' % (plan.room(number % plan.rooms).encode(), body[: plan.size])
        return b'%b,"key":"%b","ref":%d}' % (head, plan.key(number).encode(), number)

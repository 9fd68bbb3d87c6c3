"""LoadSender: publishes its messages in order, with keys, and with a limited number in flight.

It respects the server's rate limit, and after a lost connection it repeats unacknowledged messages with their keys.
"""

import asyncio
import time
from collections import deque
from math import inf
from typing import Protocol

from chatkit.bench.load.connection import ConnectionOwner, LoadConnection
from chatkit.bench.load.frame_parser import ControlFrame, ParsedChunk, parse_frames
from chatkit.bench.load.plan import LoadPlan
from chatkit.client.rate_limit import RateLimit
from chatkit.errors import RateLimited, TooLarge, Unavailable
from chatkit.websocket.frames import TEXT, client_frame
from chatkit.wire.protocol import AckEvent, AnyEvent, ErrorEvent, WelcomeEvent, WireLimits

STORE_RETRY_S = 0.5  # before a retry of a message that the server could not store


class SenderOwner(ConnectionOwner, Protocol):
    """Receives a sender's notifications."""

    def acknowledged(self, number: int, seq: int) -> None:
        """Handle that a message is committed."""


class LoadSender(LoadConnection):
    """Publishes the plan's messages of sender `index`, once `start` is called."""

    def __init__(self, name: str, owner: SenderOwner, plan: LoadPlan, index: int) -> None:
        super().__init__(name, owner, parse_frames)
        self.waited_s = 0.0  # because of rate limits and an unavailable store
        self.limits: WireLimits | None = None
        self._listener = owner
        self._plan = plan
        self._fresh = iter(plan.numbers_of(index))
        self._queue: deque[tuple[int, int]] = deque()  # to be sent: numbers, and when each was first sent, or 0
        self._in_flight: dict[int, int] = {}  # the same, in the order sent
        self._rejected: list[int] = []
        self._timer: asyncio.TimerHandle | None = None  # while waiting
        self._resume_at = -inf
        self._rate_limit: RateLimit | None = None
        self._has_started = False
        self._filler = b"x" * plan.size

    @property
    def is_waiting(self) -> bool:
        """Whether it waits because of a rate limit or an unavailable store."""
        return self._timer is not None

    def start(self) -> None:
        self._has_started = True
        self._send_pending()

    def stop(self) -> None:
        self._has_started = False
        if self._timer is not None:
            self._timer.cancel()

    def _path(self) -> str:
        return "/ws"

    def _query(self) -> dict[str, str | int]:
        return {}

    def _on_chunk(self, chunk: ParsedChunk) -> None:
        for item in chunk.items:
            if isinstance(item, ControlFrame):
                self._on_control_frame(item)
        self._send_pending()

    def _on_event(self, event: AnyEvent) -> None:
        match event:
            case AckEvent(seq=seq, ref=int(number)):
                if self._in_flight.pop(number, None) is not None:
                    self._listener.acknowledged(number, seq)
            case ErrorEvent():
                self._on_error(event)
            case WelcomeEvent():
                self._on_welcome(event.limits)
            case _:
                pass

    def _on_welcome(self, limits: WireLimits) -> None:
        if limits.body < self._plan.size:
            raise TooLarge("body", limits.body)
        if self._rate_limit is None and limits.rate:
            self._rate_limit = RateLimit(limits, time.monotonic())
        self.limits = limits
        # Messages in flight are sent again before newer ones; their keys prevent storing them twice.
        again = sorted([*self._in_flight.items(), *((number, 0) for number in self._rejected)], reverse=True)
        self._queue.extendleft(again)
        self._in_flight.clear()
        self._rejected.clear()
        self._mark_ready()

    def _on_error(self, event: ErrorEvent) -> None:
        error = event.to_error()
        if not isinstance(event.ref, int) or not isinstance(error, RateLimited | Unavailable):
            raise error
        if self._in_flight.pop(event.ref, None) is None:
            return
        now = time.monotonic()
        self._rejected.append(event.ref)
        if isinstance(error, RateLimited):
            self._resume_at = max(self._resume_at, now + error.retry_after_s)
            if self._rate_limit is not None:
                self._rate_limit.empty(now)
        else:
            self._resume_at = max(self._resume_at, now + STORE_RETRY_S)

    def _send_pending(self) -> None:
        """Send as many messages as allowed now."""
        if not self._has_started or not self._is_ready or self._timer is not None or not self._can_send():
            return
        frames: list[bytes] = []
        now_ns, window = time.monotonic_ns(), self._plan.window
        while len(self._in_flight) < window and self._has_next():
            if self._rate_limit is not None and self._must_wait(self._rate_limit, now_ns / 1e9):
                break
            number, sent_ns = self._queue.popleft()
            self._in_flight[number] = sent_ns = sent_ns or now_ns
            frames.append(client_frame(TEXT, self._command(number, sent_ns)))
        self._write(b"".join(frames))

    def _can_send(self) -> bool:
        """Return whether sending may continue. Rejected messages are queued again once their wait is over."""
        if not self._rejected:
            return True
        # A message sent before all answers arrive could be stored before the rejected one.
        if self._in_flight:
            return False
        wait_s = self._resume_at - time.monotonic()
        if wait_s > 0:
            self._wait(wait_s)
            return False
        self._queue.extendleft((number, 0) for number in sorted(self._rejected, reverse=True))
        self._rejected.clear()
        return True

    def _has_next(self) -> bool:
        if not self._queue:
            number = next(self._fresh, None)
            if number is None:
                return False
            self._queue.append((number, 0))
        return True

    def _must_wait(self, rate_limit: RateLimit, now: float) -> bool:
        size = len(self._command(*self._queue[0]))
        wait_s = rate_limit.wait_s(size, now)
        if wait_s > 0:
            self._wait(wait_s)
            return True
        rate_limit.spend(size, now)
        return False

    def _wait(self, wait_s: float) -> None:
        self.waited_s += wait_s
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._send_pending()

    def _command(self, number: int, sent_ns: int) -> bytes:
        plan = self._plan
        body = f"@@{sent_ns:019d}".encode() + self._filler
        head = b'{"op":"publish","room":"%b","body":"%b"' % (plan.room(number % plan.rooms).encode(), body[: plan.size])
        return b'%b,"key":"%b","ref":%d}' % (head, plan.key(number).encode(), number)

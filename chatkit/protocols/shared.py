"""What the connections of one server share, from their first byte on: its settings, one clock, one judge of handshakes.

Knows nothing of what a connection does.
"""

import asyncio
from heapq import heappop, heappush
from math import inf
from typing import ClassVar, Final, Protocol
from weakref import WeakKeyDictionary

from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.server import ServerProtocol

_TICK_S: Final = 0.05
_STALL_S: Final = 0.1  # a timer so late says that the process stood still, or had much to do
_WINDOW_BITS: Final = 12  # 4 KiB: what a chat's messages need, at an eighth of the memory of 15


class TimerTarget(Protocol):
    """What a `TimerWheel` calls back. `due_tick` is the wheel's own: 0 while nothing is set."""

    due_tick: int

    def on_time(self) -> None:
        """Hear that the time is over."""


class TimerWheel:
    """The timers of all connections of one server as one timer of the loop. A connection has at most one at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[int, set[TimerTarget]] = {}
        self._ticks: list[int] = []  # a heap of the keys of `_due`, and of some that were there
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = -inf

    def set(self, timed: TimerTarget, delay_s: float) -> None:
        """Call `on_time` once, in `delay_s` or a tick later, in place of what was set before."""
        self.clear(timed)
        tick = int((self._loop.time() + delay_s) / _TICK_S) + 1
        due = self._due.get(tick)
        if due is None:
            due = self._due[tick] = set()
            heappush(self._ticks, tick)
            if self._timer is None or tick * _TICK_S < self._timer_at:
                self._wake_at(tick * _TICK_S)
        due.add(timed)
        timed.due_tick = tick

    def clear(self, timed: TimerTarget) -> None:
        """Forget what was set."""
        due = self._due.get(timed.due_tick)
        timed.due_tick = 0
        if due is not None:
            due.discard(timed)

    def _wake_at(self, time: float, *, is_late: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = time
        self._timer = self._loop.call_at(time, self._turn, is_late)

    def _turn(self, is_late: bool) -> None:  # noqa: FBT001 - call_at passes no keywords
        self._timer = None
        now = self._loop.time()
        if now - self._timer_at > _STALL_S and not is_late:
            # Nothing was read meanwhile, and timers may run before reads: first hear who lives, then judge.
            self._wake_at(now + _STALL_S, is_late=True)
            return
        while self._ticks and self._ticks[0] * _TICK_S <= now:
            tick = heappop(self._ticks)
            for timed in self._due.pop(tick, ()):
                if timed.due_tick == tick:  # else it was set or cleared by one before it
                    timed.due_tick = 0
                    timed.on_time()
        if self._ticks:  # in place of what those called may have set: something else may be due before theirs
            self._wake_at(self._ticks[0] * _TICK_S)


class SharedState:
    """What the connections of one server have in common, so that none has to carry it."""

    _of: ClassVar["WeakKeyDictionary[ServerState, SharedState]"] = WeakKeyDictionary()

    def __init__(self, config: Config, loop: asyncio.AbstractEventLoop) -> None:
        self.config = config
        self.loop = loop
        self.wheel = TimerWheel(loop)
        # Neither side takes its context over: a message compressed once is good for every client with the same window,
        # no connection keeps a window in memory, and a client's block marked final does no harm to what follows.
        deflate = ServerPerMessageDeflateFactory(
            server_no_context_takeover=True,
            client_no_context_takeover=True,
            server_max_window_bits=_WINDOW_BITS,
            client_max_window_bits=_WINDOW_BITS,
        )
        # One for all: it only ever judges a request, and what it thinks of the last is read at once.
        self.negotiator = ServerProtocol(extensions=[deflate] if config.ws_per_message_deflate else [])

    @classmethod
    def of(cls, config: Config, state: ServerState, loop: asyncio.AbstractEventLoop | None) -> "SharedState":
        """Return the server's, made by its first connection."""
        share = cls._of.get(state)
        if share is None:
            share = cls._of[state] = cls(config, loop or asyncio.get_event_loop())
        return share

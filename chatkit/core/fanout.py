"""The fan-out: wakes the readers of rooms that grew, in paced rounds, a bounded number in each turn of the event loop.

The cost of a round hardly depends on whether its readers get one message or a hundred. So the next round waits for a
time that grows with the cost of the last one, or until there is enough to deliver. Without load, no reader waits. Under
load, each write carries more messages.
"""

import asyncio
import logging
from collections.abc import Iterator
from math import inf
from time import perf_counter

from chatkit.core.measures import Histogram
from chatkit.core.room import Room, Wake

WAKES_A_TURN = 512  # readers woken in one turn of the loop: a giant room must not delay small ones
PACE = 8.0  # the pause after a round, as a multiple of the round's cost
MAX_PAUSE_S = 0.02  # the longest pause: a delay that no reader notices
ENOUGH_CHARS = 1 << 14  # of one room, end a pause: from here on, bytes dominate the cost of a write, not the call

_logger = logging.getLogger(__name__)


class Fanout:
    """Wakes the readers of rooms that grew, room by room. A room that grows again is in the next round."""

    def __init__(self) -> None:
        self.durations = Histogram()  # of the rounds, from the first growth of a room until the last reader is woken
        self._grown: dict[Room, int] = {}  # rooms that are due in the next round, and their growth in characters
        self._waking: dict[Room, Iterator[Wake]] = {}  # rooms of this round, and their readers that were not woken yet
        self._woken: set[Room] = set()  # all rooms of this round
        self._grown_at = -inf  # when the first of `_grown` grew
        self._began_at = -inf  # the same for this round
        self._is_due = False
        self._pause_timer: asyncio.TimerHandle | None = None
        self._spent_s = 0.0  # in this round so far
        self._pause_until = -inf

    @property
    def is_idle(self) -> bool:
        """Whether no reader is due to be woken."""
        return not (self._grown or self._waking)

    def schedule(self, room: Room, n_chars: int) -> None:
        """Wake the room's readers in the next round, after the room grew by `n_chars`."""
        if not self._grown:
            self._grown_at = perf_counter()
        n_chars += self._grown.get(room, 0)
        self._grown[room] = n_chars
        if not self._is_due:
            self._is_due = True
            self._begin_round()
        elif n_chars >= ENOUGH_CHARS and self._pause_timer is not None:
            self._pause_timer.cancel()
            self._pause_timer = None
            asyncio.get_running_loop().call_soon(self._wake)

    def _begin_round(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = self._pause_until - perf_counter()
        if pause_s > 0:
            self._pause_timer = loop.call_later(pause_s, self._wake)
        else:
            loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._pause_timer = None
        began = perf_counter()
        if not self._woken:  # the beginning of a round
            self._began_at = self._grown_at
        self._wake_some()
        now = perf_counter()
        self._spent_s += now - began
        if self._waking:
            asyncio.get_running_loop().call_soon(self._wake)
            return
        self.durations.observe(now - self._began_at)
        self._pause_until = now + min(PACE * self._spent_s, MAX_PAUSE_S)
        self._spent_s = 0.0
        self._woken.clear()
        self._is_due = bool(self._grown)
        if self._is_due:
            self._begin_round()

    def _wake_some(self) -> None:
        # A room that grows while a giant one is served joins this round, but no room is served twice in a round.
        for room in [room for room in self._grown if room not in self._woken]:
            del self._grown[room]
            self._woken.add(room)
            self._waking[room] = _callbacks(room)
        budget = WAKES_A_TURN
        for room in tuple(self._waking):
            readers = self._waking.pop(room)
            for wake in readers:
                try:
                    wake()
                except Exception:
                    # An error in one reader must not stop the others.
                    _logger.exception("a reader of %s failed when it was woken", room.name)
                budget -= 1
                if not budget:
                    self._waking[room] = readers  # after the other rooms
                    return


def _callbacks(room: Room) -> Iterator[Wake]:
    """Return the readers' callbacks, newest first, so that an early sender is woken last."""
    return iter(tuple(reversed(room.readers.values())))

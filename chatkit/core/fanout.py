"""The fan-out wakes the readers of rooms that grew: a bounded number in a turn of the event loop, in paced rounds.

A round costs nearly the same whether its readers are owed one message or a hundred. So the next waits for a time that
grows with what the last one cost, or until there is enough to deliver: no reader waits while there is little to do, and
under load each write carries more.
"""

import asyncio
import logging
from collections.abc import Iterator
from math import inf
from time import perf_counter

from chatkit.core.room import Room, Wake

WAKES_A_TURN = 512  # readers woken in one turn of the loop: a giant room leaves turns for the small ones
PACE = 8.0  # the rest between two rounds, as a multiple of what the first of them cost
MAX_REST_S = 0.02  # the longest rest: a delay that no reader notices
ENOUGH_CHARS = 1 << 14  # of one room, end a rest: from here on a write costs more by its bytes than by the call

_logger = logging.getLogger(__name__)


class Fanout:
    """Wakes the readers of grown rooms, room by room in turns. A room that grows again is in the next round."""

    def __init__(self) -> None:
        self._grown: dict[Room, int] = {}  # rooms whose readers are to be woken, and by how much they grew
        self._waking: dict[Room, Iterator[Wake]] = {}  # rooms whose readers are being woken, and those left
        self._woken: set[Room] = set()  # rooms of this round
        self._is_due = False
        self._resting: asyncio.TimerHandle | None = None
        self._spent_s = 0.0  # in this round, by now
        self._rest_until = -inf

    @property
    def is_silent(self) -> bool:
        """Whether no reader is to be woken."""
        return not (self._grown or self._waking)

    def schedule(self, live: Room, n_chars: int) -> None:
        """Wake the room's readers in the next round: it grew by so much."""
        n_chars += self._grown.get(live, 0)
        self._grown[live] = n_chars
        if not self._is_due:
            self._is_due = True
            self._begin_round()
        elif n_chars >= ENOUGH_CHARS and self._resting is not None:
            self._resting.cancel()
            self._resting = None
            asyncio.get_running_loop().call_soon(self._wake)

    def _begin_round(self) -> None:
        loop = asyncio.get_running_loop()
        rest_s = self._rest_until - perf_counter()
        if rest_s > 0:
            self._resting = loop.call_later(rest_s, self._wake)
        else:
            loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._resting = None
        began = perf_counter()
        self._wake_some()
        now = perf_counter()
        self._spent_s += now - began
        if self._waking:
            asyncio.get_running_loop().call_soon(self._wake)
            return
        self._rest_until = now + min(PACE * self._spent_s, MAX_REST_S)
        self._spent_s = 0.0
        self._woken.clear()
        self._is_due = bool(self._grown)
        if self._is_due:
            self._begin_round()

    def _wake_some(self) -> None:
        # A room that grows while a giant one is being served need not wait for it; none is served twice in a round.
        for live in [live for live in self._grown if live not in self._woken]:
            del self._grown[live]
            self._woken.add(live)
            self._waking[live] = _round(live)
        budget = WAKES_A_TURN
        for live in tuple(self._waking):
            readers = self._waking.pop(live)
            for wake in readers:
                try:
                    wake()
                except Exception:
                    # One reader's mistake must not keep all others from reading.
                    _logger.exception("a reader of %s failed when it was woken", live.room)
                budget -= 1
                if not budget:
                    self._waking[live] = readers  # behind the others
                    return


def _round(live: Room) -> Iterator[Wake]:
    """Return what wakes the readers, newest first, so that an early sender is woken last."""
    return iter(tuple(reversed(live.readers.values())))

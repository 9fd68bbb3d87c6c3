"""The fan-out: wakes the readers of rooms that grew, a bounded number in each turn of the event loop, each room paced.

To wake a reader costs hardly more for a hundred messages than for one. So a room pauses after each delivery, for a time
that grows with the cost of that delivery, or until it has enough to deliver. The pause is short while the processor is
idle, and long while other work needs it. No room waits for the pause of another.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count, islice
from math import inf
from time import perf_counter, process_time

from chatkit.core.measures import Histogram
from chatkit.core.room import Room, Wake

WAKES_A_TURN = 128  # readers woken in one turn of the loop, then it commits: senders and readers share the processor
BACKLOG_TURNS = 12  # turns in which all readers that are due are woken: with more of them, a turn wakes more
WAKES_A_ROOM = 256  # readers of one room woken in a row, for 2 ms: a giant room must not delay commits and small rooms
MOST_SHARE, LEAST_SHARE = 1 / 2, 1 / 9  # of the processor's time that one room's deliveries take
RESERVE = 1.5  # times other work's share is left to it: more than it took, because it may have waited for the processor
MAX_PAUSE_S = 0.02  # the longest pause: a delay that no reader notices
MIN_PAUSE_S = 0.0005  # the precision of the loop's timers: a shorter pause is left out
ENOUGH_CHARS = 1 << 14  # of one room, end its pause: from here on, bytes dominate the cost of a write, not the call
QUIET_S = 0.1  # a room that was not delivered for this long is served before busy ones: its readers may be talking

_logger = logging.getLogger(__name__)


class _PacedRoom:
    """A room that is due, or whose readers are being woken, or that pauses."""

    __slots__ = ("began_with", "cost_s", "grown_at", "n_chars", "n_due", "paused_until", "readers", "room")

    def __init__(self, room: Room) -> None:
        self.room = room
        self.n_chars = 0  # by which it has grown since its readers were last woken
        self.grown_at = 0.0  # when it first did
        self.began_with = 0.0  # `grown_at` of the delivery that has begun
        self.n_due = 0  # readers that are to be woken
        self.readers: Iterator[Wake] | None = None  # those that were not woken yet, while the others were
        self.cost_s = 0.0  # of this delivery so far
        self.paused_until = -inf

    def begin(self) -> None:
        """Begin a delivery to all present readers, newest first, so that an early sender is woken last."""
        self.readers = iter(tuple(reversed(self.room.readers.values())))
        self.n_due = len(self.room.readers)
        self.n_chars = 0
        self.began_with = self.grown_at  # the room may grow again before its last reader is woken
        self.cost_s = 0.0

    def wake_some(self) -> int:
        """Wake the next readers, and return how many."""
        n_woken = min(self.n_due, WAKES_A_ROOM)
        for wake in islice(self.readers or (), n_woken):
            try:
                wake()
            except Exception:
                # An error in one reader must not stop the others.
                _logger.exception("a reader of %s failed when it was woken", self.room.name)
        self.n_due -= n_woken
        if not self.n_due:
            self.readers = None
        return n_woken


class Fanout:
    """Wakes the readers of rooms that grew, room by room.

    `clock` returns seconds, like the time of the event loop, and `work_clock` the seconds that this process has worked.
    """

    def __init__(
        self, clock: Callable[[], float] = perf_counter, work_clock: Callable[[], float] = process_time
    ) -> None:
        self.durations = Histogram()  # of the deliveries, from the growth of a room until its last reader is woken
        self._clock = clock
        self._work_clock = work_clock
        self._rooms: dict[Room, _PacedRoom] = {}
        self._quiet: deque[_PacedRoom] = deque()  # due rooms that are served first
        self._due: deque[_PacedRoom] = deque()  # all others that are due, in their order
        self._n_due = 0  # readers of both
        self._is_due_first = False  # large quiet rooms took all of the last turn, and busy ones waited
        self._pauses: list[tuple[float, int, _PacedRoom]] = []  # a heap, by their ends; those ended early stay in it
        self._numbers = count()  # order pauses that end at the same time
        self._n_grown = 0  # rooms, since the last turn: as many readers are woken, so that deliveries follow commits
        self._is_scheduled = False
        self._timer: asyncio.TimerHandle | None = None  # for the end of the first pause, while no room is due
        self._timer_at = inf

    @property
    def is_idle(self) -> bool:
        """Whether no reader is due to be woken, now or after a pause."""
        return not any(paced.n_chars or paced.n_due for paced in self._rooms.values())

    def schedule(self, room: Room, n_chars: int) -> None:
        """Wake the room's readers soon, after the room grew by `n_chars`."""
        self._n_grown += 1
        paced = self._rooms.get(room)
        if paced is None:
            paced = self._rooms[room] = _PacedRoom(room)
            self._add(paced, self._clock())
        elif not paced.n_chars:
            paced.grown_at = self._clock()
        paced.n_chars += n_chars
        if paced.paused_until > -inf and paced.n_chars >= ENOUGH_CHARS:
            self._add_after_pause(paced)
        if (self._due or self._quiet) and not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _add(self, paced: _PacedRoom, now: float) -> None:
        """Add a room that does not pause to those that are due."""
        paced.grown_at = now
        self._enqueue(paced, self._quiet if now - paced.room.delivered_at > QUIET_S else self._due)

    def _add_after_pause(self, paced: _PacedRoom) -> None:
        paced.paused_until = -inf
        self._enqueue(paced, self._due)

    def _enqueue(self, paced: _PacedRoom, queue: deque[_PacedRoom]) -> None:
        paced.n_due = len(paced.room.readers)
        self._n_due += paced.n_due
        queue.append(paced)

    def _wake(self) -> None:
        self._is_scheduled = False
        now = self._clock()
        self._end_pauses(now)
        budget = max(WAKES_A_TURN, self._n_due // BACKLOG_TURNS, self._n_grown)
        self._n_grown = 0
        n_woken = 0
        is_due_first, self._is_due_first = self._is_due_first, bool(self._due)
        while n_woken < budget and (self._due or self._quiet):
            # Half of a turn is left to busy rooms, so that thousands of quiet ones do not stop them, nor large ones.
            if self._quiet and (not self._due or (n_woken * 2 < budget and not is_due_first)):
                paced = self._quiet.popleft()
            else:
                paced = self._due.popleft()
                is_due_first = self._is_due_first = False
            n_woken += self._deliver(paced) + 1
            began, now = now, self._clock()
            paced.cost_s += now - began
            self._go_on(paced, now)
        self._schedule_next(now)

    def _deliver(self, paced: _PacedRoom) -> int:
        if paced.readers is None:
            self._n_due -= paced.n_due
            paced.begin()
            self._n_due += paced.n_due
        n_woken = paced.wake_some()
        self._n_due -= n_woken
        return n_woken

    def _go_on(self, paced: _PacedRoom, now: float) -> None:
        """Let a room wait for its next turn, pause, or leave it if nothing is due."""
        if paced.readers is not None:
            self._due.append(paced)  # after the other rooms
            return
        room = paced.room
        self.durations.observe(now - paced.began_with)
        room.delivered_at = now
        pause_s = self._choose_pause(paced, now)
        if pause_s >= MIN_PAUSE_S:
            paced.paused_until = now + pause_s
            heappush(self._pauses, (paced.paused_until, next(self._numbers), paced))
        elif paced.n_chars:
            self._enqueue(paced, self._due)
        else:
            del self._rooms[room]

    def _choose_pause(self, paced: _PacedRoom, now: float) -> float:
        """Return how long a room pauses after a delivery, so that its deliveries get their share of the processor."""
        cost_s = paced.cost_s
        if _pause_for(cost_s, LEAST_SHARE) < MIN_PAUSE_S:
            return 0.0
        worked_s = self._work_clock()
        before, worked_before_s = paced.room.work
        paced.room.work = now, worked_s
        others = (worked_s - worked_before_s - cost_s) / (now - before)
        return _pause_for(cost_s, min(max(1 - RESERVE * others, LEAST_SHARE), MOST_SHARE))

    def _end_pauses(self, now: float) -> None:
        pauses = self._pauses
        while pauses and pauses[0][0] < now + MIN_PAUSE_S:
            until, _, paced = heappop(pauses)
            if paced.paused_until != until:  # it ended early
                continue
            if paced.n_chars:
                self._add_after_pause(paced)
            else:
                del self._rooms[paced.room]

    def _schedule_next(self, now: float) -> None:
        loop = asyncio.get_running_loop()
        if self._due or self._quiet:
            self._is_scheduled = True
            loop.call_soon(self._wake)
        elif self._pauses and self._pauses[0][0] < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = self._pauses[0][0]
            self._timer = loop.call_later(self._timer_at - now, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = inf
        if not self._is_scheduled:
            self._wake()


def _pause_for(cost_s: float, share: float) -> float:
    """Return the pause after which a delivery has taken a share of the time, or the longest pause."""
    return min(cost_s * (1 / share - 1), MAX_PAUSE_S)

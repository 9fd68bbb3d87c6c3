"""Telling readers that their rooms grew: a bounded number in a turn of the event loop, in rounds that are paced.

A round costs nearly the same whether its readers are owed one message or a hundred. So the next waits for a time that
grows with what the last one cost, or until there is enough to tell: nobody waits while there is little to do, and under
load each write carries more.
"""

import asyncio
from collections.abc import Iterator
from math import inf
from time import perf_counter

from chatkit.core.room import Room, RoomReader

RINGS_A_TURN = 512  # readers told in one turn of the loop: a giant room leaves turns for the small ones
PACE = 8.0  # the rest between two rounds, as a multiple of what the first of them cost
MAX_REST_S = 0.02  # and at the most: a delay that no reader notices
ENOUGH_CHARS = 1 << 14  # of one room: what is written at once costs more by its bytes than by the call from here on


class Fanout:
    """Rings the readers of grown rooms, room by room in turns. What grows meanwhile is told in the next round."""

    def __init__(self) -> None:
        self._grown: dict[Room, int] = {}  # rooms whose readers are to be told, and of how much
        self._ringing: dict[Room, Iterator[RoomReader]] = {}  # rooms whose readers are being told, and who is left
        self._told: set[Room] = set()  # rooms of this round
        self._is_due = False
        self._resting: asyncio.TimerHandle | None = None
        self._spent_s = 0.0  # in this round, by now
        self._rest_until = -inf

    @property
    def is_silent(self) -> bool:
        """Say whether nobody is to be told anything."""
        return not (self._grown or self._ringing)

    def ring_soon(self, live: Room, n_chars: int) -> None:
        """Tell the room's readers with the next round that it grew by so much."""
        n_chars += self._grown.get(live, 0)
        self._grown[live] = n_chars
        if not self._is_due:
            self._is_due = True
            self._begin_round()
        elif n_chars >= ENOUGH_CHARS and self._resting is not None:
            self._resting.cancel()
            self._resting = None
            asyncio.get_running_loop().call_soon(self._ring)

    def _begin_round(self) -> None:
        loop = asyncio.get_running_loop()
        rest_s = self._rest_until - perf_counter()
        if rest_s > 0:
            self._resting = loop.call_later(rest_s, self._ring)
        else:
            loop.call_soon(self._ring)

    def _ring(self) -> None:
        self._resting = None
        began = perf_counter()
        self._ring_some()
        now = perf_counter()
        self._spent_s += now - began
        if self._ringing:
            asyncio.get_running_loop().call_soon(self._ring)
            return
        self._rest_until = now + min(PACE * self._spent_s, MAX_REST_S)
        self._spent_s = 0.0
        self._told.clear()
        self._is_due = bool(self._grown)
        if self._is_due:
            self._begin_round()

    def _ring_some(self) -> None:
        # A room that grows while a giant one is being told need not wait for that; but none is told twice in a round.
        for live in [live for live in self._grown if live not in self._told]:
            del self._grown[live]
            self._told.add(live)
            self._ringing[live] = _round(live)
        budget = RINGS_A_TURN
        for live in tuple(self._ringing):
            readers = self._ringing.pop(live)
            for reader in readers:
                reader.ring()
                budget -= 1
                if not budget:
                    self._ringing[live] = readers  # behind the others
                    return


def _round(live: Room) -> Iterator[RoomReader]:
    """Return those to tell, who came last first: a talker who came early then finds the round over when it answers."""
    return iter(tuple(reversed(live.readers)))

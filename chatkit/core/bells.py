"""Telling readers that their rooms grew: once a turn of the event loop, and in each turn a bounded number of them."""

import asyncio
from collections.abc import Iterator

from chatkit.core.live import LiveRoom, Reader

RINGS_A_TURN = 512  # readers told in one turn of the loop: a giant room leaves turns for the small ones


class Bells:
    """Rings the readers of grown rooms, room by room in turns. A room that grows meanwhile is told again after."""

    def __init__(self) -> None:
        self._grown: dict[LiveRoom, None] = {}  # rooms whose readers are to be told
        self._ringing: dict[LiveRoom, Iterator[Reader]] = {}  # rooms whose readers are being told, and who is left
        self._is_due = False

    @property
    def is_silent(self) -> bool:
        """Say whether nobody is to be told anything."""
        return not (self._grown or self._ringing)

    def ring_soon(self, live: LiveRoom) -> None:
        """Tell the room's readers, in the next turn or as soon after as others leave time."""
        self._grown[live] = None
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._ring)

    def _ring(self) -> None:
        """Tell a bounded number of readers, room by room in turns, and come back for the rest."""
        # A room that grew while its readers are being told waits for the next round: rounds do not pile up.
        for live in [live for live in self._grown if live not in self._ringing]:
            del self._grown[live]
            self._ringing[live] = _round(live)
        budget = RINGS_A_TURN
        for live in tuple(self._ringing):
            readers = self._ringing.pop(live)
            for reader in readers:
                reader.ring()
                budget -= 1
                if not budget:
                    self._ringing[live] = readers  # behind the others
                    break
            if not budget:
                break
        self._is_due = bool(self._ringing or self._grown)
        if self._is_due:
            asyncio.get_running_loop().call_soon(self._ring)


def _round(live: LiveRoom) -> Iterator[Reader]:
    """Return those to tell, who came last first: a talker who came early then finds the round over when it answers."""
    return iter(tuple(reversed(live.readers)))

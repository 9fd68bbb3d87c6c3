"""TurnQueue: shares the event loop between connections that need much of it.

One queue is for new connections, another for clients that send more than a turn's work. A connected client that sends
little is in neither, so it does not wait for the others. Knows nothing of what a connection does in its turn.
"""

import asyncio
from collections import deque
from collections.abc import Callable

Turn = Callable[[], None]


class TurnQueue:
    """The turns that are due, in order. Each iteration of the event loop takes one, however many connections wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: deque[Turn] = deque()
        self._is_scheduled = False

    def __len__(self) -> int:
        return len(self._due)

    def add(self, turn: Turn) -> None:
        """Call `turn` in a later iteration, after the turns that were added before it.

        A connection adds a turn only after it had the last one, so it has at most one in the queue.
        """
        self._due.append(turn)
        self._schedule()

    def start_now(self) -> bool:
        """Return whether the caller may have its turn now, because no other had one in this iteration."""
        if self._is_scheduled:
            return False
        self._is_scheduled = True
        self._loop.call_soon(self._run_next)
        return True

    def _schedule(self) -> None:
        if self._due and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._run_next)

    def _run_next(self) -> None:
        self._is_scheduled = False
        if not self._due:
            return
        turn = self._due.popleft()
        self._schedule()  # first: an error in this turn must not stop the others
        turn()

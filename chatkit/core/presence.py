"""Who comes and goes: gathered, told to the readers of this process, and shared with the other processes.

The roster knows who is where; this knows when to say so, and to whom.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from math import inf

from chatkit.core.backend import Backend
from chatkit.core.roster import Change, Roster
from chatkit.errors import ChatkitError

INTERVAL_S = 1.0  # who came and went is gathered this long
DELAY_S = 0.05  # the first to come after a quiet time need not wait for that
ANNOUNCED_AT_ONCE = 500  # arrivals, and as many departures: a few milliseconds of the store's writer
TTL_S = 8.0  # a killed process's members fade after this; a live one says three times as often that it lives

_logger = logging.getLogger(__name__)


class PresenceTracker:
    """Enters and takes out members; `tell` gets every change of a room, at most once a second for each."""

    def __init__(self, backend: Backend, tell: Callable[[Change], None]) -> None:
        self.roster = Roster(is_shared=backend.shared)
        self._backend = backend
        self._tell_readers = tell
        self._process = secrets.token_hex(6)
        self._due: asyncio.TimerHandle | None = None
        self._told_at = -inf  # a steady clock may have begun a moment ago: 0 is no time long past
        # To the other processes; -inf: all of it is due. By the wall clock: a loop's stops while a machine sleeps.
        self._announced_at = -inf

    def enter(self, room: str, name: str) -> None:
        """Count one more entry of the name."""
        self.roster.enter(room, name, time.time_ns() // 1_000_000)
        self._tell_soon()

    def leave(self, room: str, name: str) -> None:
        """Take back one entry."""
        self.roster.leave(room, name)
        self._tell_soon()

    def stop(self) -> None:
        """Tell nobody any more."""
        if self._due is not None:
            self._due.cancel()

    def _tell_soon(self) -> None:
        if self._due is None:
            loop = asyncio.get_running_loop()
            self._due = loop.call_later(max(DELAY_S, INTERVAL_S - (loop.time() - self._told_at)), self._tell)

    def _tell(self) -> None:
        self._due = None
        self._told_at = asyncio.get_running_loop().time()
        for change in self.roster.take_changes():
            self._tell_readers(change)

    async def share(self) -> None:
        """Tell the other processes who is here, and hear who is there."""
        is_well = True  # a store that is away is worth a word, not one a second
        while True:
            try:
                now = time.time()
                age_s = now - self._announced_at
                has_faded = not 0 <= age_s <= TTL_S
                if has_faded:  # this process or its machine was paused, the store was away, or the clock was set
                    self.roster.announce_all()
                if has_faded or age_s > TTL_S / 3 or self.roster.has_announcements:
                    await self.announce()
                    # What was announced before may have faded while this was on its way: then all is announced again.
                    is_late = not has_faded and time.time() - self._announced_at > TTL_S
                    self._announced_at = -inf if is_late else now
                for news in await self._backend.poll_presence(self._process):
                    self.roster.take_elsewhere(news)
                if self.roster.has_changes:
                    self._tell_soon()
                is_well = True
            except ChatkitError as error:
                if is_well:
                    _logger.warning("presence is not shared for now: %s", error)
                is_well = False
            except Exception:  # once must not be for ever: this process's members would fade
                _logger.exception("presence is not shared")
            await asyncio.sleep(INTERVAL_S)

    def renew(self) -> None:
        """Announce everyone anew: the store was away, and may have forgotten."""
        self._announced_at = -inf

    async def announce(self) -> None:
        """Tell the other processes what they do not know yet."""
        joined, left = self.roster.announcements()
        # In steps: who appends need not wait for thousands of arrivals to be written.
        for start in range(0, max(len(joined), len(left), 1), ANNOUNCED_AT_ONCE):
            stop = start + ANNOUNCED_AT_ONCE
            await self._backend.announce(self._process, joined=joined[start:stop], left=left[start:stop], ttl_s=TTL_S)
        self.roster.announced()

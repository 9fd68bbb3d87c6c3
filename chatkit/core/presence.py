"""Presence: collects the changes of members, reports them to readers, and shares them with the other processes.

The roster holds the members; this module decides when to report them, and to whom.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from math import inf

from chatkit.core.backend import Backend
from chatkit.core.roster import UNMARKED, Marks, Roster
from chatkit.core.signals import MembersChanged
from chatkit.errors import ChatkitError

INTERVAL_S = 1.0  # between two reports of the same process: changes are collected for this long
DELAY_S = 0.05  # before the first report after a time without changes, which need not wait for the interval
ANNOUNCED_AT_ONCE = 500  # joined members, and as many that left: a few milliseconds of the store's writer
TTL_S = 8.0  # the members of a killed process expire after this; a live process renews them three times as often

_logger = logging.getLogger(__name__)


class PresenceTracker:
    """Adds and removes members, and calls `on_change` with the changes of each room, at most once a second."""

    def __init__(self, backend: Backend, on_change: Callable[[MembersChanged], None]) -> None:
        self.roster = Roster(is_shared=backend.shared)
        self._backend = backend
        self._on_change = on_change
        self._process = secrets.token_hex(6)
        self._due: asyncio.TimerHandle | None = None
        self._reported_at = -inf  # a monotonic clock may have started a moment ago, so 0 is not in the distant past
        # When members were last announced; -inf if all are due. By the wall clock, as a loop's stops in suspend.
        self._announced_at = -inf

    def enter(self, room: str, name: str, marks: Marks = UNMARKED) -> None:
        self.roster.enter(room, name, time.time_ns() // 1_000_000, marks)
        self._schedule_report()

    def leave(self, room: str, name: str) -> None:
        self.roster.leave(room, name)
        self._schedule_report()

    def stop(self) -> None:
        """Cancel the next report."""
        if self._due is not None:
            self._due.cancel()

    def _schedule_report(self) -> None:
        if self._due is None:
            loop = asyncio.get_running_loop()
            self._due = loop.call_later(max(DELAY_S, INTERVAL_S - (loop.time() - self._reported_at)), self._report)

    def _report(self) -> None:
        self._due = None
        self._reported_at = asyncio.get_running_loop().time()
        for change in self.roster.pop_changes():
            self._on_change(change)

    async def share(self) -> None:
        """Announce this process's members and apply the changes of other processes, until cancelled."""
        is_shared = True  # so that an unavailable store is logged once, not once a second
        while True:
            try:
                now = time.time()
                age_s = now - self._announced_at
                has_expired = not 0 <= age_s <= TTL_S
                if has_expired:  # the process or machine was paused, the store was unavailable, or the clock was set
                    self.roster.announce_all()
                if has_expired or age_s > TTL_S / 3 or self.roster.has_announcements:
                    await self.announce()
                    # Earlier announcements may have expired during this call: then everything is announced again.
                    is_late = not has_expired and time.time() - self._announced_at > TTL_S
                    self._announced_at = -inf if is_late else now
                for change in await self._backend.poll_presence(self._process):
                    self.roster.apply_remote(change)
                if self.roster.has_changes:
                    self._schedule_report()
                is_shared = True
            except ChatkitError as error:
                if is_shared:
                    _logger.warning("presence is not shared with other processes at the moment: %s", error)
                is_shared = False
            except Exception:  # one error must not end the loop: this process's members would expire
                _logger.exception("sharing presence failed")
            await asyncio.sleep(INTERVAL_S)

    def renew(self) -> None:
        """Announce every member again: the store was unavailable, and may have lost them."""
        self._announced_at = -inf

    async def announce(self) -> None:
        """Announce the changes that the other processes do not have yet."""
        joined, left = self.roster.announcements()
        # In steps, so that appends need not wait until thousands of members are written.
        for start in range(0, max(len(joined), len(left), 1), ANNOUNCED_AT_ONCE):
            stop = start + ANNOUNCED_AT_ONCE
            await self._backend.announce(self._process, joined=joined[start:stop], left=left[start:stop], ttl_s=TTL_S)
        self.roster.announced()

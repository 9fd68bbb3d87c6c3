"""AccessNotifier: notifies the sessions of this process when their access changes or expires.

`AccessTable` knows who is concerned. Sessions are notified in slices, so that a change that concerns a hundred thousand
of them does not block the event loop.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from chatkit.core.access import RoomSettings
from chatkit.core.access_table import AccessTable
from chatkit.core.access_watchers import AccessWatcher
from chatkit.core.records import RecordChanges
from chatkit.core.tasks import Spawn

SLICE_S: Final = 0.001  # of the event loop; then everything else gets a turn
EXPIRY_POLL_S: Final = 0.5  # two integers are compared; so a session ends within this time after its token

_logger = logging.getLogger(__name__)


class AccessNotifier:
    """Applies changed records to a table, and notifies those who are concerned.

    `spawn` starts a coroutine as a task of the hub. `on_room_changed` is called with the new settings of a room.
    """

    def __init__(
        self,
        table: AccessTable,
        now_ms: Callable[[], int],
        spawn: Spawn,
        on_room_changed: Callable[[str, RoomSettings], None],
    ) -> None:
        self._table = table
        self._now_ms = now_ms
        self._spawn = spawn
        self._on_room_changed = on_room_changed

    def apply(self, changes: RecordChanges) -> None:
        """Update the table at once, so that the next check of each session decides by it, and notify the sessions."""
        change = self._table.apply(changes)
        if changes.whole and self._table.has_lost_tokens:
            _logger.warning("the store has lost its tokens: add one, or restart the server, before others can use it")
        for sentence in change.unreadable:
            _logger.error("a record of access was ignored: %s", sentence)
        for room in change.rooms:
            self._on_room_changed(room, self._table.room_settings(room))
        self._spawn(self._notify(self._table.watchers.concerned(change)))

    async def end_expired(self) -> None:
        """Notify the sessions whose tokens expire, until cancelled."""
        while True:
            await asyncio.sleep(EXPIRY_POLL_S)
            await self._notify([self._table.watchers.expired(self._now_ms())])

    async def _notify(self, lists: Iterable[Sequence[AccessWatcher]]) -> None:
        slice_ends_at = time.monotonic() + SLICE_S
        for watchers in lists:
            for watcher in watchers:
                _notify_one(watcher)
                slice_ends_at = await _pause_after(slice_ends_at)
            slice_ends_at = await _pause_after(slice_ends_at)  # to find a list takes time, too


async def _pause_after(slice_ends_at: float) -> float:
    """Give everything else a turn if the slice has ended; return when the current slice ends."""
    if time.monotonic() < slice_ends_at:
        return slice_ends_at
    await asyncio.sleep(0)
    return time.monotonic() + SLICE_S


def _notify_one(watcher: AccessWatcher) -> None:
    try:
        watcher.on_access_changed()
    except Exception:
        _logger.exception("a session failed when its access changed")  # which must not keep the others

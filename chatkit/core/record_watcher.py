"""RecordWatcher: reads what changes in the records of a store, and passes it on in this process."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final

from msgspec.structs import replace

from chatkit.backoff import Backoff
from chatkit.core.backend import Backend
from chatkit.core.model import Cursor  # noqa: TC001  # a cheap import is no reason to hide it
from chatkit.core.records import RecordChanges
from chatkit.errors import ChatkitError

POLL_S: Final = 1.0  # so a token that another process revoked is refused here after about a second
SLICE_RECORDS: Final = 64  # applied in half a millisecond; then everything else gets a turn of the event loop
MAX_RETRY_S: Final = 4.0  # the longest wait for a store that does not answer: it is asked by every process

_logger = logging.getLogger(__name__)


class RecordWatcher:
    """Calls `on_changes` with the records that changed, in the order of their versions, and at first with all of them.

    While the store does not answer, what was passed on last stays in force. `on_changes` must neither wait nor raise.
    """

    def __init__(self, backend: Backend, on_changes: Callable[[RecordChanges], None]) -> None:
        self._backend = backend
        self._on_changes = on_changes
        self._cursor: Cursor | None = None
        self._lock = asyncio.Lock()  # held from the read of changes until they are passed on: none overtakes another

    async def refresh(self) -> None:
        """Pass on every change that was made before this call. Raise `Unavailable` if the store does not answer."""
        async with self._lock:
            known = self._cursor
            changes = await self._backend.record_changes(known)
            # If the store was wiped under those who are served, none of them may see a part of the new records.
            is_divisible = known is None or not changes.whole
            for part in slices(changes) if is_divisible else [changes]:
                self._cursor = part.cursor  # a cancelled call loses nothing: the next one continues from there
                if part.records or part.whole:
                    self._on_changes(part)
                await asyncio.sleep(0)

    async def run(self) -> None:
        """Look for changes once a second, until cancelled."""
        backoff = Backoff(POLL_S, MAX_RETRY_S, jitter=0.1)
        wait_s = POLL_S
        is_logged = False  # so that an unavailable store is logged once, not once a second
        while True:
            await asyncio.sleep(wait_s)
            try:
                await self.refresh()
                backoff.reset()
                wait_s, is_logged = POLL_S, False
            except ChatkitError as error:
                wait_s = backoff.next_s()
                if not is_logged:
                    _logger.warning("changes of access cannot be read, so the last known rights apply: %s", error)
                is_logged = True
            except Exception:  # one error must not end the loop: no token would be revoked here any more
                wait_s = backoff.next_s()
                _logger.exception("reading the changes of access failed")


def slices(changes: RecordChanges) -> Iterator[RecordChanges]:
    """Iterate over changes in parts of `SLICE_RECORDS`, at least one, each with the cursor to continue from."""
    records = changes.records
    starts = range(0, max(1, len(records)), SLICE_RECORDS)
    for start in starts:
        part = records[start : start + SLICE_RECORDS]
        is_last = start == starts[-1]
        cursor = changes.cursor if is_last else replace(changes.cursor, seq=part[-1].version)
        yield RecordChanges(cursor, part, whole=changes.whole and start == 0)

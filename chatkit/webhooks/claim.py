"""Claim: one of the servers on a store delivers. It holds a claim, a record that it renews every two seconds.

No two clocks are compared. Another server takes the claim over when the record has not changed for `TAKE_OVER_S` by
its own clock; the holder stops `HELD_S` after its last renewal, by its own clock, which is earlier. A server that ends
gives the claim back, so that another takes it at once.
"""

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Final

from chatkit.core.consumer_records import RecordStore
from chatkit.errors import ChatkitError, VersionConflict

KIND: Final = "webhook_claim"
KEY: Final = "deliveries"
RENEW_S: Final = 2.0
HELD_S: Final = 5.0  # after the last renewal: two more may fail
TAKE_OVER_S: Final = 7.0


def _now_s() -> float:
    """Return a time that also goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Claim:
    """The claim of one process to deliver. `clock` returns seconds."""

    def __init__(self, store: RecordStore, *, clock: Callable[[], float] = _now_s) -> None:
        self._store = store
        self._clock = clock
        self._me = secrets.token_hex(8).encode()
        self._held_until_s = -inf
        self._version = 0  # of the record, when it was last seen to change
        self._changed_s = -inf

    @property
    def is_held(self) -> bool:
        """Whether this process delivers now, and no other."""
        return self._clock() < self._held_until_s

    async def renew(self) -> bool:
        """Renew the claim, or take it if nobody holds it; return whether it is held now.

        To be called every `RENEW_S`. Raise `Unavailable` if the store does not answer.
        """
        record = await self._store.get_record(KIND, KEY)
        version = 0 if record is None else record.version
        if record is not None and record.value not in {None, self._me}:
            if version != self._version:
                self._version, self._changed_s = version, self._clock()
            if self._clock() - self._changed_s < TAKE_OVER_S:
                self._held_until_s = -inf
                return False
        started_s = self._clock()
        try:
            await self._store.put_record(KIND, KEY, self._me, expected_version=version)
        except VersionConflict:  # another was faster
            self._held_until_s = -inf
        else:
            self._held_until_s = started_s + HELD_S
        return self.is_held

    async def release(self) -> None:
        """Give the claim back, if it is held."""
        if not self.is_held:
            return
        self._held_until_s = -inf
        with suppress(ChatkitError):
            record = await self._store.get_record(KIND, KEY)
            if record is not None and record.value == self._me:
                await self._store.put_record(KIND, KEY, None, expected_version=record.version)

"""Limits how many wrong tokens one address may send, so that guessing is slow. Knows nothing of requests.

Each address may send `BURST` wrong tokens in a row, and then one every `REFILL_S` seconds. Beyond that, its tokens are
refused without a comparison. The exception is an address that sent the right token within `PROVEN_S`: its tokens are
still compared, so that a stranger behind the same proxy or router cannot lock the others out. All workers share the
counts (`limit_table.py`).
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from chatkit.core.ban_list import client_network
from chatkit.errors import ChatkitError, RateLimited
from chatkit.server.limit_table import LimitEntry, LimitTable

BURST: Final = 20  # a person mistypes a few times; guessing takes far more
REFILL_S: Final = 5.0  # a word list of ten thousand then takes half a day
PROVEN_S: Final = 3_600.0  # how long an address is trusted after it sent the right token
WRONG, PROVEN, LOGGED = range(3)  # columns: when BURST wrong tokens are allowed again, and the ends of the other two

_logger = logging.getLogger(__name__)


class TooManyAttempts(RateLimited):
    """Too many wrong tokens came from this address."""

    def __init__(self, retry_after_s: float) -> None:
        ChatkitError.__init__(self, f"too many wrong tokens from this address: try again in {retry_after_s:.2g} s")
        self.retry_after_s = retry_after_s


class TokenAttempts:
    """Counts the wrong tokens of each address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, table: LimitTable | None = None) -> None:
        self._clock = clock
        self._table = table or LimitTable()

    def check(self, address: str, is_right: Callable[[], bool]) -> bool:
        """Return the result of `is_right` if the address may try. Raise `TooManyAttempts` if not."""
        self.check_blocked(address)
        if is_right():
            self.add_right(address)
            return True
        self.add_wrong(address)
        return False

    def check_blocked(self, address: str) -> None:
        """Raise `TooManyAttempts` if the address may not try."""
        entry, now = self._of(address), self._clock()
        if entry.read(PROVEN) <= now:
            self._check_left(entry, address, now)

    def add_right(self, address: str) -> None:
        """Count a right token from an address."""
        self._of(address).extend(PROVEN, self._clock() + PROVEN_S)

    def add_wrong(self, address: str) -> None:
        """Count a wrong token from an address. Raise `TooManyAttempts` if the address may not try any more."""
        entry, now = self._of(address), self._clock()
        self._check_left(entry, address, now)
        entry.use(WRONG, REFILL_S, now)

    def _of(self, address: str) -> LimitEntry:
        return self._table.entry("attempts", client_network(address))

    @staticmethod
    def _check_left(entry: LimitEntry, address: str, now: float) -> None:
        """Raise `TooManyAttempts` if no wrong token is left; the first refusal of a flood is logged."""
        full_at = entry.read(WRONG)
        wait_s = full_at - now - (BURST - 1) * REFILL_S
        if wait_s > 0:
            if entry.read(LOGGED) <= now:
                _logger.warning("too many wrong tokens from %s: its tokens are refused for a while", address)
            entry.extend(LOGGED, full_at)
            raise TooManyAttempts(wait_s)

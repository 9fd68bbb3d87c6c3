"""Limits how many wrong tokens one address may send, so that guessing is slow. Knows nothing of requests.

Each address may send `BURST` wrong tokens in a row, and then one every `REFILL_S` seconds. Beyond that, its tokens are
refused without a comparison. The exception is an address that sent the right token within `PROVEN_S`: its tokens are
still compared, so that a stranger behind the same proxy or router cannot lock the others out.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final

from chatkit.errors import ChatkitError, RateLimited

BURST: Final = 20  # a person mistypes a few times; guessing takes far more
REFILL_S: Final = 5.0  # a word list of ten thousand then takes half a day
PROVEN_S: Final = 3_600.0  # how long an address is trusted after it sent the right token
MAX_ADDRESSES: Final = 10_000  # remembered; when there are more, the oldest are forgotten

_logger = logging.getLogger(__name__)


class TooManyAttempts(RateLimited):
    """Too many wrong tokens came from this address."""

    def __init__(self, retry_after_s: float) -> None:
        ChatkitError.__init__(self, f"too many wrong tokens from this address: try again in {retry_after_s:.2g} s")
        self.retry_after_s = retry_after_s


class Attempts:
    """The attempts of one address: how many failures are left, and when the right token last came from it."""

    __slots__ = ("is_logged", "left", "proven_at", "seen_at")

    def __init__(self, now: float) -> None:
        self.left = float(BURST)
        self.seen_at = now
        self.proven_at: float | None = None
        self.is_logged = False

    def refill(self, now: float) -> None:
        """Add the failures that the passed time allows."""
        self.left = min(float(BURST), self.left + (now - self.seen_at) / REFILL_S)
        self.seen_at = now
        if self.left == BURST:
            self.is_logged = False

    def is_proven(self, now: float) -> bool:
        """Return whether the right token came from this address within `PROVEN_S`."""
        return self.proven_at is not None and now - self.proven_at < PROVEN_S


class TokenAttempts:
    """Counts the wrong tokens of each address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._addresses: OrderedDict[str, Attempts] = OrderedDict()

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
        now = self._clock()
        attempts = self._addresses.get(network_of(address))
        if attempts is not None:
            attempts.refill(now)
            if attempts.left < 1 and not attempts.is_proven(now):
                raise self._refusal(attempts, address)

    def add_right(self, address: str) -> None:
        """Count a right token from an address."""
        now = self._clock()
        self._of(address, now).proven_at = now

    def add_wrong(self, address: str) -> None:
        """Count a wrong token from an address. Raise `TooManyAttempts` if the address may not try any more."""
        now = self._clock()
        attempts = self._of(address, now)
        attempts.refill(now)
        if attempts.left < 1:
            raise self._refusal(attempts, address)
        attempts.left -= 1

    def _of(self, address: str, now: float) -> Attempts:
        key = network_of(address)
        attempts = self._addresses.get(key)
        if attempts is None:
            if len(self._addresses) >= MAX_ADDRESSES:
                self._addresses.popitem(last=False)
            attempts = self._addresses[key] = Attempts(now)
        self._addresses.move_to_end(key)
        return attempts

    def _refusal(self, attempts: Attempts, address: str) -> TooManyAttempts:
        if not attempts.is_logged:
            attempts.is_logged = True
            _logger.warning("too many wrong tokens from %s: its tokens are refused for a while", address)
        return TooManyAttempts((1 - attempts.left) * REFILL_S)


def network_of(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or an IPv6 /64, all of which one host can use."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))

"""How often a wrong token may be presented from one address. Knows nothing of requests; time is the caller's clock.

Each address may fail some times in a row, and then once in a while. Beyond that its tokens are refused without being
compared, so that guessing is slow. An address from which the right token came lately is still compared: a stranger who
shares it, behind one proxy or router, cannot keep the others out.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final

from chatkit.errors import ChatkitError, RateLimited

BURST: Final = 20  # a person mistypes a few times; a guesser needs far more
REFILL_S: Final = 5.0  # then one attempt each five seconds: a word list of ten thousand takes half a day
PROVEN_S: Final = 3_600.0  # for so long an address that presented the right token is trusted to have it
MAX_ADDRESSES: Final = 10_000  # addresses remembered; beyond it, the oldest are forgotten

_logger = logging.getLogger(__name__)


class TooManyAttempts(RateLimited):
    """Too many wrong tokens came from one address."""

    def __init__(self, retry_after_s: float) -> None:
        ChatkitError.__init__(self, f"too many wrong tokens from this address: try again in {retry_after_s:.2g} s")
        self.retry_after_s = retry_after_s


class Attempts:
    """One address: how many failures it has left, and when the right token last came from it."""

    __slots__ = ("is_logged", "left", "proven_at", "seen_at")

    def __init__(self, now: float) -> None:
        self.left = float(BURST)
        self.seen_at = now
        self.proven_at: float | None = None
        self.is_logged = False

    def refill(self, now: float) -> None:
        """Give back what the passed time allows."""
        self.left = min(float(BURST), self.left + (now - self.seen_at) / REFILL_S)
        self.seen_at = now
        if self.left == BURST:
            self.is_logged = False

    def is_proven(self, now: float) -> bool:
        """Return whether the right token came from here lately."""
        return self.proven_at is not None and now - self.proven_at < PROVEN_S


class TokenAttempts:
    """Counts the wrong tokens of each address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._addresses: OrderedDict[str, Attempts] = OrderedDict()

    def check(self, address: str, is_right: Callable[[], bool]) -> bool:
        """Compare a token by `is_right` if its address may try; return the result. Raise `TooManyAttempts` if not."""
        now = self._clock()
        attempts = self._addresses.get(network_of(address))
        if attempts is not None:
            attempts.refill(now)
        is_blocked = attempts is not None and attempts.left < 1
        if attempts is not None and is_blocked and not attempts.is_proven(now):
            raise self._refusal(attempts, address)
        if is_right():
            self._of(address, now).proven_at = now
            return True
        attempts = self._of(address, now)
        if is_blocked:
            raise self._refusal(attempts, address)
        attempts.left -= 1
        return False

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
            _logger.warning("too many wrong tokens from %s: more from there are refused for a while", address)
        return TooManyAttempts((1 - attempts.left) * REFILL_S)


def network_of(address: str) -> str:
    """Return what counts as one place: an IPv4 address, or the /64 of which an IPv6 host has all addresses."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))


def client_address(peer: str, forwarded_for: str | None) -> str:
    """Return the address that a request comes from.

    A proxy on this machine appends its client's to `X-Forwarded-For`. From anywhere else the header is a claim.
    """
    if not forwarded_for or not (peer == "" or _is_loopback(peer)):
        return peer
    last = forwarded_for.rpartition(",")[2].strip()
    return last if _is_address(last) else peer


def _is_loopback(address: str) -> bool:
    return _is_address(address) and ip_address(address).is_loopback


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True

"""Who may do what: the token, where a request may come from, and how much one sender may send."""

import hmac
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from chatkit.errors import Forbidden, Unauthorized
from chatkit.server.settings import BURST_S, MAX_RATE_BYTES, Settings, is_loopback

COOKIE: Final = "chatkit_token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

MAX_HOST_CHARS: Final = 512  # a domain name has at most 253 characters, an origin a scheme and a port besides
MAX_SHOWN_CHARS: Final = 80  # of what a stranger sent, in a sentence about it
MAX_TOKEN_CHARS: Final = 4_096  # far more than any token has; a longer one is not even compared

MIN_WAIT_S = 0.1  # a refused sender's next messages are under way already: they must not slip in before the refused one
SIGNAL_INTERVAL_S = 0.5  # between two signals of a sender's: pages send one every three seconds
MAX_BYTES_BURST_S = 4  # bytes a sender may send at once, in seconds of its rate
MAX_BUCKETS = 10_000  # senders remembered; beyond it, those whose bucket is full again are forgotten


class AccessPolicy:
    """Admits requests: by Host (no DNS rebinding), by Origin (no cross-site writing or WebSocket), by token."""

    def __init__(self, settings: Settings) -> None:
        self.token = settings.secret
        self._origins = {origin.rstrip("/").lower() for origin in settings.origins}
        self._hosts = {settings.host.lower(), *(_split(origin).hostname or "" for origin in self._origins)}
        if settings.is_wildcard:  # the greeting's link names this machine
            self._hosts.add(socket.gethostname().lower())
        self._is_loopback = settings.is_loopback

    def check_host(self, host: str | None) -> None:
        """Raise `Forbidden` if the `Host` header names a place that this server is not."""
        name = _split(f"//{host}").hostname if host else None
        if name is None or not (name in self._hosts or is_loopback(name) or _is_address(name)):
            named = (host or "")[:MAX_SHOWN_CHARS]
            raise Forbidden(f"this server is not {named!r}; if it should be, start it with --origin https://{named}")

    def check_origin(self, origin: str | None, host: str | None) -> None:
        """Raise `Forbidden` if a browser sends this from a page of another place."""
        if origin is None:
            return
        if len(origin) <= MAX_HOST_CHARS and origin.lower() in self._origins:
            return
        place = _split(origin.lower())
        if place.netloc and host is not None and len(host) <= MAX_HOST_CHARS and place.netloc == host.lower():
            return
        # A page of this machine's own, say a development server's, is as trusted as any program on it.
        if self._is_loopback and place.hostname and is_loopback(place.hostname):
            return
        named = origin[:MAX_SHOWN_CHARS]
        raise Forbidden(f"pages of {named} may not use this server; --origin {named} would let them")

    def check_token(self, token: str | None) -> None:
        """Raise `Unauthorized` if a token is needed and this is not it."""
        if self.token is not None and not (
            token
            and len(token) <= MAX_TOKEN_CHARS
            and hmac.compare_digest(token.encode(errors="surrogatepass"), self.token.encode())
        ):
            raise Unauthorized("this server needs a token" if not token else "this token is not valid here")


def _split(url: str) -> SplitResult:
    """Split a URL that a stranger sent. A text that is no URL, or is too long for one, has no host."""
    if len(url) <= MAX_HOST_CHARS:
        try:
            return urlsplit(url)
        except ValueError:
            pass
    return SplitResult("", "", "", "", "")


def bearer(authorization: str | None) -> str | None:
    """Return the token of an `Authorization` header, if it holds one."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _is_address(host: str) -> bool:
    # A rebinding attack comes by a name: an address in the Host header was typed by someone.
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class TokenBucket:
    """A token bucket over messages and bytes at once. Time is the caller's, in seconds.

    A refusal keeps the bucket closed until the sender has been quiet for as long as it was told to wait: what was sent
    behind a refused message is refused too, and so can be sent again in order.
    """

    __slots__ = ("_bytes", "_closed_until", "_messages", "_rate", "_seen_at", "_signalled_at")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._messages = self._burst
        self._bytes = float(MAX_RATE_BYTES * MAX_BYTES_BURST_S)
        self._seen_at = now
        self._closed_until = now
        self._signalled_at = now - SIGNAL_INTERVAL_S

    def take(self, n_bytes: int, now: float) -> float:
        """Take one message; return 0, or in how many seconds to try again."""
        self._refill(now)
        missing_s = max(
            (1 - self._messages) / self._rate, (n_bytes - self._bytes) / MAX_RATE_BYTES, self._closed_until - now, 0.0
        )
        if missing_s > 0:
            wait_s = max(missing_s, MIN_WAIT_S)
            self._closed_until = now + wait_s
            return wait_s
        self._messages -= 1
        self._bytes -= n_bytes
        return 0.0

    def _refill(self, now: float) -> None:
        passed_s = now - self._seen_at
        self._seen_at = now
        self._messages = min(self._burst, self._messages + passed_s * self._rate)
        self._bytes = min(MAX_RATE_BYTES * MAX_BYTES_BURST_S, self._bytes + passed_s * MAX_RATE_BYTES)

    @property
    def _burst(self) -> float:
        return max(1.0, self._rate * BURST_S)  # a rate of one a minute still lets that one through

    def may_signal(self, now: float) -> bool:
        """Say whether a signal may go out: they are few, and take nothing from what may be said."""
        may = now - self._signalled_at >= SIGNAL_INTERVAL_S
        if may:
            self._signalled_at = now
        return may

    def is_full(self, now: float) -> bool:
        """Say whether forgetting this bucket would change nothing."""
        return now - self._seen_at > max(BURST_S, 1 / self._rate)


class SenderLimiter:
    """One sender's bucket with a clock."""

    __slots__ = ("_bucket", "_clock")

    def __init__(self, bucket: TokenBucket, clock: Callable[[], float]) -> None:
        self._bucket = bucket
        self._clock = clock

    def take(self, n_bytes: int) -> float:
        """Take one message; return 0, or in how many seconds to try again."""
        return self._bucket.take(n_bytes, self._clock())

    def may_signal(self) -> bool:
        """Say whether something that is not stored may go to the others now."""
        return self._bucket.may_signal(self._clock())


class RateLimits:
    """Every sender's bucket, however many connections they have."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._buckets: dict[tuple[str, str], TokenBucket] = {}

    def of(self, address: str, sender: str) -> SenderLimiter | None:
        """Return what limits a sender at an address; None where nothing does."""
        if not self._rate:
            return None
        bucket = self._buckets.get((address, sender))
        if bucket is None:
            if len(self._buckets) >= MAX_BUCKETS:
                self._forget()
            bucket = self._buckets[address, sender] = TokenBucket(self._rate, self._clock())
        return SenderLimiter(bucket, self._clock)

    def _forget(self) -> None:
        """Forget the buckets that are full again, or, under a flood of names, those that came first."""
        now = self._clock()
        kept = [(who, bucket) for who, bucket in self._buckets.items() if not bucket.is_full(now)]
        self._buckets = dict(kept[-MAX_BUCKETS // 2 :])  # half of them: not every new name may cost a look at all

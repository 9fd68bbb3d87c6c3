"""Who may do what: the token, and where a request may come from."""

import hmac
import socket
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from chatkit.errors import Forbidden, Unauthorized
from chatkit.server.settings import Settings, is_loopback

COOKIE: Final = "chatkit_token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

MAX_HOST_CHARS: Final = 512  # a domain name has at most 253 characters, an origin a scheme and a port besides
MAX_SHOWN_CHARS: Final = 80  # of what a stranger sent, in a sentence about it
MAX_TOKEN_CHARS: Final = 4_096  # far more than any token has; a longer one is not even compared


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

"""Who may do what: the token, and where a request may come from."""

import hmac
import socket
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from chatkit.errors import Forbidden, Unauthorized
from chatkit.server.session_cookie import SessionCookie
from chatkit.server.settings import DEFAULT_PORTS, Settings, is_loopback
from chatkit.server.token_attempts import TokenAttempts

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

MAX_HOST_CHARS: Final = 512  # a domain name has at most 253 characters, an origin a scheme and a port besides
MAX_SHOWN_CHARS: Final = 80  # of what a stranger sent, in a sentence about it
MAX_TOKEN_CHARS: Final = 4_096  # far more than any token has; a longer one is not even compared


class AccessPolicy:
    """Admits requests: by Host (no DNS rebinding), by Origin (no cross-site writing or WebSocket), by token."""

    def __init__(self, settings: Settings, attempts: TokenAttempts | None = None) -> None:
        self.token = settings.secret
        self.cookie = None if settings.secret is None else SessionCookie(settings.secret, settings.path_prefix)
        self._attempts = attempts or TokenAttempts()
        self._origins = {origin.rstrip("/").lower() for origin in settings.origins}
        self._hosts = {settings.host.lower(), *(_split(origin).hostname or "" for origin in self._origins)}
        if settings.is_wildcard:  # the greeting's link names this machine
            self._hosts.add(socket.gethostname().lower())
        self.is_loopback = settings.is_loopback

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
        if self.is_loopback and place.hostname and is_loopback(place.hostname):
            return
        named = origin[:MAX_SHOWN_CHARS]
        raise Forbidden(f"pages of {named} may not use this server; --origin {named} would let them")

    def check(self, token: str | None, cookie: str | None, address: str) -> None:
        """Raise `Unauthorized` or `TooManyAttempts` unless the token, or the cookie given for it, is valid."""
        # A cookie is no guess: its value is too long for that, and a stale one is sent by every page that is open.
        if token or not (cookie and self.cookie and self.cookie.is_in(cookie.encode("latin-1", "replace"))):
            self.check_token(token, address)

    def check_token(self, token: str | None, address: str = "") -> None:
        """Raise `Unauthorized` if a token is needed and this is not it, `TooManyAttempts` after many wrong ones."""
        if self.token is None:
            return
        if not token:
            raise Unauthorized("this server needs a token")
        if not self._attempts.check(address, lambda: self._is_token(token)):
            raise Unauthorized("this token is not valid here")

    def _is_token(self, token: str) -> bool:
        return len(token) <= MAX_TOKEN_CHARS and hmac.compare_digest(
            token.encode(errors="surrogatepass"), (self.token or "").encode()
        )

    def is_https(self, host: str | None, scheme: str, forwarded_proto: str | None) -> bool:
        """Return whether the browser came by TLS: to this server, or to a proxy before it."""
        if scheme == "https" or (forwarded_proto or "").partition(",")[0].strip().lower() == "https":
            return True
        name = (host or "").lower()
        return f"https://{name}" in self._origins and f"http://{name}" not in self._origins


def _split(url: str) -> SplitResult:
    """Split a URL that a stranger sent. A text that is no URL, or is too long for one, has no host."""
    if len(url) <= MAX_HOST_CHARS:
        try:
            return urlsplit(url)
        except ValueError:
            pass
    return SplitResult("", "", "", "", "")


def port_of(host: str | None, own_port: int) -> int:
    """Return the port that the browser connected to, or our own where a proxy has the default one."""
    try:
        port = _split(f"//{host}").port
    except ValueError:
        port = None
    return own_port if port is None or port in DEFAULT_PORTS.values() else port


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

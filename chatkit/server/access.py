"""The access policy: under which host names, from which web origins and with which token a request is allowed."""

import hmac
import socket
from typing import Final
from urllib.parse import SplitResult, urlsplit

from chatkit.errors import Forbidden, Unauthorized
from chatkit.server.client_address import is_address
from chatkit.server.session_cookie import SessionCookie
from chatkit.server.settings import DEFAULT_PORTS, Settings, is_loopback
from chatkit.server.token_attempts import TokenAttempts

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

MAX_HOST_CHARS: Final = 512  # a domain name has at most 253 characters; an origin adds a scheme and a port
MAX_SHOWN_CHARS: Final = 80  # of a host or an origin that a client sent, in an error about it
MAX_TOKEN_CHARS: Final = 4_096  # far longer than any real token; a longer one is refused without a comparison


class AccessPolicy:
    """Checks the host (against DNS rebinding), the origin (against cross-site requests) and the token of a request."""

    def __init__(self, settings: Settings, attempts: TokenAttempts | None = None) -> None:
        self.token = settings.secret
        self.cookie = None if settings.secret is None else SessionCookie(settings.secret, settings.path_prefix)
        self._attempts = attempts or TokenAttempts()
        self._origins = {origin.rstrip("/").lower() for origin in settings.origins}
        self._hosts = {settings.host.lower(), *(_split(origin).hostname or "" for origin in self._origins)}
        if settings.is_wildcard:  # the banner's link names this machine
            self._hosts.add(socket.gethostname().lower())
        self.is_loopback = settings.is_loopback

    def check_host(self, host: str | None) -> None:
        """Raise `Forbidden` if the `Host` header does not name this server."""
        name = _split(f"//{host}").hostname if host else None
        # A rebinding attack uses a name. An address in the header was typed by a person.
        if name is None or not (name in self._hosts or is_loopback(name) or is_address(name)):
            shown = (host or "")[:MAX_SHOWN_CHARS]
            raise Forbidden(f"this server is not {shown!r}; if it should be, start it with --origin https://{shown}")

    def check_origin(self, origin: str | None, host: str | None) -> None:
        """Raise `Forbidden` if a browser sends the request for a page of another site that is not allowed."""
        if origin is None:
            return
        if len(origin) <= MAX_HOST_CHARS and origin.lower() in self._origins:
            return
        parts = _split(origin.lower())
        if parts.netloc and host is not None and len(host) <= MAX_HOST_CHARS and parts.netloc == host.lower():
            return
        # A page that this machine serves, such as a development server's, is trusted as much as any program on it.
        if self.is_loopback and parts.hostname and is_loopback(parts.hostname):
            return
        shown = origin[:MAX_SHOWN_CHARS]
        raise Forbidden(f"pages of {shown} may not use this server; to allow them, start it with --origin {shown}")

    def check(self, token: str | None, cookie: str | None, address: str) -> None:
        """Raise `Unauthorized` or `TooManyAttempts` unless the token or the session cookie is valid."""
        # A wrong cookie does not count as a failed attempt: its value is too long to guess, and every page that was
        # open before the secret changed sends a stale one.
        if token or not (cookie and self.cookie and self.cookie.is_in(cookie.encode("latin-1", "replace"))):
            self.check_token(token, address)

    def check_token(self, token: str | None, address: str = "") -> None:
        """Raise `Unauthorized` if the token is missing or wrong, `TooManyAttempts` if too many were wrong before."""
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
        """Return whether the browser used TLS, either to this server or to a proxy in front of it."""
        if scheme == "https" or (forwarded_proto or "").partition(",")[0].strip().lower() == "https":
            return True
        name = (host or "").lower()
        return f"https://{name}" in self._origins and f"http://{name}" not in self._origins


def _split(url: str) -> SplitResult:
    """Split a URL that a client sent. The result has no host if the text is not a URL or is too long."""
    if len(url) <= MAX_HOST_CHARS:
        try:
            return urlsplit(url)
        except ValueError:
            pass
    return SplitResult("", "", "", "", "")


def port_of(host: str | None, own_port: int) -> int:
    """Return the port that the browser connected to: of the `Host` header, or our own if that has the default port."""
    try:
        port = _split(f"//{host}").port
    except ValueError:
        port = None
    return own_port if port is None or port in DEFAULT_PORTS.values() else port


def bearer(authorization: str | None) -> str | None:
    """Return the token of an `Authorization` header, or None if it holds no bearer token."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None

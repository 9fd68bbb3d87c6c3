"""The access policy: under which host names and from which web origins a request is allowed. See also `identity.py`."""

import socket
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult, urlsplit

from chatkit.errors import Forbidden
from chatkit.server.client_address import is_address
from chatkit.server.settings import DEFAULT_PORTS, Settings, is_loopback

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

MAX_HOST_CHARS: Final = 512  # a domain name has at most 253 characters; an origin adds a scheme and a port
MAX_SHOWN_CHARS: Final = 80  # of a host or an origin that a client sent, in an error about it


class AccessPolicy:
    """Checks the host (against DNS rebinding) and the origin (against cross-site requests) of a request."""

    def __init__(self, settings: Settings) -> None:
        self._origins = {origin.rstrip("/").lower() for origin in settings.origins}
        self._hosts = {settings.host.lower(), *(_split(origin).hostname or "" for origin in self._origins)}
        if settings.is_wildcard:  # the banner's link names this machine
            self._hosts.add(socket.gethostname().lower())
        self.is_loopback = settings.is_loopback
        self._is_own = lru_cache(maxsize=256)(self._names_this_server)  # nearly all requests name few hosts

    def check_host(self, host: str | None) -> None:
        """Raise `Forbidden` if the `Host` header does not name this server."""
        is_own = self._is_own if host is not None and len(host) <= MAX_HOST_CHARS else self._names_this_server
        if not is_own(host):
            shown = (host or "")[:MAX_SHOWN_CHARS]
            raise Forbidden(f"this server is not {shown!r}; if it should be, start it with --origin https://{shown}")

    def _names_this_server(self, host: str | None) -> bool:
        name = _split(f"//{host}").hostname if host else None
        # A rebinding attack uses a name. An address in the header was typed by a person.
        return name is not None and (name in self._hosts or is_loopback(name) or is_address(name))

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

"""Where a server is and who calls: one URL, and the addresses made of it. Opens nothing."""

from typing import Self
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import msgspec

from chatkit.errors import BadRequest

DEFAULT_URL = "http://127.0.0.1:8000"
_SCHEMES = {"http": ("http", "ws"), "https": ("https", "wss"), "ws": ("http", "ws"), "wss": ("https", "wss")}


class Endpoint(msgspec.Struct, frozen=True):
    """A server's place, and the name and token to show there. `path` is empty or begins with `/`."""

    is_secure: bool
    host: str
    port: int
    path: str = ""
    name: str | None = None
    token: str | None = None

    @classmethod
    def parse(cls, url: str, name: str | None = None, token: str | None = None) -> Self:
        """Read a server's URL; raise `BadRequest` for what is none.

        The link that a server prints may be given as it is: its `?token=` is used unless there is a token already.
        """
        try:
            url.encode()  # raises for a lone surrogate
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise BadRequest(f"not a server's URL: {url!r} ({error})") from error
        if parts.scheme not in _SCHEMES or not _is_host(host):
            raise BadRequest(f"not a server's URL: {url!r} (such as {DEFAULT_URL})")
        token = token or parse_qs(parts.query).get("token", [None])[0]
        if token is not None and not (token.isascii() and token.isprintable()):
            raise BadRequest("a token is printable ASCII")  # else it could not stand in a header
        is_secure = parts.scheme in {"https", "wss"}
        path = quote(parts.path.rstrip("/"), safe="/%")
        return cls(is_secure, host, port or (443 if is_secure else 80), path, name, token)

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, where no proxy has any business."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")

    @property
    def url(self) -> str:
        """The server's URL, without secrets."""
        return f"{'https' if self.is_secure else 'http'}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """Host and port, as a URL writes them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def socket_url(self) -> str:
        """Where the WebSocket is. The token goes in a header: an address may end up in logs."""
        scheme = "wss" if self.is_secure else "ws"
        query = f"?{urlencode({'name': self.name})}" if self.name else ""
        return f"{scheme}://{self.authority}{self.path}/ws{query}"

    @property
    def headers(self) -> dict[str, str]:
        """What shows the token, on HTTP and on the WebSocket's handshake alike."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def target(self, path: str, **query: str | int | None) -> str:
        """Return a call's request target: `path` under the server's own, with those of `query` that are not None."""
        given = {key: str(value) for key, value in query.items() if value is not None}
        return f"{self.path}{path}{'?' + urlencode(given) if given else ''}"


def room_path(room: str) -> str:
    """Return the path of a room's calls."""
    return f"/rooms/{quote(room, safe='')}"


def _is_host(host: str) -> bool:
    """Say whether a name could be looked up: what could not would raise far from here."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return bool(host) and host.isprintable() and " " not in host

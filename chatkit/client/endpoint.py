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
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            port = parts.port
        except ValueError as error:
            raise BadRequest(f"not a server's URL: {url!r} ({error})") from error
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise BadRequest(f"not a server's URL: {url!r} (such as {DEFAULT_URL})")
        is_secure = parts.scheme in {"https", "wss"}
        return cls(
            is_secure,
            parts.hostname,
            port or (443 if is_secure else 80),
            parts.path.rstrip("/"),
            name,
            token or parse_qs(parts.query).get("token", [None])[0],
        )

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

"""The address of a server with the caller's name and credentials, and the URLs derived from it. Does no I/O."""

from base64 import b64encode
from typing import Self
from urllib.parse import SplitResult, parse_qs, quote, unquote_to_bytes, urlencode, urlsplit

import msgspec

from chatkit.errors import BadRequest

DEFAULT_URL = "http://127.0.0.1:8000"
_SCHEMES = {"http": ("http", "ws"), "https": ("https", "wss"), "ws": ("http", "ws"), "wss": ("https", "wss")}


class Endpoint(msgspec.Struct, frozen=True):
    """A server's address, and the name and credentials to send to it. `path` is empty or begins with `/`.

    `login` holds the user name and password of the URL, as `user:password`: a reverse proxy in front of a server asks
    for them. A server asks for a token. Only one of both is set, as both are sent in the header `Authorization`.
    """

    is_secure: bool
    host: str
    port: int
    path: str = ""
    name: str | None = None
    token: str | None = None
    login: bytes | None = None

    @classmethod
    def parse(cls, url: str, name: str | None = None, token: str | None = None) -> Self:
        """Parse a server's URL.

        The link that a server prints can be passed unchanged: its `?token=` is used unless `token` is given. Raise
        `BadRequest` for anything that is not the URL of a server, with a sentence that contains no credentials.
        """
        try:
            url.encode()  # raises for a lone surrogate
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname or "", parts.port
            if port == 0:
                raise ValueError("no server has the port 0")  # noqa: TRY301 - reported like the other faults of a URL
        except ValueError as error:
            raise BadRequest(f"not a server's URL: {public_url(url)!r} ({error})") from error
        if parts.scheme not in _SCHEMES or not _is_host(host):
            raise BadRequest(f"not a server's URL: {public_url(url)!r} (such as {DEFAULT_URL})")
        token = token or parse_qs(parts.query).get("token", [None])[0]
        if token is not None and not (token.isascii() and token.isprintable()):
            raise BadRequest("a token is printable ASCII")  # other characters cannot be sent in a header
        login = _login(parts)
        if login is not None and token is not None:
            raise BadRequest(
                "the server's URL has a user name and a password, and there is a token too: only one of them can be"
                " sent; remove the other"
            )
        is_secure = parts.scheme in {"https", "wss"}
        path = quote(parts.path.rstrip("/"), safe="/%")
        return cls(is_secure, host, port or (443 if is_secure else 80), path, name, token, login)

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine, so that no proxy is used."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")

    @property
    def url(self) -> str:
        """The server's URL without credentials."""
        return f"{'https' if self.is_secure else 'http'}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """Host and port in the syntax of a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def socket_url(self) -> str:
        """The URL of the WebSocket. The token is sent in a header, because URLs are logged."""
        scheme = "wss" if self.is_secure else "ws"
        return f"{scheme}://{self.authority}{self.socket_target}"

    @property
    def socket_target(self) -> str:
        """The request target of the WebSocket's handshake."""
        return self.target("/ws", name=self.name or None)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that carry the credentials, for HTTP requests and for the WebSocket's handshake."""
        if self.login is not None:
            return {"Authorization": f"Basic {b64encode(self.login).decode()}"}
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def target(self, path: str, **query: str | float | None) -> str:
        """Return a request target: the server's own path, `path`, and those of `query` that are not None."""
        given = {key: str(value) for key, value in query.items() if value is not None}
        return f"{self.path}{path}{'?' + urlencode(given) if given else ''}"


def room_path(room: str) -> str:
    """Return the path below which the requests of a room are."""
    return f"/rooms/{quote(room, safe='')}"


def _login(parts: SplitResult) -> bytes | None:
    """Return the user name and password of a URL as the bytes of a Basic credential (RFC 7617)."""
    if not parts.username:
        return None
    user = unquote_to_bytes(parts.username)
    if b":" in user:
        raise BadRequest("a user name in a server's URL contains no ':'")
    return user + b":" + unquote_to_bytes(parts.password or "")


def public_url(url: str) -> str:
    """Return a URL without the user name and password, and without the query, where a token may be."""
    scheme, separator, rest = url.rpartition("://")
    authority, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


def _is_host(host: str) -> bool:
    """Return whether a name can be looked up: for any other, the resolver raises `UnicodeError`."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return bool(host) and host.isprintable() and " " not in host

"""PlainRequest: a request for the messages of a room that has nothing unusual, read without Litestar.

What counts as plain is decided here, and nothing else: a room, a few headers that the routes do not read or that are
read here, and at most one parameter. Everything unusual is left to the routes.
"""

import re
from typing import Final, Self

from litestar.types import Receive
from litestar.types.asgi_types import HTTPScope

from chatkit.core.access import Identity
from chatkit.server.identity import Credentials

MAX_LENGTH_DIGITS: Final = 7  # of a body's length
PATH: Final = r"/rooms/([\w.-]+)/messages"
HEADERS: Final = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"authorization",
        b"connection",
        b"content-length",
        b"content-type",
        b"forwarded",
        b"host",
        b"idempotency-key",
        b"user-agent",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-real-ip",
    }
)
"""The headers of a plain request. None of those that a browser adds for a page of another site is among them."""

_HOST: Final = re.compile(rb"[0-9A-Za-z.:\[\]-]+")
_LENGTH: Final = re.compile(rb"[0-9]{1,%d}" % MAX_LENGTH_DIGITS)
_NAME: Final = re.compile(rb"(?:name=[0-9A-Za-z_.~%+-]*)?")
_LIMIT: Final = re.compile(rb"(?:limit=([1-9][0-9]{0,4}))?")
_IS_JSON: Final = {
    b"application/json": True,
    b"application/json; charset=utf-8": True,
    b"application/x-www-form-urlencoded": False,  # what curl sends for any text
    b"text/plain": False,
    b"text/plain; charset=utf-8": False,
    b"application/octet-stream": False,
    None: False,
}


class PlainRequest:
    """A request for the messages of a room. `user` and `auth` are those of the guard `check_request`, once it ran.

    `receive` is ASGI's. Use `match` to make one.
    """

    __slots__ = ("auth", "client", "headers", "query", "receive", "room", "scope", "user")

    user: Identity
    auth: Credentials

    def __init__(self, scope: HTTPScope, receive: Receive, room: str, headers: dict[bytes, bytes]) -> None:
        self.scope = scope
        self.receive = receive
        self.client = scope["client"]
        self.query = scope["query_string"]
        self.room = room
        self.headers = headers

    @classmethod
    def match(cls, scope: HTTPScope, receive: Receive, path: re.Pattern[str]) -> Self | None:
        """Return the request if its path and its headers are plain; `path` has a group for the room."""
        found = path.fullmatch(scope["path"])
        if found is None or scope.get("root_path"):
            return None
        fields = list(scope["headers"])
        headers = dict(fields)
        is_plain = len(headers) == len(fields) and headers.keys() <= HEADERS
        if not is_plain or _HOST.fullmatch(headers.get(b"host", b"")) is None:
            return None
        return cls(scope, receive, found[1], headers)

    @property
    def host(self) -> str:
        """The host that the client connected to."""
        return self.headers[b"host"].decode()

    @property
    def idempotency_key(self) -> str | None:
        """The header that overrides the key of a message; None without one."""
        value = self.headers.get(b"idempotency-key")
        return None if value is None else value.decode("latin-1")

    def is_publishing(self, max_bytes: int) -> bool:
        """Return whether the query, the type and the length of the body are plain, for `POST`."""
        length = self.headers.get(b"content-length", b"")
        return (
            _NAME.fullmatch(self.query) is not None
            and self.headers.get(b"content-type") in _IS_JSON
            and _LENGTH.fullmatch(length) is not None
            and int(length) <= max_bytes
        )

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON and not text. Only if `is_publishing`."""
        return _IS_JSON[self.headers.get(b"content-type")]

    def page_limit(self, default: int) -> int | None:
        """Return how many of the newest messages the client wants, for `GET`; None if it wants anything else."""
        found = _LIMIT.fullmatch(self.query)
        if found is None or b"content-length" in self.headers or b"ndjson" in self.headers.get(b"accept", b"").lower():
            return None
        return default if found[1] is None else int(found[1])

    async def read_body(self) -> bytes | None:
        """Return the body; None if the client disconnects before its end."""
        parts = bytearray()
        while True:
            event = await self.receive()
            if event["type"] != "http.request":
                return None
            if not event.get("more_body", False):
                return bytes(parts + event["body"]) if parts else event["body"]
            parts += event["body"]  # in linear time, however small the parts are

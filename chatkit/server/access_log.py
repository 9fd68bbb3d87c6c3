"""The access log: one line for each HTTP request and each WebSocket, when it ends, from the logger `chatkit.access`.

It is an ASGI application around the whole server, and is only there if the log level asks for it: otherwise no request
and no frame passes through here. What a peer sends (its path) is masked, and cut off where it is long.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from chatkit.core.token import MAX_SECRET_CHARS
from chatkit.server.client_address import TrustedProxies
from chatkit.server.token_masking import mask_tokens
from chatkit.websocket.codes import CloseCode
from chatkit.websocket.direct import DIRECT, DirectSocket, Receiver

LOGGER: Final = "chatkit.access"
FIELDS: Final = "fields"  # the attribute of a log record that has the values of a line by name
MAX_MASKED_CHARS: Final = 1_000  # of an address: to mask them takes a millisecond
MAX_PATH_CHARS: Final = 500  # enough for every path of the API with its query; a head may have 16 KiB

# Of any ASGI application, not only of Litestar: `chatkit serve app:app` logs in the same way.
Scope: TypeAlias = dict[str, Any]
Event: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]

_logger = logging.getLogger(LOGGER)


class AccessEntry:
    """One request or WebSocket: what is known at its beginning, and counts until its end. It is logged once."""

    __slots__ = ("_address", "_began_s", "_method", "_path", "is_logged", "n_received", "n_sent", "status")

    def __init__(self, scope: Scope, proxies: TrustedProxies) -> None:
        self._address = _address_of(scope, proxies)
        self._method = scope["method"] if scope["type"] == "http" else "WEBSOCKET"
        self._path = _path_of(scope)
        self._began_s = time.monotonic()
        self.n_received = 0  # bytes of the body, or of the messages from the client
        self.n_sent = 0  # bytes of the body, or of the frames to the client
        self.status: int | None = None  # of the HTTP response, or the WebSocket's close code
        self.is_logged = False

    def log(self) -> None:
        """Write the line, unless it was written before."""
        if self.is_logged:
            return
        self.is_logged = True
        duration_s = time.monotonic() - self._began_s
        _logger.info(
            "%s %s %s %s in=%d out=%d %.3fs",
            self._address,
            self._method,
            self._path,
            "-" if self.status is None else self.status,
            self.n_received,
            self.n_sent,
            duration_s,
            extra={
                FIELDS: {
                    "client": self._address,
                    "method": self._method,
                    "path": self._path,
                    "status": self.status,
                    "bytes_in": self.n_received,
                    "bytes_out": self.n_sent,
                    "duration_s": round(duration_s, 6),
                }
            },
        )


def _address_of(scope: Scope, proxies: TrustedProxies) -> str:
    peer = scope["client"][0] if scope["client"] else ""
    forwarded_for = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return proxies.client_address(peer, ", ".join(forwarded_for)) or "-"


def _path_of(scope: Scope) -> str:
    path = scope["raw_path"].decode("ascii", "backslashreplace")
    query = scope["query_string"].decode("ascii", "backslashreplace")
    sent = f"{path}?{query}" if query else path
    masked = mask_tokens(sent[:MAX_MASKED_CHARS])
    if len(sent) > MAX_MASKED_CHARS and len(masked) <= MAX_PATH_CHARS + MAX_SECRET_CHARS:
        masked = masked[: max(map(masked.rfind, "/?&")) + 1]  # the part that was cut off may be that of a token
    is_whole = len(sent) <= MAX_MASKED_CHARS and len(masked) <= MAX_PATH_CHARS
    return masked if is_whole else f"{masked[:MAX_PATH_CHARS]}…"


class AccessLog:
    """An ASGI application that logs what it passes to another one. `proxies` are those whose headers it believes."""

    def __init__(self, application: Any, proxies: TrustedProxies) -> None:
        self._application = application
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. Log it when it has ended, or leave that to its direct path."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        entry = AccessEntry(scope, self._proxies)
        logged = LoggedSocket.of(scope, entry) if scope["type"] == "websocket" else None
        passed = scope if logged is None else _with_socket(scope, logged)
        try:
            await self._application(passed, _counting_receive(receive, entry), _counting_send(send, entry))
        finally:
            if logged is None or not logged.is_attached:
                entry.log()


def _counting_receive(receive: Receive, entry: AccessEntry) -> Receive:
    async def counted() -> Event:
        event: Event = await receive()
        match event["type"]:
            case "http.request":
                entry.n_received += len(event.get("body", b""))
            case "websocket.receive":
                entry.n_received += len(event.get("bytes") or (event.get("text") or "").encode())
            case "websocket.disconnect" if entry.status is None:
                entry.status = event.get("code", CloseCode.ABNORMAL)
        return event

    return counted


def _counting_send(send: Send, entry: AccessEntry) -> Send:
    async def counted(event: Event) -> None:
        match event["type"]:
            case "http.response.start" | "websocket.http.response.start":
                entry.status = event["status"]
            case "http.response.body" | "websocket.http.response.body":
                entry.n_sent += len(event.get("body", b""))
            case "websocket.send":
                entry.n_sent += len(event.get("bytes") or (event.get("text") or "").encode())
            case "websocket.close":
                entry.status = event.get("code", CloseCode.NORMAL)
        await send(event)

    return counted


def _with_socket(scope: Scope, socket: "LoggedSocket") -> Scope:
    extensions = scope["extensions"]
    return {**scope, "extensions": {**extensions, DIRECT: {**extensions[DIRECT], "socket": socket}}}


class LoggedSocket:
    """A direct path that counts bytes, and logs its entry at the end.

    It stands between a socket and its receiver: for each of them, it is the other.
    """

    __slots__ = ("_entry", "_receiver", "_socket")

    def __init__(self, socket: DirectSocket, entry: AccessEntry) -> None:
        self._socket = socket
        self._entry = entry
        self._receiver: Receiver | None = None

    @classmethod
    def of(cls, scope: Scope, entry: AccessEntry) -> "LoggedSocket | None":
        """Return a socket around that of the scope; None if there is no direct path."""
        extension = (scope.get("extensions") or {}).get(DIRECT)
        return None if extension is None else cls(extension["socket"], entry)

    @property
    def is_attached(self) -> bool:
        """Whether the direct path carries the connection, and logs its end."""
        return self._receiver is not None

    # The socket, as the session sees it

    @property
    def deflate(self) -> int | None:
        return self._socket.deflate

    @property
    def is_writable(self) -> bool:
        return self._socket.is_writable

    def attach(self, receiver: Receiver, *, outlives_handler: bool = False) -> None:
        self._receiver = receiver
        self._socket.attach(self, outlives_handler=outlives_handler)

    def write(self, frames: bytes, /) -> None:
        self._entry.n_sent += len(frames)
        self._socket.write(frames)

    def send_text(self, payload: bytes) -> None:
        self._entry.n_sent += len(payload)
        self._socket.send_text(payload)

    def pause_reading(self) -> None:
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        self._socket.resume_reading()

    def close(self, code: int, reason: str = "") -> None:
        if self._entry.status is None:
            self._entry.status = code
        self._socket.close(code, reason)

    # The session, as the socket sees it

    def received_texts(self, texts: list[bytes]) -> int:
        n_handled = len(texts) if self._receiver is None else self._receiver.received_texts(texts)
        self._entry.n_received += sum(map(len, texts[:n_handled]))
        return n_handled

    def received_binary(self) -> None:
        if self._receiver is not None:
            self._receiver.received_binary()

    def writable_again(self) -> None:
        if self._receiver is not None:
            self._receiver.writable_again()

    def closed(self, code: int) -> None:
        if self._entry.status is None:
            self._entry.status = code
        self._entry.log()
        if self._receiver is not None:
            self._receiver.closed(code)

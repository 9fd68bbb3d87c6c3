"""Calls to a server over HTTP, one at a time on a kept connection. Blocking: an event loop runs them in a thread.

Values in, values out: no status, header or JSON goes past this module but as what it means.
"""

import http.client
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from chatkit.client.endpoint import Endpoint, room_path
from chatkit.client.errors import refusal_of_response
from chatkit.core.model import Cursor, Gap, Member, Message, parse_time
from chatkit.errors import Unavailable
from chatkit.wire.http import MemberList, MessagePage, PublishRequest, RoomList, RoomView
from chatkit.wire.protocol import Position, WireMessage

TIMEOUT_S = 30.0  # a search through a large room takes its time; a dead peer must not hold a command for ever
MAX_REPEATS = (
    3  # of a call whose connection broke: once for a kept connection gone stale, twice for a restarting server
)

ValueT = TypeVar("ValueT")


class HistoryResult(msgspec.Struct, frozen=True):
    """Some messages in `seq` order, where the room's log stood, and a gap if some of what was asked for are not there.

    `cursor` is where to read on after; `complete` says that nothing more matches in the direction that was read.
    """

    messages: Sequence[Message]
    cursor: Cursor
    first: int
    last: int
    complete: bool
    gap: Gap | None = None


class PublishResult(msgspec.Struct, frozen=True):
    """A message as the server keeps it, and whether its key had been stored before (then nothing was appended)."""

    message: WireMessage
    repeat: bool


class HttpClient:
    """One server's calls. `close` when done; used from several threads, the calls queue."""

    def __init__(self, endpoint: Endpoint, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._endpoint = endpoint
        self._connection: http.client.HTTPConnection | None = None
        self._turn = threading.Lock()  # of `_connection`: an answer belongs to the request before it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the kept connection, after the call that is under way."""
        with self._turn:
            self._drop()

    def publish(self, room: str, body: str, *, key: str, data: Any = None) -> PublishResult:
        """Publish one message. It is stored once, however often the connection breaks: the key sees to that."""
        target = self._endpoint.target(f"{room_path(room)}/messages", name=self._endpoint.name)
        status, answer = self._call("POST", target, msgspec.json.encode(PublishRequest(body, data, key)))
        return PublishResult(_decode(answer, WireMessage), repeat=status == 200)

    def history(
        self,
        room: str,
        *,
        after: Position | None = None,
        before: Position | None = None,
        limit: int | None = None,
        search: str | None = None,
        since: str | None = None,
        until: str | None = None,
        sender: str | None = None,
    ) -> HistoryResult:
        """Read a page of a room."""
        target = self._endpoint.target(
            f"{room_path(room)}/messages",
            after=after,
            before=before,
            limit=limit,
            search=search,
            since=since,
            until=until,
            sender=sender,
        )
        page = _decode(self._call("GET", target)[1], MessagePage)
        cursor = Cursor.parse(page.cursor)
        return HistoryResult(
            [message.to_message(cursor.epoch) for message in page.messages],
            cursor,
            page.first,
            page.last,
            page.complete,
            Gap(page.gap.after, page.gap.before, page.gap.reason) if page.gap else None,
        )

    def rooms(self) -> Sequence[RoomView]:
        """List the rooms."""
        return _decode(self._call("GET", self._endpoint.target("/rooms"))[1], RoomList).rooms

    def room(self, room: str) -> RoomView:
        """Describe one room."""
        return _decode(self._call("GET", self._endpoint.target(room_path(room)))[1], RoomView)

    def members(self, room: str) -> Sequence[Member]:
        """Say who is in a room."""
        answer = self._call("GET", self._endpoint.target(f"{room_path(room)}/members"))[1]
        return [Member(member.name, parse_time(member.since)) for member in _decode(answer, MemberList).members]

    def redact(self, room: str, seq: int) -> None:
        """Take away a message's body."""
        self._call("DELETE", self._endpoint.target(f"{room_path(room)}/messages/{seq}"))

    def _call(self, method: str, target: str, body: bytes | None = None) -> tuple[int, bytes]:
        headers = {"Accept": "application/json", **self._endpoint.headers}
        if body is not None:
            headers["Content-Type"] = "application/json"
        with self._turn:
            status, retry_after, answer = self._answer(method, target, body, headers)
        if status >= 400:
            raise refusal_of_response(status, answer, retry_after)
        return status, answer

    def _answer(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str | None, bytes]:
        for repeats_left in reversed(range(MAX_REPEATS)):
            try:
                connection = self._connected()
                connection.request(method, target, body, headers)
                response = connection.getresponse()
                return response.status, response.getheader("Retry-After"), response.read()
            except (ConnectionError, http.client.HTTPException) as error:
                # Every call may be made twice: reads change nothing, a publish has its key, a redaction stays one.
                self._drop()
                if not repeats_left or isinstance(error, ConnectionRefusedError):
                    raise self._unavailable(error) from error
            except OSError as error:
                self._drop()
                raise self._unavailable(error) from error
        raise AssertionError("the last round raises or returns")

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            at = self._endpoint
            kind = http.client.HTTPSConnection if at.is_secure else http.client.HTTPConnection
            self._connection = kind(at.host, at.port, timeout=self._timeout_s)
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _unavailable(self, error: Exception) -> Unavailable:
        return no_answer(self._endpoint, error)


def no_answer(endpoint: Endpoint, error: BaseException) -> Unavailable:
    """Make the error for a server that does not answer, with the reason in the system's words."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return Unavailable(f"no server answers at {endpoint.url}: {reason}")


def _decode(answer: bytes, kind: type[ValueT]) -> ValueT:
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unavailable(f"what answers is no chatkit server of this version: {error}") from error

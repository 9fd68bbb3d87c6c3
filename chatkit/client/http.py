"""Calls to a server over HTTP, one at a time on a kept connection. Blocking: an event loop runs them in a thread.

Values in, values out: no status, header or JSON leaves this module.
"""

import http.client
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from chatkit.client.connect import MAX_REDIRECTS, REDIRECT_STATUSES, no_answer, redirected, too_many_redirects
from chatkit.client.endpoint import Endpoint, room_path
from chatkit.client.errors import refusal_of_response
from chatkit.client.http_connection import Answer, DeadlineConnection
from chatkit.client.validation import (
    MessageListing,
    check_log,
    check_message,
    check_room_view,
    clamp_count,
    decode,
    read_cursor,
    read_gap,
    read_listing,
    read_members,
    read_messages,
    read_reached,
    read_rooms,
    read_unread,
)
from chatkit.core.message_state import Act
from chatkit.core.model import Cursor, Gap, Member, Message
from chatkit.core.reading import RoomUnread
from chatkit.errors import Unavailable
from chatkit.wire.http import (
    MarkerRequest,
    MarkerView,
    MemberList,
    MessageList,
    MessagePage,
    PublishRequest,
    RoomList,
    RoomView,
    UnreadList,
)
from chatkit.wire.protocol import Position, WireMessage

TIMEOUT_S: Final = (
    30.0  # of a whole call: a search through a large room is slow, and no server may delay a command longer
)
MAX_ROOM_PAGES: Final = 1_000  # of a list of rooms, of 1,000 rooms each: more are a server that never ends
MAX_ATTEMPTS: Final = 3  # at a call whose connection breaks: a kept one may be stale, and a server may be restarting
FRESH_S: Final = 1.0  # after its last use, a kept connection is not stale yet: servers keep one for 5 s and longer


class HistoryResult(msgspec.Struct, frozen=True):
    """A page of a room's messages.

    Attributes:
        messages: The messages, in ascending order of `seq`.
        cursor: The position from which to read on: after the page or, if nothing follows it, the end of the log.
        first: The `seq` of the oldest message that is stored; `last + 1` where none is.
        last: The `seq` of the newest message.
        complete: Whether no more messages match in the direction in which the page was read.
        gap: The messages that were asked for and are not stored any more, or None.
        reached: The number from which a search continues that has ended early: a server examines a limited number of
            messages for each page, and so may find few of them, or none. Pass it as `before`, or, if the page was read
            with `after`, as `after`. Otherwise None.
    """

    messages: Sequence[Message]
    cursor: Cursor
    first: int
    last: int
    complete: bool
    gap: Gap | None = None
    reached: int | None = None


class PublishResult(msgspec.Struct, frozen=True):
    """A message as the server stored it, and whether its key was stored before (then nothing was appended)."""

    message: WireMessage
    repeat: bool


class HttpClient:
    """The calls of one server. Call `close` at the end. Calls from several threads wait for each other.

    `timeout_s` bounds a whole call, in seconds, whatever the server sends. Every call may raise `Unavailable` and the
    error with which the server refuses it.
    """

    def __init__(self, endpoint: Endpoint, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._endpoint = endpoint
        self._current = endpoint  # where the server has redirected to
        self._connection: DeadlineConnection | None = None
        self._used_at = 0.0  # when the last answer on it was read, by `time.monotonic`
        self._is_interrupted = False
        self._lock = threading.Lock()  # of `_connection` and `_current`: an answer belongs to the request before it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the kept connection after the call in progress."""
        with self._lock:
            self._drop()

    def interrupt(self) -> None:
        """Interrupt the call in progress in another thread, which then raises `Unavailable`, and is not repeated."""
        self._is_interrupted = True
        connection = self._connection
        if connection is not None:
            connection.shut_down()

    def publish(
        self,
        room: str,
        body: str,
        *,
        key: str,
        data: Any = None,
        of: int | None = None,
        act: Act | None = None,
    ) -> PublishResult:
        """Publish one message. Because of the key, it is stored once even if the connection breaks."""
        body_bytes = msgspec.json.encode(PublishRequest(body, data, key, of, act))
        answer = self._call("POST", f"{room_path(room)}/messages", body_bytes, name=self._endpoint.name)
        message = decode(answer.body, WireMessage)
        check_message(message)
        return PublishResult(message, repeat=answer.status == 200)

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
        of: int | None = None,
        pinned: bool = False,
        raw: bool = False,
    ) -> HistoryResult:
        """Read a page of a room's messages; see `Client.history`."""
        answer = self._call(
            "GET",
            f"{room_path(room)}/messages",
            after=after,
            before=before,
            limit=limit,
            search=search,
            since=since,
            until=until,
            sender=sender,
            of=of,
            pinned="true" if pinned else None,
            raw="true" if raw else None,
        )
        page = decode(answer.body, MessagePage)
        cursor = read_cursor(page.cursor)
        check_log(page.first, page.last)
        return HistoryResult(
            read_messages(page, room, cursor, after=after, before=before),
            cursor,
            page.first,
            page.last,
            page.complete,
            read_gap(page.gap) if page.gap else None,
            read_reached(page, cursor, after=after, before=before),
        )

    def rooms(self, prefix: str = "") -> Sequence[RoomView]:
        """List the rooms whose names begin with `prefix`, page by page."""
        rooms: list[RoomView] = []
        for _ in range(MAX_ROOM_PAGES):
            page, is_complete = self.room_page(prefix, rooms[-1].room if rooms else None)
            rooms += page
            if is_complete or not page:
                break
        return rooms

    def room_page(self, prefix: str = "", after: str | None = None) -> tuple[Sequence[RoomView], bool]:
        """List at most 1,000 rooms whose names begin with `prefix`, after a name, and whether no others follow."""
        page = decode(self._call("GET", "/rooms", prefix=prefix or None, after=after).body, RoomList)
        return read_rooms(page, after), page.complete

    def room(self, room: str) -> RoomView:
        """Describe one room."""
        return check_room_view(decode(self._call("GET", room_path(room)).body, RoomView))

    def members(self, room: str) -> Sequence[Member]:
        """List the members of a room: at most 200."""
        return read_members(decode(self._call("GET", f"{room_path(room)}/members").body, MemberList).members)

    def redact(self, room: str, seq: int) -> WireMessage:
        """Redact a message: remove its body and data for good. Return what remains of it."""
        answer = self._call("DELETE", f"{room_path(room)}/messages/{seq}", name=self._endpoint.name)
        message = decode(answer.body, WireMessage)
        check_message(message)
        return message

    def mark(self, room: str, seq: int) -> int:
        """Note that the client's name has read a room up to a message; return the marker."""
        body = msgspec.json.encode(MarkerRequest(seq))
        answer = self._call("PUT", f"{room_path(room)}/marker", body, name=self._endpoint.name)
        return clamp_count(decode(answer.body, MarkerView).seq)

    def unread(self) -> Sequence[RoomUnread]:
        """List what the client's name has not read."""
        answer = self._call("GET", "/unread", name=self._endpoint.name)
        return [read_unread(each) for each in decode(answer.body, UnreadList).rooms]

    def mentions(self, *, before: str | None = None, limit: int | None = None) -> MessageListing:
        """List the newest messages of all rooms that mention the client's name."""
        answer = self._call("GET", "/mentions", before=before, limit=limit, name=self._endpoint.name)
        return read_listing(decode(answer.body, MessageList))

    def search(self, text: str, *, before: str | None = None, limit: int | None = None) -> MessageListing:
        """List the newest messages of all rooms that contain a text."""
        answer = self._call("GET", "/search", q=text, before=before, limit=limit)
        return read_listing(decode(answer.body, MessageList))

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        once: bool = False,
        extra_s: float = 0.0,
        **query: str | float | None,
    ) -> Answer:
        """Make a call and return its answer. With `once`, it is not made again if the connection breaks.

        `extra_s` is how long the server may wait before it answers, beside the time that a call may take.
        """
        with self._lock:
            if once and time.monotonic() - self._used_at > FRESH_S:
                self._drop()  # a kept connection may be stale
            self._is_interrupted = False
            deadline = time.monotonic() + self._timeout_s + extra_s
            for _ in range(MAX_REDIRECTS + 1):
                target = self._current.target(path, **query)
                answer = self._answer(method, target, body, deadline, attempts=1 if once else MAX_ATTEMPTS)
                self._used_at = time.monotonic()
                if answer.status not in REDIRECT_STATUSES:
                    break
                self._current = redirected(self._current, target, method, answer.status, answer.location)
            else:
                raise too_many_redirects(self._endpoint)
        if not 200 <= answer.status < 300:
            raise refusal_of_response(answer.status, answer.body, answer.retry_after)
        return answer

    def _answer(self, method: str, target: str, body: bytes | None, deadline: float, *, attempts: int) -> Answer:
        headers = {"Accept": "application/json", **self._current.headers}
        if body is not None:
            headers["Content-Type"] = "application/json"
        for attempts_left in reversed(range(attempts)):
            try:
                return self._connected(deadline).request(method, target, body, headers, deadline)
            except (ConnectionError, http.client.HTTPException) as error:
                # Other calls may be made twice: reads change nothing, a publish has its key, a redaction stays one.
                self._drop()
                if not attempts_left or self._is_interrupted or isinstance(error, ConnectionRefusedError):
                    raise self._no_answer(error) from error
            except (OSError, ValueError) as error:  # a `ValueError` from the parser of hostile headers
                self._drop()
                raise self._no_answer(error) from error
            except BaseException:
                self._drop()  # the rest of an answer may still be on the way
                raise
        raise AssertionError("the last attempt returns or raises")

    def _connected(self, deadline: float) -> DeadlineConnection:
        connection = self._connection
        if connection is None or not connection.is_open or connection.endpoint != self._current:
            self._drop()
            connection = self._connection = DeadlineConnection(self._current, deadline)
        return connection

    def _no_answer(self, error: Exception) -> Unavailable:
        failed, self._current = self._current, self._endpoint  # the next call asks again where the server is
        return no_answer(failed, error)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

"""Client: publish to a server's rooms, follow them and read them. Connections are made and made again underneath.

A publish that returned is committed, and was stored once. A follow misses and repeats nothing but the gaps that it
yields. Knows no JSON and no sockets.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from chatkit.client.changes import Changes
from chatkit.client.consuming import Consuming
from chatkit.client.endpoint import DEFAULT_URL, Endpoint
from chatkit.client.follower import RoomFollower
from chatkit.client.http import HttpClient
from chatkit.client.outgoing import Outgoing, iterate_outgoing
from chatkit.client.reading import Reading
from chatkit.client.signals import ConnectionWatcher, Item, Signal
from chatkit.core.message_state import Act
from chatkit.core.model import (
    ANONYMOUS,
    Cursor,
    Limits,
    Receipt,
    check_body,
    check_data,
    check_key,
    check_readable_room,
    check_room,
    check_sender,
)
from chatkit.errors import ChatkitError, Unavailable
from chatkit.wire.protocol import PublishCommand, TypingCommand

if TYPE_CHECKING:
    from chatkit.client.connection import PersistentConnection
    from chatkit.client.consumer_calls import ConsumerCalls

MAX_UNANSWERED = 1_000  # messages in flight: enough for 1,000 messages a second at a round trip of a second


class Client(Changes, Consuming, Reading):
    """A client of one server.

    Use `Client` as an asynchronous context manager:

        async with Client("https://chat.example.org", "ann", token) as client:
            await client.publish("ops", "backup done")

    Entering it does no I/O. The WebSocket is opened by the first call that needs one, and tried once: if that
    fails, the call raises the error. After that, the client reconnects by itself, with back-off, follows continue
    where they were, and unanswered messages are sent again. `history`, `scroll`, `rooms`, `room`, `members` and
    `redact` use HTTP.

    Args:
        url: URL of the server: `http`, `https`, `ws` or `wss`, with the path below which it serves. The link that
            a server prints can be passed unchanged: its `?token=` is used unless `token` is given. A user name
            and password in the URL are sent as Basic credentials, as a reverse proxy may ask for.
        name: Sender of the messages: 1 to 32 printable characters. Without a name, the sender is `anonymous`.
        token: Access token of the server: printable ASCII. It is sent only to the server in `url`.
        give_up_after_s: Time in seconds for which the client reconnects, or waits for the server's store, before it
            raises `Unavailable`. None reconnects without an end.
        ping_s: Interval between keepalive pings in seconds. A connection that no longer answers is noticed within
            twice that time, and 2 seconds.
        watcher: Function that is called with `ConnectionLost` when the connection is lost or the server's store
            is unavailable, and with `ConnectionRestored` when it is available again. It must not block.

    The environment is used for HTTP and for WebSockets alike:

    * `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` set the proxy, unless the server is on this
      machine: an HTTP proxy, which must allow CONNECT, or a SOCKS proxy, which needs the package `python-socks`.
    * `SSL_CERT_FILE` and `SSL_CERT_DIR` set the certificate authorities.

    Redirects are followed on the same host, with the same scheme or from `http` to `https`; credentials are not
    sent to another port, except from port 80 to 443. Any other redirect raises `ChatkitError` with the new address.

    Everything that a server sends is checked and bounded: answers of 32 MiB, events of 16 MiB, 30 seconds for a call
    over HTTP, and 10 seconds each for the handshake and the welcome. If the server answers no command for 30 seconds,
    the client reconnects; after the third time, the calls that wait raise `Unavailable`.

    Raises:
        BadRequest: If `url`, `token`, a proxy or a certificate file cannot be used. `url`, `token` and `name`
            are checked by the constructor, the others when the client connects.
        BadName: If `name` is not the name of a sender.
        Unauthorized: If the server needs a token, or another one. By any call.
        Forbidden: If the token does not have the right for a call. By any call.
        Unavailable: If the server does not answer, the client gave up, or it is not entered. By any call.
        ChatkitError: If the server refuses for another reason. By any call.

    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        name: str | None = None,
        token: str | None = None,
        *,
        give_up_after_s: float | None = None,
        ping_s: float = 20.0,
        watcher: ConnectionWatcher | None = None,
    ) -> None:
        self._endpoint = Endpoint.parse(url, None if name is None else check_sender(name), token)
        self._give_up_after_s = give_up_after_s
        self._ping_s = ping_s
        self._watcher: ConnectionWatcher = watcher or _ignore
        Reading.__init__(self, HttpClient(self._endpoint))
        Consuming.__init__(self, self._watcher, give_up_after_s)
        self._connections: list[PersistentConnection] = []
        self._unanswered = asyncio.Semaphore(MAX_UNANSWERED)
        self._tasks: list[asyncio.Task[None]] = []  # of the connections
        self._is_open = False

    async def __aenter__(self) -> Self:
        self._is_open = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_open = False
        await self._end_consumptions(exc)
        for task in self._tasks:
            task.cancel()
        # Not a task group: it would wrap every error of the block in an ExceptionGroup. A connection that fails raises
        # its error in the calls that wait for it; an error that is no `ChatkitError` is raised here.
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._call(self._calls.close)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    @property
    def name(self) -> str:
        """The name of this client's messages: that of its token or, before the first connection, the given one."""
        return self._connections[0].name if self._connections else self._endpoint.name or ANONYMOUS

    async def publish(
        self,
        room: str,
        body: str,
        *,
        data: Any = None,
        key: str | None = None,
        of: int | None = None,
        act: Act | None = None,
    ) -> Receipt:
        """Publish a message and return when it is committed.

        Waits while the server limits the rate. Concurrent calls share the socket, and their messages are stored in the
        order of the calls. When the call is cancelled, the message may or may not be stored; with the same `key` it
        can be published again without being stored twice.

        Args:
            room: Name of the room.
            body: Text of the message; a server accepts at most 65,536 bytes of UTF-8.
            data: JSON value for programs, or None; at most 65,536 bytes as JSON, nested at most 64 deep.
            key: Key of the message: 1 to 128 printable ASCII characters, or None for one that is generated. A
                message whose key the sender used before, in this room, is not stored again.
            of: Number of the earlier message that this one replies to, or, with an `act`, changes.
            act: How it changes that message. `reply`, `edit`, `react` and the like are shorter.

        Returns:
            Receipt: The message as it is stored, with the server's `seq` and time, and whether its key was used
            before.

        Raises:
            BadName: If `room` or `key` breaks its rule.
            BadBody: If `body` is not UTF-8 text or `data` is not JSON.
            TooLarge: If `body` or `data` is over the server's limit.
            RoomRenamed: If the room was renamed.
            KeyConflict: If the sender used `key` before for another message.
            BadReference: If a message cannot refer to `of`.

        """
        return await (await self.submit(room, body, data=data, key=key, of=of, act=act))

    async def submit(
        self,
        room: str,
        body: str,
        *,
        data: Any = None,
        key: str | None = None,
        of: int | None = None,
        act: Act | None = None,
        follow_rename: bool = False,
    ) -> asyncio.Future[Receipt]:
        """Send a message and return a future for its receipt; wait while 1,000 messages are unanswered.

        The messages of one caller are stored in the order in which they were submitted. Parameters and errors are those
        of `publish`. An error in a parameter is raised before the message is sent; an error of the server is
        raised by the future. With `follow_rename`, a message for a renamed room is stored at the room's new name, in
        order; otherwise it is refused with `RoomRenamed`.
        """
        connection = self._connection()
        await connection.ready()
        limits = Limits(body=connection.limits.body, data=connection.limits.data or connection.limits.body)
        command = PublishCommand(
            room=check_room(room),
            body=check_body(body, limits.body),
            data=data if data is None else check_data(data, limits.data),
            key=secrets.token_urlsafe(12) if key is None else check_key(key),
            of=of,
            act=act,
        )
        await self._unanswered.acquire()
        answer = connection.publish(command, has_own_key=key is not None, follow_rename=follow_rename).answer
        answer.add_done_callback(lambda _: self._unanswered.release())
        if connection.error is not None:  # it ended while this call waited for the semaphore
            answer.set_exception(connection.error)
        return answer

    async def publish_all(self, room: str, messages: Iterable[Outgoing] | AsyncIterable[Outgoing]) -> int:
        """Publish many messages in order, as fast as the server accepts them.

        Stops at the first message that is refused and raises its error; the messages before it are committed then.

        Args:
            room: Name of the room.
            messages: Bodies, or tuples of a body, data and, optionally, a key.

        Returns:
            int: The number of messages that were committed.

        """
        answers: deque[asyncio.Future[Receipt]] = deque()
        committed = 0
        try:
            async for body, data, key in iterate_outgoing(messages):
                answers.append(await self.submit(room, body, data=data, key=key))
                while answers and answers[0].done():
                    answers.popleft().result()
                    committed += 1
        except ChatkitError:
            await asyncio.gather(*answers, return_exceptions=True)
            raise
        await asyncio.gather(*answers, return_exceptions=True)
        for answer in answers:
            answer.result()
        return committed + len(answers)

    @overload
    def follow(
        self, room: str, *, after: str | Cursor | None = None, history: int = 10, signals: Literal[False] = False
    ) -> AsyncGenerator[Item, None]: ...

    @overload
    def follow(
        self, room: str, *, after: str | Cursor | None = None, history: int = 10, signals: Literal[True]
    ) -> AsyncGenerator[Item | Signal, None]: ...

    async def follow(
        self, room: str, *, after: str | Cursor | None = None, history: int = 10, signals: bool = False
    ) -> AsyncGenerator[Item | Signal, None]:
        """Iterate over a room's messages: those stored behind a position, then new ones as they are published.

        A `Gap` is yielded where messages are missing. If the room is renamed, the messages of its new name follow. The
        iteration ends only by an error; close it with `contextlib.aclosing`. A reader that stops reading delays no
        other reader.

        Args:
            room: Name of the room.
            after: Cursor of the last message that was read. It takes precedence over `history`.
            history: Number of stored messages to begin with, if `after` is None.
            signals: Whether to yield signals too: `Joined`, `RoomChanged`, `Presence`, `Typing`,
                `Redacted`, `ConnectionLost` and `ConnectionRestored`.

        Raises:
            BadName: If `room` is not the name of a room.
            BadCursor: If `after` is not a cursor.
            TooManyRooms: If one connection would follow more rooms than the server allows.
            NotFound: If the client may not read the room, also if it loses that right later.
            Banned: If the client is banned from the room, also if that happens later.
            RoomRenamed: If the room was renamed, and the client follows the room of that name already.

        """
        cursor = Cursor.parse(after) if isinstance(after, str) else after
        follow = RoomFollower(check_readable_room(room), cursor, history, with_signals=signals)
        connection = self._connection(without=follow.room)
        connection.follow(follow)  # before any wait: else two follows of a room could choose the same connection
        try:
            await connection.ready()
            while True:
                yield await follow.next()
                if follow.is_empty:
                    connection.resume(follow)
        finally:
            connection.unfollow(follow)

    async def typing(self, room: str) -> None:
        """Notify the other members of a room that this one is writing. The notification may be lost."""
        connection = self._connection()
        await connection.ready()
        connection.send(TypingCommand(room=check_room(room)))

    def _consumer_calls(self, room: str, name: str) -> "ConsumerCalls":
        if not self._is_open:
            raise Unavailable("the client is not open: enter it with `async with`")
        from chatkit.client.consumer_calls import ServerConsumer  # noqa: PLC0415 - most clients have no consumer

        return ServerConsumer(self._endpoint, room, name)

    def _connection(self, without: str | None = None) -> "PersistentConnection":
        """Return a connection that does not follow the room `without`; open one if all do.

        A connection delivers a room once. So the second follow of a room has a connection of its own.
        """
        self._connections = [connection for connection in self._connections if connection.error is None]
        return (
            next((connection for connection in self._connections if without not in connection.follows), None)
            or self._new_connection()
        )

    def _new_connection(self) -> "PersistentConnection":
        if not self._is_open:
            raise Unavailable("the client is not open: enter it with `async with`")
        from chatkit.client.connection import PersistentConnection  # noqa: PLC0415 - HTTP does not need websockets

        connection = PersistentConnection(
            self._endpoint, ping_s=self._ping_s, give_up_after_s=self._give_up_after_s, watcher=self._watcher
        )
        self._connections.append(connection)
        self._tasks = [task for task in self._tasks if not task.done() or task.exception()]
        self._tasks.append(asyncio.create_task(connection.run()))
        return connection


def _ignore(_signal: object) -> None:
    """Ignore a signal."""

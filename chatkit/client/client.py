"""Client: one server, seen from a program. Publish, follow, read; connections come and go underneath.

What it promises: a publish that returned is committed, and was stored once; a follow has no hole and no repeat but the
gaps that it yields. It knows no JSON, and nothing of sockets but that a link has one.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar, overload

from chatkit.client.endpoint import DEFAULT_URL, Endpoint
from chatkit.client.follower import RoomFollower
from chatkit.client.http import HistoryResult, HttpClient
from chatkit.client.pagination import scroll
from chatkit.client.signals import Item, LinkWatcher, Signal
from chatkit.core.model import (
    Cursor,
    Limits,
    Member,
    Receipt,
    check_body,
    check_data,
    check_key,
    check_room,
    check_sender,
)
from chatkit.errors import ChatkitError, Unavailable
from chatkit.wire.http import RoomView
from chatkit.wire.protocol import Position, PublishCommand, TypingCommand

if TYPE_CHECKING:
    from chatkit.client.connection import PersistentConnection

MAX_UNANSWERED = 1_000  # messages on their way at once: hides a round trip of a second at a thousand messages a second

At = int | str | Cursor
"""A `seq`, or a cursor."""
Outgoing = str | tuple[str, Any] | tuple[str, Any, str | None]
"""A body; or a body and its data; or a body, its data and its key."""

Params = ParamSpec("Params")
ValueT = TypeVar("ValueT")


class Client:
    """Talk to the server at `url`, as `name`, with `token`. Enter it with `async with`; it connects when first needed.

    The first connection is tried once: `Unavailable`, `Unauthorized` or `Forbidden` tell why there is none. After that
    it is made again whenever it breaks, with back-off, for `give_up_after_s` seconds, or for ever where that is None.
    A dead connection is noticed within twice `ping_s` and two seconds. `watcher` is told of what is lost and is back.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        name: str | None = None,
        token: str | None = None,
        *,
        give_up_after_s: float | None = None,
        ping_s: float = 20.0,
        watcher: LinkWatcher | None = None,
    ) -> None:
        self._endpoint = Endpoint.parse(url, None if name is None else check_sender(name), token)
        self._give_up_after_s = give_up_after_s
        self._ping_s = ping_s
        self._watcher: LinkWatcher = watcher or _ignore
        self._calls = HttpClient(self._endpoint)
        self._links: list[PersistentConnection] = []
        self._unanswered = asyncio.Semaphore(MAX_UNANSWERED)
        self._tasks: list[asyncio.Task[None]] = []  # of the links
        self._is_open = False

    async def __aenter__(self) -> Self:
        self._is_open = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_open = False
        for task in self._tasks:
            task.cancel()
        # Not a task group: it would dress every error of the block that it surrounds as an ExceptionGroup. A link that
        # fails tells those who wait on it; what it failed of, if it is none of our errors, comes out here.
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._calls.close)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def publish(self, room: str, body: str, *, data: Any = None, key: str | None = None) -> Receipt:
        """Publish a message and return when it is committed.

        Waits while the server says "too much". Many at once share the socket, in the order in which they were called.
        The receipt's message has the server's number, time and sender; body and data are those given. Cancelled, the
        message may or may not be stored; with the same `key` it can be tried again.
        """
        return await (await self.submit(room, body, data=data, key=key))

    async def submit(
        self, room: str, body: str, *, data: Any = None, key: str | None = None
    ) -> asyncio.Future[Receipt]:
        """Put a message on its way and return where its receipt will be; waits while too many are unanswered.

        The messages of one caller are stored in the order in which they were submitted. Raises `BadInput` for what the
        server would not take, so that nothing after it has been sent.
        """
        link = self._link()
        await link.ready()
        limits = Limits(body=link.limits.body, data=link.limits.data or link.limits.body)
        command = PublishCommand(
            room=check_room(room),
            body=check_body(body, limits.body),
            data=data if data is None else check_data(data, limits.data),
            key=secrets.token_urlsafe(12) if key is None else check_key(key),
        )
        await self._unanswered.acquire()
        answer = link.publish(command, has_own_key=key is not None).answer
        answer.add_done_callback(self._answered)
        if link.error is not None:  # it ended while we waited for our turn: nobody else would say so
            answer.set_exception(link.error)
        return answer

    async def publish_all(self, room: str, messages: Iterable[Outgoing] | AsyncIterable[Outgoing]) -> int:
        """Publish many messages in order, as fast as the server takes them, and return how many were committed.

        Stops at the first that is refused and raises why; those before it are committed by then.
        """
        answers: deque[asyncio.Future[Receipt]] = deque()
        committed = 0
        try:
            async for body, data, key in _outgoing(messages):
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
        """Yield the room's messages from the cursor `after` on, or from `history` before its end, and all that come.

        A `Gap` stands where messages are not to be had. With `signals`, also who comes and goes, who is writing, what
        was redacted, and that the connection is lost or back. Ends by an error only: the server's refusal, or
        `Unavailable` when the client gives up or is left.
        """
        cursor = Cursor.parse(after) if isinstance(after, str) else after
        follow = RoomFollower(check_room(room), cursor, history, with_signals=signals)
        link = self._link(without=follow.room)
        link.follow(follow)  # before any wait: else two follows of a room could choose the same link
        try:
            await link.ready()
            while True:
                yield await follow.next()
                if follow.is_empty:
                    link.resume(follow)
        finally:
            link.unfollow(follow)

    async def history(
        self,
        room: str,
        *,
        after: At | None = None,
        before: At | None = None,
        limit: int | None = None,
        search: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        sender: str | None = None,
    ) -> HistoryResult:
        """Read a page: the newest messages, the oldest above `after`, or the newest below `before`; always in order."""
        return await self._call(
            self._calls.history,
            check_room(room),
            after=_position(after),
            before=_position(before),
            limit=limit,
            search=search,
            since=_moment(since),
            until=_moment(until),
            sender=sender,
        )

    def scroll(
        self,
        room: str,
        *,
        after: At = 0,
        before: At | None = None,
        search: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        sender: str | None = None,
    ) -> AsyncIterator[Item]:
        """Yield every message above `after`, page by page, and a `Gap` where some are missing."""
        which = {"before": before, "search": search, "since": since, "until": until, "sender": sender}
        return scroll(self.history, room, after=after, **which)

    async def rooms(self) -> list[RoomView]:
        """Return what rooms there are."""
        return list(await self._call(self._calls.rooms))

    async def room(self, room: str) -> RoomView:
        """Return one of them; raise `NotFound`."""
        return await self._call(self._calls.room, check_room(room))

    async def members(self, room: str) -> list[Member]:
        """Return who is in a room."""
        return list(await self._call(self._calls.members, check_room(room)))

    async def redact(self, room: str, seq: int) -> None:
        """Take away a message's body for good; its number stays."""
        await self._call(self._calls.redact, check_room(room), seq)

    async def typing(self, room: str) -> None:
        """Show the others that this one is writing. May be lost."""
        link = self._link()
        await link.ready()
        link.tell(TypingCommand(room=check_room(room)))

    async def _call(self, call: Callable[Params, ValueT], /, *args: Params.args, **kwargs: Params.kwargs) -> ValueT:
        return await asyncio.to_thread(call, *args, **kwargs)

    def _link(self, without: str | None = None) -> "PersistentConnection":
        """Return a link that stands or will stand: one that does not follow the room `without`.

        A connection delivers a room once. So the second follow of a room has a link of its own.
        """
        self._links = [link for link in self._links if link.error is None]
        return next((link for link in self._links if without not in link.follows), None) or self._new_link()

    def _new_link(self) -> "PersistentConnection":
        if not self._is_open:
            raise Unavailable("the client is not open: enter it with `async with`")
        from chatkit.client.connection import PersistentConnection  # noqa: PLC0415  # who only asks over HTTP need not load the sockets

        link = PersistentConnection(
            self._endpoint, ping_s=self._ping_s, give_up_after_s=self._give_up_after_s, watcher=self._watcher
        )
        self._links.append(link)
        self._tasks = [task for task in self._tasks if not task.done() or task.exception()]
        self._tasks.append(asyncio.create_task(link.run()))
        return link

    def _answered(self, _answer: asyncio.Future[Receipt]) -> None:
        self._unanswered.release()


def _ignore(_signal: object) -> None:
    """Watch nothing."""


def _position(at: At | None) -> Position | None:
    return str(at) if isinstance(at, Cursor) else at


def _moment(at: datetime | str | None) -> str | None:
    return at.isoformat() if isinstance(at, datetime) else at


async def _outgoing(
    messages: Iterable[Outgoing] | AsyncIterable[Outgoing],
) -> AsyncIterator[tuple[str, Any, str | None]]:
    if isinstance(messages, AsyncIterable):
        async for message in messages:
            yield _parts(message)
    else:
        for message in messages:
            yield _parts(message)


def _parts(message: Outgoing) -> tuple[str, Any, str | None]:
    if isinstance(message, str):
        return message, None, None
    return message[0], message[1], message[2] if len(message) == 3 else None

"""SyncClient: the client for programs without an event loop. It runs a `Client`, and adds no rule of its own."""

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Self, TypeVar, overload

from chatkit.client.client import MAX_UNANSWERED, Client
from chatkit.client.endpoint import DEFAULT_URL
from chatkit.client.loop_thread import LoopThread, next_of
from chatkit.client.outgoing import Outgoing, parts_of
from chatkit.client.signals import ConnectionWatcher, Item, Signal
from chatkit.core.model import Cursor, Message, Receipt
from chatkit.errors import ChatkitError

if TYPE_CHECKING:
    from chatkit.client.consumption import Consumption
    from chatkit.client.sync_consumption import SyncConsumption

Params = ParamSpec("Params")
ValueT = TypeVar("ValueT")


class ThreadedClient(Client):
    """A client whose calls over HTTP run in the calling thread: they block, and never wait for an event loop."""

    async def _call(self, call: Callable[Params, ValueT], /, *args: Params.args, **kwargs: Params.kwargs) -> ValueT:
        return call(*args, **kwargs)

    def close_http(self) -> None:
        """Close the kept HTTP connection."""
        self._calls.close()


def _in_loop(
    method: Callable[Concatenate[Client, Params], Coroutine[Any, Any, ValueT]],
) -> "Callable[Concatenate[SyncClient, Params], ValueT]":
    """Return a method that runs one of `Client` in the event loop, and waits for it."""

    @wraps(method)
    def call(self: "SyncClient", /, *args: Params.args, **kwargs: Params.kwargs) -> ValueT:
        return self._loop.wait(self._loop.submit(method, self._client, *args, **kwargs))

    return call


def _over_http(
    method: Callable[Concatenate[Client, Params], Coroutine[Any, Any, ValueT]],
) -> "Callable[Concatenate[SyncClient, Params], ValueT]":
    """Return a method that runs one of `Client` that uses HTTP, in the calling thread."""

    @wraps(method)
    def call(self: "SyncClient", /, *args: Params.args, **kwargs: Params.kwargs) -> ValueT:
        self._loop.check_open()
        return _run(method(self._client, *args, **kwargs))

    return call


def _pages_over_http(
    method: Callable[Concatenate[Client, Params], AsyncIterator[ValueT]],
) -> "Callable[Concatenate[SyncClient, Params], Iterator[ValueT]]":
    """Return a method that iterates over what one of `Client` reads over HTTP, in the calling thread."""

    @wraps(method)
    def call(self: "SyncClient", /, *args: Params.args, **kwargs: Params.kwargs) -> Iterator[ValueT]:
        items = method(self._client, *args, **kwargs)
        with suppress(StopAsyncIteration):
            while True:
                self._loop.check_open()
                yield _run(next_of(items))

    return call


class SyncClient:
    """A client of one server whose calls block, for scripts, notebooks and threads.

    Use `SyncClient` as a context manager, or call `close` at the end:

        with SyncClient("https://chat.example.org", "ann", token) as client:
            client.publish("ops", "backup done")
            for message in client.follow("ops", history=0):
                print(message)

    It has the parameters, guarantees and errors of `Client`, and its methods. Several threads may use one client:
    messages of one thread are stored in their order, and calls over HTTP wait for each other. Calls that publish or
    follow run in the event loop of a background thread, which the first of them starts; Ctrl-C ends the call that
    waits. A client that was not closed is closed when the program ends, and does not keep it alive. In an asyncio
    program, use `Client`: this one would block the event loop.

    Args:
        url: URL of the server, as for `Client`.
        name: Sender of the messages.
        token: Access token of the server.
        give_up_after_s: Time in seconds for which the client reconnects before it raises `Unavailable`. None
            reconnects without an end.
        ping_s: Interval between keepalive pings in seconds.
        watcher: Function that is called, in the background thread, with `ConnectionLost` and `ConnectionRestored`. It
            must not block, nor call the client.

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
        self._client = ThreadedClient(url, name, token, give_up_after_s=give_up_after_s, ping_s=ping_s, watcher=watcher)
        self._loop = LoopThread(self._client)
        # Also runs when the program ends, or when the client is not referred to any more.
        self._finalizer = weakref.finalize(self, _close, self._client, self._loop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Calls that wait in other threads raise `Unavailable`; so do later calls."""
        self._finalizer()

    @property
    def name(self) -> str:
        """The name of this client's messages: that of its token or, before the first connection, the given one."""
        return self._client.name

    publish = _in_loop(Client.publish)
    reply = _in_loop(Client.reply)
    edit = _in_loop(Client.edit)
    react = _in_loop(Client.react)
    unreact = _in_loop(Client.unreact)
    pin = _in_loop(Client.pin)
    unpin = _in_loop(Client.unpin)
    typing = _in_loop(Client.typing)

    history = _over_http(Client.history)
    scroll = _pages_over_http(Client.scroll)
    rooms = _over_http(Client.rooms)
    room = _over_http(Client.room)
    members = _over_http(Client.members)
    redact = _over_http(Client.redact)
    mark = _over_http(Client.mark)
    unread = _over_http(Client.unread)
    mentions = _over_http(Client.mentions)
    search = _over_http(Client.search)

    def publish_all(self, room: str, messages: Iterable[Outgoing]) -> int:
        """Publish many messages in order, as fast as the server accepts them.

        The iterable is read in the calling thread, and may block. Stops at the first message that is refused and raises
        its error; the messages before it are committed then, and up to 1,000 behind it may be.

        Args:
            room: Name of the room.
            messages: Bodies, or tuples of a body, data and, optionally, a key.

        Returns:
            int: The number of messages that were committed.

        """
        sending = asyncio.Lock()  # so that a message does not overtake one that waits for the connection

        async def publish(body: str, data: Any, key: str | None) -> Receipt:
            async with sending:
                answer = await self._client.submit(room, body, data=data, key=key)
            return await answer

        answers: deque[Future[Receipt]] = deque()
        committed = 0
        try:
            for body, data, key in map(parts_of, messages):
                answers.append(self._loop.submit(publish, body, data, key))
                while answers and (answers[0].done() or len(answers) == MAX_UNANSWERED):
                    self._loop.wait(answers.popleft())
                    committed += 1
            while answers:
                self._loop.wait(answers.popleft())
                committed += 1
        except ChatkitError:
            wait(answers)
            raise
        except BaseException:
            for answer in answers:
                answer.cancel()
            raise
        return committed

    @overload
    def follow(
        self, room: str, *, after: str | Cursor | None = None, history: int = 10, signals: Literal[False] = False
    ) -> Generator[Item, None, None]: ...

    @overload
    def follow(
        self, room: str, *, after: str | Cursor | None = None, history: int = 10, signals: Literal[True]
    ) -> Generator[Item | Signal, None, None]: ...

    def follow(
        self, room: str, *, after: str | Cursor | None = None, history: int = 10, signals: bool = False
    ) -> Generator[Item | Signal, None, None]:
        """Iterate over a room's messages: those stored behind a position, then new ones as they are published.

        Parameters, items and errors are those of `Client.follow`. The iterator waits for new messages without an end;
        leave the loop to stop.
        """
        if signals:
            return self._loop.iterate(self._client.follow(room, after=after, history=history, signals=True))
        return self._loop.iterate(self._client.follow(room, after=after, history=history))

    def consume(
        self,
        room: str,
        *,
        as_: str,
        after: str | Cursor = "end",
        limit: int = 100,
        lease_s: float = 30.0,
        retries: int | None = None,
        ordered: bool = True,
        changes: bool = False,
        where: Callable[[Message], bool] | None = None,
    ) -> "SyncConsumption":
        """Iterate over the messages of a room for a consumer, whose position the server keeps.

        Parameters, guarantees and errors are those of `Client.consume`; `where` is called in the background thread.
        Use the result in a `with` block, so that the current message is given back when the block is left:

            with client.consume("ops", as_="indexer") as messages:
                for message in messages:
                    index(message)

        If an error or a `break` leaves the block, the current message has failed; Ctrl-C is no failure.
        """
        from chatkit.client.sync_consumption import SyncConsumption  # noqa: PLC0415 - most programs have none

        async def consume() -> "Consumption":
            return self._client.consume(
                room,
                as_=as_,
                after=after,
                limit=limit,
                lease_s=lease_s,
                retries=retries,
                ordered=ordered,
                changes=changes,
                where=where,
            )

        return SyncConsumption(self._loop.wait(self._loop.submit(consume)), self._loop)


def _run(job: Coroutine[Any, Any, ValueT]) -> ValueT:
    """Run a coroutine that waits for nothing, and return its result."""
    try:
        job.send(None)
    except StopIteration as done:
        result: ValueT = done.value
        return result
    raise RuntimeError("the coroutine waits for an event loop")


def _close(client: ThreadedClient, loop: LoopThread) -> None:
    loop.close()
    client.close_http()

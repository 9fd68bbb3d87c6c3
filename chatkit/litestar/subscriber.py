"""Subscriber: the events of some channels, for one reader. Events that it has not read wait in the channels."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Literal, cast, overload

from litestar import channels as litestar_channels
from litestar.channels import subscriber as reference

from chatkit.litestar.current_subscriber import serve
from chatkit.litestar.direct_sender import DirectSender, SocketCallback
from chatkit.litestar.events import Event
from chatkit.litestar.reader import EventReader
from chatkit.litestar.task_guard import TaskGuard

if TYPE_CHECKING:
    from chatkit.litestar.cursor import ChannelCursor

STALL_S: Final = 10.0  # leaving waits while the callback makes progress; one that makes none for so long is cancelled


class Subscriber(EventReader, reference.Subscriber):
    """A stream of the events of the channels that it was subscribed to.

    With a `max_backlog`, events that the reader does not take in time are dropped by the strategy and counted in
    `dropped`. Without one, none is dropped: a reader that is far behind reads from the store.
    """

    def __init__(
        self,
        plugin: litestar_channels.ChannelsPlugin,
        max_backlog: int | None = None,
        backlog_strategy: reference.BacklogStrategy = "backoff",
    ) -> None:
        self._plugin = plugin
        self._backend = plugin._backend  # noqa: SLF001  # where Litestar's subscribers find it
        self._task: asyncio.Task[None] | None = None
        # A subclass that overrides what the reference calls for each event gets these calls.
        kind = type(self)
        EventReader.__init__(
            self, max_backlog or 0, backlog_strategy, hears_put=kind.put_nowait is not Subscriber.put_nowait
        )
        self._queue = self._stream  # by the name that the reference gives it
        self._callback: SocketCallback | None = None
        self._n_taken = 0  # how far the reader got on
        self._is_finishing = False  # the reader is to end where the channels stand
        self._is_read_out = asyncio.Event()  # set when the end is in the stream
        self._is_stopping = False  # the reader's task was cancelled
        self._has_ended = False
        self._may_be_direct = not (self._max_backlog or self._hears_put) and (
            kind.iter_events is Subscriber.iter_events
            and kind.put is Subscriber.put
            and kind._worker is Subscriber._worker  # noqa: SLF001  # our own
        )

    # What an application sees

    @property
    def channels(self) -> frozenset[str]:
        """The channels that this subscriber is subscribed to."""
        return frozenset(self._cursors)

    @property
    def qsize(self) -> int:
        """How many events wait for the reader."""
        return self._stream.qsize() + sum(cursor.lag for cursor in self._cursors.values())

    @property
    def dropped(self) -> int:
        """How many events the backlog dropped."""
        return self._stream.dropped

    @property
    def missed(self) -> int:
        """How many events were trimmed before this subscriber could read them."""
        return self._missed

    @property
    def has_ended(self) -> bool:
        """Whether this subscriber has left its last channel, or the application has shut down."""
        return self._has_ended

    @property
    def is_running(self) -> bool:
        """Whether events are being sent in the background."""
        return self._task is not None

    async def put(self, item: bytes | None) -> None:
        """Put an item in the stream; wait while the backlog is full. None ends one reading."""
        await self._stream.put(item)
        self._ring_sender()

    def put_nowait(self, item: bytes | None) -> bool:
        """Put an item in the stream; say whether it is in it, or was dropped."""
        was_taken = self._offer(item)
        self._ring_sender()
        return was_taken

    @overload
    def iter_events(self) -> AsyncGenerator[bytes, None]: ...
    @overload
    def iter_events(self, *, with_metadata: Literal[False]) -> AsyncGenerator[bytes, None]: ...
    @overload
    def iter_events(self, *, with_metadata: Literal[True]) -> AsyncGenerator[Event, None]: ...

    async def iter_events(self, *, with_metadata: bool = False) -> AsyncGenerator[Any, None]:
        """Iterate over the stream, waiting for what is next; with their metadata, events are `Event`s, else bytes.

        It ends when the subscriber was unsubscribed from its last channel, or the application shuts down.
        """
        stream = self._stream
        while True:
            if self._has_ended and stream.empty():
                return
            payload = await stream.get()
            taken = stream.taken
            self._n_taken += 1
            if self._lagging:
                self._refill()
            try:
                if payload is None:
                    return
                yield _event_of(taken) if with_metadata else _data_of(taken, payload)
            finally:
                stream.task_done()

    @asynccontextmanager
    async def run_in_background(
        self,
        on_event: reference.EventCallback,
        join: bool = True,  # noqa: FBT001, FBT002  # the reference's signature
    ) -> AsyncGenerator[None, None]:
        """Call `on_event` with every event while the block runs.

        With `join`, leaving the block waits until the events published by then have been given to the callback, unless
        that is a socket's own method and its client is gone. Later events wait in the stream. An error in the block
        ends it at once. An error of the callback cancels the block and is raised from it.
        """
        self._start_in_background(on_event)
        guard = TaskGuard(cast("asyncio.Task[None]", self._task))
        try:
            yield
        except BaseException as error:
            if guard.leave() and isinstance(error, asyncio.CancelledError):
                await self._end_task()
                guard.raise_error()
            with suppress(Exception):
                await self.stop()
            raise
        if guard.leave():
            await guard.swallow_cancel()
        await self.stop(join=join)

    async def stop(self, join: bool = False) -> None:  # noqa: FBT001, FBT002 - the reference's signature
        """Stop the task of `run_in_background`; with `join`, after it has processed the events published by now.

        There is nothing to wait for if the client that the callback sends to is gone. Raise the error of the callback,
        unless it is that the client is gone.
        """
        task = self._task
        if task is None:
            return
        if task is asyncio.current_task():
            raise RuntimeError("A callback cannot stop what calls it: leave the block, or unsubscribe from outside")
        if join and not task.done() and not self._is_client_gone:
            try:
                await self._join(task)
            except BaseException:
                await self._end_task()
                raise
        await self._end_task()
        if not task.cancelled() and not self._is_client_gone and (error := task.exception()) is not None:
            raise error

    @property
    def _is_client_gone(self) -> bool:
        """Whether the callback is a socket's own, and its client is known to have left."""
        return self._callback is not None and self._callback.is_gone

    # The reader's task

    async def _worker(self, on_event: Callable[[bytes], Awaitable[Any]]) -> None:
        async for event in self.iter_events():
            await on_event(event)
            if self._is_stopping:  # the callback took the cancellation for something of its own
                return

    async def _send_all(self, callback: SocketCallback) -> None:
        """Do the work of `_worker` for a socket's own method, in fewer steps."""
        stream = self._stream
        while not (self._has_ended and stream.empty()):
            if stream.empty():
                await stream.get()
                item = stream.taken
                stream.task_done()
            else:
                item = stream.take()
            self._n_taken += 1
            if self._lagging:
                self._refill()
            if isinstance(item, tuple):
                item[0].given = item[1]
                await callback.send_message(item[1])
            elif isinstance(item, bytes):
                await callback(item)
            if item is None or self._is_stopping:
                return

    def _start_in_background(self, on_event: Callable[[bytes], Awaitable[Any]]) -> None:
        if self._task is not None:
            raise RuntimeError("Subscriber is already running")
        callback = SocketCallback.of(on_event)
        sender = None
        if callback is not None and self._may_be_direct and (socket := callback.direct_socket()) is not None:
            sender = self._sender = DirectSender(self, self._stream, callback, socket)
        if sender is not None:
            work = sender.run()
        elif callback is not None and self._may_be_direct:
            work = self._send_all(callback)
        else:
            work = self._worker(on_event if callback is None else callback)
        self._task = asyncio.create_task(work)
        self._callback = callback
        if sender is not None:
            sender.ring_all()
        serve(self, self._plugin)

    def hear(self) -> None:
        """Have what there is to read sent: whoever speaks here may wait for its own event."""
        if self._sender is not None:
            self._sender.ring_all()
        else:
            self._ring_all()

    async def _end_task(self) -> None:
        task = self._task
        if task is None:
            return
        try:
            self._is_stopping = True
            task.cancel()
            await asyncio.wait({task})  # unlike awaiting the task, this does not take our own cancellation for its
        finally:
            self._task = None
            self._is_stopping = False
            self._unfinish()

    async def _join(self, task: asyncio.Task[None]) -> None:
        """Return when the reader has processed all that the channels hold now, has ended, or makes no progress."""
        await self._begin_finish()
        while not task.done():
            n_taken = self._n_taken
            await asyncio.wait({task}, timeout=STALL_S)
            if n_taken == self._n_taken:
                return

    async def finish(self) -> None:
        """End what iterates where the channels stand now; return when all that is in the stream."""
        await self._begin_finish()
        await self._is_read_out.wait()

    async def _begin_finish(self) -> None:
        if self._log is not None:
            for cursor in list(self._cursors.values()):
                await cursor.stop_at_head(self._log.hub)
        self._is_finishing = True
        self._ring_all()
        self._end_if_read()

    def _unfinish(self) -> None:
        """Let the next reader go on from where this one ended."""
        if self._sender is not None and self._stream.empty():
            for cursor in self._cursors.values():
                cursor.has_all()
        self._sender = None
        self._is_finishing = False
        self._is_read_out.clear()
        self._stream.forget_end()
        for cursor in self._cursors.values():
            cursor.until = None
        self._ring_all()

    def _end_if_read(self) -> None:
        is_due = self._is_finishing and not self._is_read_out.is_set()
        if is_due and all(cursor.is_read for cursor in self._cursors.values()):
            self._is_read_out.set()
            self._stream.begin_end()
            self._ring_sender()

    def end(self) -> None:
        """End what reads the stream, behind what is in it, and what will. Ending again does nothing."""
        if not self._has_ended:
            self._has_ended = True
            self._stream.end()
            self._ring_sender()

    def advanced(self, n_taken: int) -> None:
        """Note that a sender got on, and end where it was to."""
        self._n_taken += n_taken
        self._end_if_read()


def _data_of(taken: object, payload: bytes) -> bytes:
    if isinstance(taken, tuple):
        cursor, message = taken
        cursor.given = message
    return payload


def _event_of(taken: object) -> Event:
    if isinstance(taken, tuple):
        cursor, message = taken
        return cast("ChannelCursor", cursor).event_of(message)
    return Event(cast("bytes", taken))

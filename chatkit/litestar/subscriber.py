"""Subscriber: the events of some channels for one reader. Events that it has not read stay in the log."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Literal, cast, overload

from litestar import channels as litestar_channels
from litestar.channels import subscriber as reference

from chatkit.litestar.current_subscriber import set_current_subscriber
from chatkit.litestar.direct_sender import DirectSender, SocketCallback
from chatkit.litestar.events import Event
from chatkit.litestar.reader import EventReader
from chatkit.litestar.task_guard import TaskGuard

if TYPE_CHECKING:
    from chatkit.litestar.cursor import ChannelCursor

STALL_S: Final = 10.0  # leaving the block waits for the callback; it is cancelled after this time without progress


class Subscriber(EventReader, reference.Subscriber):  # type: ignore[misc]  # `_queue` is of a narrower type
    """The events of the channels that it is subscribed to, for one reader.

    With a `max_backlog`, events that are not read in time are dropped by the strategy and counted in `dropped`. Without
    one, none is dropped: a reader that is far behind reads from the store.
    """

    def __init__(
        self,
        plugin: litestar_channels.ChannelsPlugin,
        max_backlog: int | None = None,
        backlog_strategy: reference.BacklogStrategy = "backoff",
    ) -> None:
        self._plugin = plugin
        self._backend = plugin._backend  # noqa: SLF001  # Litestar's subscribers have this attribute
        self._task: asyncio.Task[None] | None = None
        # A subclass may override a method that Litestar calls for each event; it gets the same calls here.
        kind = type(self)
        EventReader.__init__(
            self, max_backlog or 0, backlog_strategy, overrides_put=kind.put_nowait is not Subscriber.put_nowait
        )
        self._callback: SocketCallback | None = None
        self._n_read = 0  # number of events that the reader has read
        self._is_finishing = False  # the reader ends after the events that were committed at `finish`
        self._is_drained = asyncio.Event()  # set when the end is in the queue
        self._is_stopping = False  # the reader's task was cancelled
        self._has_ended = False
        self._may_be_direct = not (self._max_backlog or self._overrides_put) and (
            kind.iter_events is Subscriber.iter_events
            and kind.put is Subscriber.put
            and kind._worker is Subscriber._worker  # noqa: SLF001  # our own
        )

    # The application's interface

    @property
    def channels(self) -> frozenset[str]:
        """The channels that this subscriber is subscribed to."""
        return frozenset(self._cursors)

    @property
    def qsize(self) -> int:
        """The number of events that wait for the reader."""
        return self._queue.qsize() + sum(cursor.lag for cursor in self._cursors.values())

    @property
    def dropped(self) -> int:
        """The number of events that the backlog dropped."""
        return self._queue.dropped

    @property
    def missed(self) -> int:
        """The number of events that were trimmed before this subscriber could read them."""
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
        """Add an item to the queue; wait while the backlog is full. None ends one reader."""
        await self._queue.put(item)
        self._wake_sender()

    def put_nowait(self, item: bytes | None) -> bool:
        """Add an item to the queue. Return False if it was dropped."""
        was_queued = self._try_put(item)
        self._wake_sender()
        return was_queued

    @overload
    def iter_events(self) -> AsyncGenerator[bytes, None]: ...
    @overload
    def iter_events(self, *, with_metadata: Literal[False]) -> AsyncGenerator[bytes, None]: ...
    @overload
    def iter_events(self, *, with_metadata: Literal[True]) -> AsyncGenerator[Event, None]: ...

    async def iter_events(self, *, with_metadata: bool = False) -> AsyncGenerator[Any, None]:
        """Iterate over the events, and wait for each: bytes, or values of `Event` with `with_metadata`.

        The iteration ends when the subscriber is unsubscribed from its last channel, or the application shuts down.
        """
        queue = self._queue
        while True:
            if self._has_ended and queue.empty():
                return
            payload = await queue.get()
            item = queue.last_item
            self._n_read += 1
            if self._lagging:
                self._refill()
            try:
                if payload is None:
                    return
                yield _event_of(item) if with_metadata else _data_of(item, payload)
            finally:
                queue.task_done()

    @asynccontextmanager
    async def run_in_background(
        self,
        on_event: reference.EventCallback,
        join: bool = True,  # noqa: FBT001, FBT002  # Litestar's signature
    ) -> AsyncGenerator[None, None]:
        """Call `on_event` with every event while the block runs.

        With `join`, leaving the block waits until the callback has received the events published by then, unless the
        callback is a socket's own method and the client has disconnected. Later events stay in the queue. An error in
        the block ends it at once. An error in the callback cancels the block and is raised from it.
        """
        self._start_in_background(on_event)
        guard = TaskGuard(cast("asyncio.Task[None]", self._task))
        try:
            yield
        except BaseException as error:
            if guard.stop_watching() and isinstance(error, asyncio.CancelledError):
                await self._end_task()
                guard.raise_error()
            with suppress(Exception):
                await self.stop()
            raise
        if guard.stop_watching():
            await guard.swallow_cancel()
        await self.stop(join=join)

    async def stop(self, join: bool = False) -> None:  # noqa: FBT001, FBT002 - Litestar's signature
        """Stop the task of `run_in_background`; with `join`, after it has processed the events published by now.

        Do not wait if the callback is a socket's own method and the client has disconnected. Raise the callback's
        error, unless it reports that the client has disconnected.
        """
        task = self._task
        if task is None:
            return
        if task is asyncio.current_task():
            raise RuntimeError(
                "A callback cannot stop the task that calls it: leave the block, or unsubscribe from outside"
            )
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
        """Whether the callback is a socket's own method and its client is known to have disconnected."""
        return self._callback is not None and self._callback.is_gone

    # The reader's task

    async def _worker(self, on_event: Callable[[bytes], Awaitable[Any]]) -> None:
        async for event in self.iter_events():
            await on_event(event)
            if self._is_stopping:  # the callback swallowed the cancellation
                return

    async def _send_all(self, callback: SocketCallback) -> None:
        """Send the events as `_worker` does, in fewer steps, for a socket's own method."""
        queue = self._queue
        while not (self._has_ended and queue.empty()):
            if queue.empty():
                await queue.get()
                item = queue.last_item
                queue.task_done()
            else:
                item = queue.pop_nowait()
            self._n_read += 1
            if self._lagging:
                self._refill()
            if isinstance(item, tuple):
                item[0].delivered = item[1]
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
            sender = self._sender = DirectSender(self, self._queue, callback, socket)
        if sender is not None:
            work = sender.run()
        elif callback is not None and self._may_be_direct:
            work = self._send_all(callback)
        else:
            work = self._worker(on_event if callback is None else callback)
        self._task = asyncio.create_task(work)
        self._callback = callback
        if sender is not None:
            sender.write_due()
        set_current_subscriber(self, self._plugin)

    def send_due(self) -> None:
        """Send the events that are ready: the code that published may wait for its own event."""
        if self._sender is not None:
            self._sender.write_due()
        else:
            self._wake_all()

    async def _end_task(self) -> None:
        task = self._task
        if task is None:
            return
        try:
            self._is_stopping = True
            task.cancel()
            await asyncio.wait({task})  # unlike `await task`, this keeps our own cancellation apart from the task's
        finally:
            self._task = None
            self._is_stopping = False
            self._resume()

    async def _join(self, task: asyncio.Task[None]) -> None:
        """Wait until the reader has processed all current events, has ended, or makes no progress."""
        await self._start_finish()
        while not task.done():
            n_read = self._n_read
            await asyncio.wait({task}, timeout=STALL_S)
            if n_read == self._n_read:
                return

    async def finish(self) -> None:
        """Stop the reader after the current events. Return when all of these are in the queue."""
        await self._start_finish()
        await self._is_drained.wait()

    async def _start_finish(self) -> None:
        if self._log is not None:
            for cursor in list(self._cursors.values()):
                await cursor.stop_at_head(self._log.hub)
        self._is_finishing = True
        self._wake_all()
        self._end_if_read()

    def _resume(self) -> None:
        """Prepare for the next reader, which continues where this one ended."""
        if self._sender is not None and self._queue.empty():
            for cursor in self._cursors.values():
                cursor.mark_delivered()
        self._sender = None
        self._is_finishing = False
        self._is_drained.clear()
        self._queue.remove_end()
        for cursor in self._cursors.values():
            cursor.until = None
        self._wake_all()

    def _end_if_read(self) -> None:
        is_due = self._is_finishing and not self._is_drained.is_set()
        if is_due and all(cursor.is_read for cursor in self._cursors.values()):
            self._is_drained.set()
            self._queue.put_end()
            self._wake_sender()

    def end(self) -> None:
        """Stop current and future readers after the queued events. A second call does nothing."""
        if not self._has_ended:
            self._has_ended = True
            self._queue.end()
            self._wake_sender()

    def count_read(self, n_read: int) -> None:
        """Count events that a sender has sent, and end a finishing reader if they were the last."""
        self._n_read += n_read
        self._end_if_read()


def _data_of(item: object, payload: bytes) -> bytes:
    if isinstance(item, tuple):
        cursor, message = item
        cursor.delivered = message
    return payload


def _event_of(item: object) -> Event:
    if isinstance(item, tuple):
        cursor, message = item
        return cast("ChannelCursor", cursor).make_event(message)
    return Event(cast("bytes", item))

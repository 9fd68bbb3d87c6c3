"""Consumption: the loop over the messages of a consumer. It takes, acknowledges, extends leases and gives back.

Knows neither server nor store, but only `ConsumerCalls`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec

from chatkit.backoff import RECONNECT_FACTOR, Backoff
from chatkit.client.consumer_calls import ConsumerCalls
from chatkit.client.signals import ConnectionLost, ConnectionRestored, ConnectionWatcher, Item
from chatkit.core.consumer import MAX_REASON_CHARS, Taken
from chatkit.core.model import Gap, Message
from chatkit.errors import (
    BadRequest,
    ChatkitError,
    LeaseExpired,
    RateLimited,
    RoomRenamed,
    Unavailable,
    VersionConflict,
)

WAIT_S: Final = 25.0  # of a take: proxies end a request that is silent for 60 s
MIN_TAKE_S: Final = 0.1  # between two takes that found nothing, whatever the server answers
PROMPT_S: Final = 0.002  # a message that took longer is acknowledged at once: the call is a small part of that time
ACK_S: Final = 0.05  # the acknowledgements of faster ones are collected for so long
RECONNECT_S, MAX_RECONNECT_S = 0.5, 15.0
RETRY_S, MAX_RETRY_S = 1.0, 60.0  # after the first failure of a message, and after many
MAX_FAILING: Final = 1_000  # messages whose back-off is remembered: as many as a consumer has unsettled
MAX_RENAMES: Final = 5  # in one call: rooms whose new names lead to each other
CLOSE_S: Final = 5.0  # for giving back; after that, the lease runs out
LEFT: Final = "the loop was left at this message"

ValueT = TypeVar("ValueT")


class ConsumeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a consumer is read; see `Client.consume`."""

    after: str = "end"
    limit: int = 100
    lease_s: float = 30.0
    retries: int | None = None
    ordered: bool = True
    where: Callable[[Message], bool] = lambda _message: True
    give_up_after_s: float | None = None


def consume_options(*, changes: bool, where: Callable[[Message], bool] | None, **given: Any) -> ConsumeOptions:
    """Make options from the arguments of `Client.consume`."""

    def is_wanted(message: Message) -> bool:
        return (changes or (message.act is None and not message.redacted)) and (where is None or where(message))

    return ConsumeOptions(where=is_wanted, **given)


class _Lease:
    """The messages of one take: `items` are not begun, and the numbers in `done` are handled but not acknowledged.

    `is_lost`: others may have the messages. The times are of the event loop.
    """

    def __init__(self, taken: Taken, now: float, extend_at: float) -> None:
        self.id = taken.lease or ""
        self.items: deque[Item] = deque([*([] if taken.gap is None else [taken.gap]), *taken.messages])
        self.done: list[int] = []
        self.has_gap_done = False
        self.is_lost = False
        self.acked_at = now
        self.extend_at = extend_at

    @property
    def has_done(self) -> bool:
        return bool(self.done) or self.has_gap_done


class Consumption:
    """Iterates over the messages of a consumer; made by `Client.consume`, which describes it. It is iterated once."""

    def __init__(self, calls: ConsumerCalls, options: ConsumeOptions, watcher: ConnectionWatcher) -> None:
        self._calls = calls
        self._options = options
        self._watcher = watcher
        self._lease: _Lease | None = None
        self._current: Item | None = None  # the item that the body of the loop works on
        self._begun_at = 0.0  # of `_current`
        self._size = options.limit if options.ordered else 1  # of the next lease
        self._failing: dict[int, Backoff] = {}  # by the number of a message that has failed
        self._lost_at: float | None = None  # since when the server does not answer
        self._reconnect = Backoff(RECONNECT_S, MAX_RECONNECT_S, factor=RECONNECT_FACTOR)
        self._settling = asyncio.Lock()  # of `_Lease.done`: an acknowledgement ends before the next begins
        self._changed = asyncio.Event()  # set when the keeper has another time to wait for
        self._is_closing = False
        self._keeper: asyncio.Task[None] | None = None
        self._task: asyncio.Task[object] | None = None  # that iterates
        self._closing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close(exc)

    async def __aiter__(self) -> AsyncGenerator[Item, None]:
        self._task = asyncio.current_task()
        try:
            await self._calls.put(
                after=self._options.after, retries=self._options.retries, ordered=self._options.ordered
            )
            self._keeper = asyncio.create_task(self._keep())
            while True:
                yield await self._next()
        finally:
            await self.close(_outcome(self._task))

    @property
    def is_of_this_task(self) -> bool:
        """Whether the running task is the one that iterates."""
        return self._task is asyncio.current_task()

    async def ack(self) -> None:
        """Acknowledge the current message now, and not only when the next one is asked for."""
        self._finish()
        if self._lease is not None:
            await self._ack(self._lease)

    async def retry(self, reason: str = "", *, delay_s: float | None = None) -> None:
        """Report that the current message has failed: it comes again, and the loop goes on.

        Args:
            reason: Why, for the report in `ROOM.failed`: at most 500 characters are kept.
            delay_s: When it comes again, in seconds: at most a week. By default, this grows with its failures.

        """
        lease, message = self._lease, self._current
        self._current = None
        if lease is None or not isinstance(message, Message):
            return
        await self._ack(lease)
        delay_s = self._delay_s(message.seq) if delay_s is None else delay_s
        await self._settle(lease, lambda: self._retry(lease, message, delay_s, reason))
        if self._options.ordered:  # the messages behind it have to wait for it
            await self._release(lease)

    async def close(self, error: BaseException | None = None) -> None:
        """Acknowledge what is done, and give back the rest. The current message has failed, unless it was cancelled.

        `error` is what ended the loop.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(error))
        await asyncio.shield(self._closing)

    # Steps of the methods above

    async def _close(self, error: BaseException | None) -> None:
        self._is_closing = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._give_back(error)
        except (ChatkitError, TimeoutError):
            pass  # the lease runs out
        finally:
            await self._calls.close()

    async def _give_back(self, error: BaseException | None) -> None:
        lease, message = self._lease, self._current
        if lease is None or lease.is_lost:
            return
        await self._ack(lease)
        if isinstance(message, Message) and (error is None or isinstance(error, Exception)):
            reason = LEFT if error is None else f"{type(error).__name__}: {error}"
            delay_s = self._delay_s(message.seq)
            await self._settle(lease, lambda: self._retry(lease, message, delay_s, reason))
        await self._release(lease)

    async def _next(self) -> Item:
        """Acknowledge the current item, and return the next one."""
        self._finish()
        while True:
            lease = self._lease
            if lease is None or lease.is_lost:
                await self._lease_more()
                continue
            item = self._next_wanted(lease)
            if item is None:
                await self._ack(lease)
                self._lease = None
                self._size = min(2 * self._size, self._options.limit)
            elif self._must_ack(lease):
                await self._ack(lease)
            if item is not None and not lease.is_lost:
                self._current, self._begun_at = item, _now()
                return item

    def _next_wanted(self, lease: _Lease) -> Item | None:
        """Return the next item that the loop wants. Those before it are done."""
        where = self._options.where
        while lease.items:
            item = lease.items.popleft()
            if isinstance(item, Gap) or where(item):
                return item
            lease.done.append(item.seq)
        return None

    def _finish(self) -> None:
        """Note that the current item is done."""
        item, self._current = self._current, None
        if self._lease is None or item is None:
            return
        if isinstance(item, Gap):
            self._lease.has_gap_done = True
            return
        self._failing.pop(item.seq, None)
        self._lease.done.append(item.seq)
        if len(self._lease.done) == 1:
            self._changed.set()

    def _must_ack(self, lease: _Lease) -> bool:
        now = _now()
        return lease.has_done and (now - self._begun_at > PROMPT_S or now - lease.acked_at > ACK_S)

    async def _ack(self, lease: _Lease) -> None:
        """Acknowledge what is done."""
        async with self._settling:
            if not lease.has_done or lease.is_lost:
                return
            seqs = list(lease.done)
            await self._settle(lease, lambda: self._calls.ack(lease.id, seqs))
            del lease.done[: len(seqs)]
            lease.has_gap_done = False
            lease.acked_at = _now()

    async def _release(self, lease: _Lease) -> None:
        lease.items.clear()
        await self._settle(lease, lambda: self._calls.release(lease.id, None))
        if self._lease is lease:
            self._lease = None

    async def _retry(self, lease: _Lease, message: Message, delay_s: float, reason: str) -> None:
        await self._calls.retry(lease.id, [message.seq], delay_s, reason[:MAX_REASON_CHARS])

    async def _settle(self, lease: _Lease, call: Callable[[], Awaitable[None]]) -> None:
        try:
            await self._persist(call)
        except LeaseExpired:
            lease.is_lost = True
        except BadRequest:  # the answer to the first attempt was lost, and the messages are no longer in the lease
            pass

    async def _lease_more(self) -> None:
        """Wait for messages."""
        options = self._options
        began_at = _now()
        taken = await self._persist(lambda: self._calls.receive(self._size, options.lease_s, WAIT_S))
        if taken.lease is None:
            await asyncio.sleep(max(0.0, began_at + MIN_TAKE_S - _now()))
            return
        now = _now()
        self._lease = _Lease(taken, now, now + options.lease_s / 3)
        self._changed.set()

    async def _keep(self) -> None:
        """Extend the lease while the body works, and acknowledge what is done before."""
        while True:
            self._changed.clear()
            lease = self._lease
            with suppress(TimeoutError):
                async with asyncio.timeout(None if lease is None or lease.is_lost else self._due_in_s(lease)):
                    await self._changed.wait()
            if lease is None or lease is not self._lease or lease.is_lost:
                continue
            if lease.done and _now() >= lease.acked_at + ACK_S:
                await self._ack(lease)
            if self._shares(lease) and self._current is not None and _now() >= self._begun_at + ACK_S:
                await self._share(lease)
            if _now() >= lease.extend_at:
                await self._extend(lease)

    def _due_in_s(self, lease: _Lease) -> float:
        """Return the seconds until the keeper has something to do for a lease."""
        due = lease.extend_at
        if lease.done:
            due = min(due, lease.acked_at + ACK_S)
        if self._shares(lease):
            due = min(due, _now() + ACK_S)
        return max(0.0, due - _now())

    def _shares(self, lease: _Lease) -> bool:
        """Return whether other workers could begin messages of this lease."""
        return bool(lease.items) and not self._options.ordered

    async def _share(self, lease: _Lease) -> None:
        """Give back the messages that are not begun: this body is slow, and other workers may be free."""
        async with self._settling:
            seqs = [item.seq for item in lease.items if isinstance(item, Message)]
            lease.items.clear()
            self._size = 1
            await self._settle(lease, lambda: self._calls.release(lease.id, seqs))

    async def _extend(self, lease: _Lease) -> None:
        lease_s = self._options.lease_s
        await self._settle(lease, lambda: self._calls.extend(lease.id, lease_s))
        lease.extend_at = _now() + lease_s / 3

    def _delay_s(self, seq: int) -> float:
        """Count a failure of a message, and return when it comes again."""
        if len(self._failing) >= MAX_FAILING and seq not in self._failing:
            del self._failing[next(iter(self._failing))]
        return self._failing.setdefault(seq, Backoff(RETRY_S, MAX_RETRY_S)).next_s()

    async def _persist(self, call: Callable[[], Awaitable[ValueT]]) -> ValueT:
        """Make a call until the server answers it, at the new name of a room that was renamed."""
        n_renames = 0
        while True:
            try:
                result = await call()
            except RoomRenamed as error:
                n_renames += 1
                if n_renames > MAX_RENAMES:
                    raise
                self._calls.room = error.renamed_to
            except RateLimited as error:
                await asyncio.sleep(error.retry_after_s)
            except (Unavailable, VersionConflict) as error:
                self._note_lost(error)
                await asyncio.sleep(self._reconnect.next_s())
            else:
                self._note_answer()
                return result

    def _note_lost(self, error: ChatkitError) -> None:
        if self._lost_at is None:
            self._lost_at = _now()
            self._watcher(ConnectionLost(str(error)))
        give_up_s = self._options.give_up_after_s
        if self._is_closing or (give_up_s is not None and _now() - self._lost_at >= give_up_s):
            raise error

    def _note_answer(self) -> None:
        if self._lost_at is not None:
            self._lost_at = None
            self._reconnect.reset()
            self._watcher(ConnectionRestored())


def _outcome(task: "asyncio.Task[object] | None") -> BaseException | None:
    """Return what ended a task, as far as that can be seen from another one; None if it goes on."""
    if task is None or task.cancelling() or (task.done() and task.cancelled()):
        return asyncio.CancelledError()
    return task.exception() if task.done() else None


def _now() -> float:
    return asyncio.get_running_loop().time()

"""Publishing to a store without a server: in order, with each message repeated until it is stored.

A message that an unavailable store rejects is submitted again with the same key, before any later message, so that it
is stored once and in order. Knows no command and no terminal.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice

import msgspec

from chatkit.backoff import Backoff
from chatkit.client.signals import ConnectionLost, ConnectionRestored, ConnectionWatcher
from chatkit.core.group_commit import MAX_BATCH
from chatkit.errors import Unavailable
from chatkit.toolkit import ChatkitError, Draft, Receipt

MAX_QUEUED = 2 * MAX_BATCH  # one batch is committed while the next is collected; further submissions wait
RETRY_S = 0.5  # the first delay: short, so that a brief outage costs little


class _PendingMessage(msgspec.Struct):
    """A queued message, and the future that its publisher waits for."""

    draft: Draft
    has_own_key: bool
    answer: asyncio.Future[Receipt]

    def settle(self, outcome: Receipt | BaseException) -> None:
        if self.answer.done():
            return
        if isinstance(outcome, BaseException):
            self.answer.set_exception(outcome)
        else:
            # With a generated key, a repeat is the first attempt of this publisher, whose answer was lost.
            self.answer.set_result(Receipt(outcome.message, outcome.repeat and self.has_own_key))


class StorePublisher:
    """Stores the messages that `submit` queues, while `run` runs.

    `watcher` is called when the store becomes unavailable, and when it is available again.
    """

    def __init__(self, publish: Callable[[Draft], Awaitable[Receipt]], watcher: ConnectionWatcher) -> None:
        self._publish = publish
        self._watcher = watcher
        self._queue: deque[_PendingMessage] = deque()
        self._free = asyncio.Semaphore(MAX_QUEUED)  # counts the free places in `_queue`
        self._arrived = asyncio.Event()  # set when `_queue` may not be empty; wakes `run`
        self._is_unavailable = False
        self._backoff = Backoff(RETRY_S)

    async def submit(self, draft: Draft) -> asyncio.Future[Receipt]:
        """Queue a message and return a future of its receipt. Wait while the queue is full."""
        await self._free.acquire()
        has_own_key = draft.key is not None
        if not has_own_key:
            draft = msgspec.structs.replace(draft, key=secrets.token_urlsafe(12))
        pending = _PendingMessage(draft, has_own_key, asyncio.get_running_loop().create_future())
        self._queue.append(pending)
        self._arrived.set()
        return pending.answer

    async def run(self) -> None:
        """Store queued messages until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                await self._store_batch()

    async def _store_batch(self) -> None:
        """Store the first messages. Leave those that an unavailable store rejected in the queue, and wait."""
        batch = list(islice(self._queue, MAX_BATCH))
        outcomes = await asyncio.gather(*(self._publish(pending.draft) for pending in batch), return_exceptions=True)
        for pending, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Unavailable):  # so are all messages after it
                await self._wait_for_store(outcome)
                return
            pending.settle(outcome)
            self._queue.popleft()
            self._free.release()
            if self._is_unavailable and not isinstance(outcome, ChatkitError):
                self._is_unavailable = False
                self._watcher(ConnectionRestored())

    async def _wait_for_store(self, error: Unavailable) -> None:
        if not self._is_unavailable:
            self._is_unavailable = True
            self._watcher(ConnectionLost(str(error)))
        await asyncio.sleep(self._backoff.next_s())

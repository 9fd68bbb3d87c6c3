"""Delivery: messages on their way into a store, without a server: in order, each tried until it is stored.

What a store that is away refuses goes again, before anything that was given later and with the same key, so that it is
stored once. Knows no command and no terminal.
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
from chatkit.core.model import Draft, Receipt
from chatkit.errors import ChatkitError, Unavailable

MAX_HELD = 2 * MAX_BATCH  # one batch is committed while the next one gathers; who gives more, waits
RETRY_S = 0.5  # soon enough not to be felt once the store is back


class _PendingMessage(msgspec.Struct):
    """A message, and where its publisher waits."""

    draft: Draft
    has_own_key: bool
    answer: asyncio.Future[Receipt]

    def settle(self, outcome: Receipt | BaseException) -> None:
        if self.answer.done():
            return
        if isinstance(outcome, BaseException):
            self.answer.set_exception(outcome)
        else:
            # With a key that we made, a repeat is our own first attempt, whose answer got lost.
            self.answer.set_result(Receipt(outcome.message, outcome.repeat and self.has_own_key))


class StorePublisher:
    """Takes messages by `submit` while `run` runs. `watcher` is told when the store is away, and when it is back."""

    def __init__(self, publish: Callable[[Draft], Awaitable[Receipt]], watcher: ConnectionWatcher) -> None:
        self._publish = publish
        self._watcher = watcher
        self._held: deque[_PendingMessage] = deque()
        self._room = asyncio.Semaphore(MAX_HELD)  # bounds `_held`
        self._arrived = asyncio.Event()  # set when `_held` may hold something: wakes `run`
        self._is_away = False
        self._backoff = Backoff(RETRY_S)

    async def submit(self, draft: Draft) -> asyncio.Future[Receipt]:
        """Put a message in the queue, and return where its receipt will be."""
        await self._room.acquire()
        has_own_key = draft.key is not None
        if not has_own_key:
            draft = msgspec.structs.replace(draft, key=secrets.token_urlsafe(12))
        held = _PendingMessage(draft, has_own_key, asyncio.get_running_loop().create_future())
        self._held.append(held)
        self._arrived.set()
        return held.answer

    async def run(self) -> None:
        """Deliver, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._held:
                await self._deliver()

    async def _deliver(self) -> None:
        """Commit what is first; leave what a store that is away has refused, and wait a little."""
        batch = list(islice(self._held, MAX_BATCH))
        outcomes = await asyncio.gather(*(self._publish(held.draft) for held in batch), return_exceptions=True)
        for held, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Unavailable):  # and so is everything behind it
                await self._wait_for_store(outcome)
                return
            held.settle(outcome)
            self._held.popleft()
            self._room.release()
            if self._is_away and not isinstance(outcome, ChatkitError):
                self._is_away = False
                self._watcher(ConnectionRestored())

    async def _wait_for_store(self, error: Unavailable) -> None:
        if not self._is_away:
            self._is_away = True
            self._watcher(ConnectionLost(str(error)))
        await asyncio.sleep(self._backoff.next_s())

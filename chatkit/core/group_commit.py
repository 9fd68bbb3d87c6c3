"""Group commit: while one batch of drafts is being committed, the next one is collected. Knows no rooms or readers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import chain, islice
from time import perf_counter
from typing import TypeAlias

import msgspec

from chatkit.core.measures import Histogram
from chatkit.core.model import Draft, Receipt
from chatkit.errors import ChatkitError, KeyConflict, StoreError, Unavailable

Settle: TypeAlias = Callable[[Receipt | ChatkitError], None]
"""A callback that is called once, in the event loop, with the outcome of a draft."""

MAX_BATCH = 1_024  # messages: bounds the time of one commit, and what readers get in one turn of the event loop
MAX_GATHER_TURNS = 16  # of the loop: a burst arrives in a few turns, and steady publishers must not delay a commit
# Bounds the time that a batch needs over a slow connection to the store: dozens of the largest messages.
MAX_BATCH_BYTES = 1 << 22
# While the store does not respond, drafts fill at most this much memory. Beyond it, publishing is refused.
MAX_PENDING = 100_000
MAX_PENDING_BYTES = 1 << 28

_Pending: TypeAlias = tuple[Draft, Settle, int]
"""A draft, the callback for its outcome, and its approximate size in bytes."""

_logger = logging.getLogger(__name__)


class Committer:
    """Passes drafts to `append` in the order of their arrival, one batch at a time, and settles each draft.

    `append` returns the receipt of each draft, or the error for which it alone was not appended. `on_committed` is
    called with the receipts of every batch, in order, before the drafts of the batch are settled. `on_failed` is called
    with the error of every batch that was not committed.
    """

    def __init__(
        self,
        append: Callable[[Sequence[Draft]], Awaitable[Sequence[Receipt | ChatkitError]]],
        on_committed: Callable[[Sequence[Receipt]], None],
        on_failed: Callable[[ChatkitError], None],
    ) -> None:
        self.durations = Histogram()  # of the commits
        self._append = append
        self._on_committed = on_committed
        self._on_failed = on_failed
        self._pending: list[_Pending] = []
        self._n_bytes = 0  # of the pending drafts
        self._arrived = asyncio.Event()  # set while `_pending` may hold something
        self._idle = asyncio.Event()  # set while nothing is pending or being committed
        self._idle.set()
        self._is_closed = False

    @property
    def n_pending(self) -> int:
        """The number of drafts that wait for their commit."""
        return len(self._pending)

    def submit(self, draft: Draft, settle: Settle) -> None:
        """Queue the draft for the next batch. Raise `Unavailable` if the queue is full or closed."""
        if self._is_closed:
            raise Unavailable("the server is shutting down")
        n_bytes = len(draft.body) if draft.data is None else _size(draft)
        if len(self._pending) >= MAX_PENDING or self._n_bytes + n_bytes > MAX_PENDING_BYTES:
            raise Unavailable("the store does not keep up: too many messages wait to be committed")
        self._pending.append((draft, settle, n_bytes))
        self._n_bytes += n_bytes
        if len(self._pending) == 1:
            self._arrived.set()
            self._idle.clear()

    async def run(self) -> None:
        """Commit one batch after another until cancelled."""
        while True:
            await self._arrived.wait()
            await self._gather()
            await self._commit(self._pop_batch())
            if not self._pending:
                self._arrived.clear()
                self._idle.set()

    def _pop_batch(self) -> list[_Pending]:
        if len(self._pending) <= MAX_BATCH and self._n_bytes <= MAX_BATCH_BYTES:
            return self._pop_all()
        count = n_bytes = 0
        for *_, size in islice(self._pending, MAX_BATCH):
            if count and n_bytes + size > MAX_BATCH_BYTES:
                break
            count += 1
            n_bytes += size
        batch, self._pending = self._pending[:count], self._pending[count:]
        self._n_bytes -= n_bytes
        return batch

    async def _gather(self) -> None:
        """Wait while a burst arrives, at most a few turns of the event loop and at most one batch."""
        n_gathered = 0
        for _ in range(MAX_GATHER_TURNS):
            if n_gathered == len(self._pending) or n_gathered >= MAX_BATCH:
                return
            n_gathered = len(self._pending)
            await asyncio.sleep(0)

    async def _commit(self, batch: list[_Pending]) -> None:
        parts = [batch]
        while parts:
            part = parts[0]
            began = perf_counter()
            try:
                outcomes = await self._append([pending[0] for pending in part])
            except asyncio.CancelledError:
                _settle_all(chain(*parts), Unavailable("the server is shutting down"))
                raise
            except StoreError as error:
                if len(rooms := _by_room(part)) > 1:  # an error in one room must not fail the others
                    parts = rooms
                    continue
                self._on_failed(error)
                _settle_all(part, error)
            except ChatkitError as error:
                self._fail(chain(*parts), error)
                return
            except Exception:
                # A failed batch must not stop the commits of all later batches.
                _logger.exception("a batch of %d messages was not committed", len(part))
                self._fail(chain(*parts), Unavailable("the store failed; see the server's log"))
                return
            else:
                self.durations.observe(perf_counter() - began)
                receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
                self._notify_readers(receipts)
                if [receipt for receipt in receipts if receipt.conflict]:
                    outcomes = [_without_conflict(outcome) for outcome in outcomes]
                _settle_each(part, outcomes)
            del parts[0]

    def _fail(self, batch: Iterable[_Pending], error: ChatkitError) -> None:
        """Refuse a batch and all drafts after it: a client that sends them again must not find later ones stored."""
        later = self._pop_all()
        self._on_failed(error)
        _settle_all(chain(batch, later), error)

    def _pop_all(self) -> list[_Pending]:
        pending, self._pending = self._pending, []
        self._n_bytes = 0
        return pending

    def _notify_readers(self, receipts: Sequence[Receipt]) -> None:
        try:
            self._on_committed(receipts)
        except Exception:
            _logger.exception("notifying readers of %d messages failed", len(receipts))

    async def drain(self) -> None:
        """Refuse new drafts, and return when all pending ones are settled."""
        self._is_closed = True
        await self._idle.wait()

    def abandon(self) -> None:
        """Refuse the drafts that are still pending: none of them will be committed."""
        self._is_closed = True
        _settle_all(self._pop_all(), Unavailable("the server is shutting down"))
        self._idle.set()


def _size(draft: Draft) -> int:
    """Return the approximate size of a draft with data, in bytes."""
    try:
        return len(draft.body) + len(msgspec.json.encode(draft.data))
    except (TypeError, ValueError, OverflowError, RecursionError):  # not JSON: the store refuses it
        return len(draft.body)


def _by_room(batch: Sequence[_Pending]) -> list[list[_Pending]]:
    rooms: dict[str, list[_Pending]] = {}
    for pending in batch:
        rooms.setdefault(pending[0].room, []).append(pending)
    return list(rooms.values())


def _without_conflict(outcome: Receipt | ChatkitError) -> Receipt | ChatkitError:
    """Return the error of a draft whose key is known with another content; any other outcome as it is."""
    if isinstance(outcome, Receipt) and outcome.conflict:
        return KeyConflict(outcome.message.key or "")
    return outcome


def _settle_all(batch: Iterable[_Pending], error: ChatkitError) -> None:
    refused = list(batch)
    _settle_each(refused, [error] * len(refused))


def _settle_each(batch: Sequence[_Pending], outcomes: Sequence[Receipt | ChatkitError]) -> None:
    for (_, settle, _), outcome in zip(batch, outcomes, strict=True):
        try:
            settle(outcome)
        except Exception:
            # An error in one publisher's callback must not stop the others.
            _logger.exception("a publisher's callback failed")

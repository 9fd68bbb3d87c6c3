"""Group commit: while one batch of drafts is being committed, the next one is collected. Knows no rooms or readers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import chain
from time import perf_counter
from typing import TypeAlias

import msgspec

from chatkit.core.measures import Histogram
from chatkit.core.model import Draft, Receipt
from chatkit.errors import ChatkitError, KeyConflict, StoreError, Unavailable

Outcome: TypeAlias = Receipt | ChatkitError
"""The receipt of a draft, or the error that prevented its commit."""

Settle: TypeAlias = Callable[[Outcome], None]
"""A callback that is called once, in the event loop, with the outcome of a draft."""

SettleAll: TypeAlias = Callable[[Sequence[Outcome]], None]
"""A callback that is called once, in the event loop, with the outcomes of several drafts, in their order."""

MAX_BATCH = 1_024  # messages: bounds the time of one commit, and what readers get in one turn of the event loop
MAX_SUBMITTED = 512  # drafts that are submitted together: a batch is not split within them
MAX_GATHER_TURNS = 16  # of the loop: a burst arrives in a few turns, and steady publishers must not delay a commit
# Bounds the time that a batch needs over a slow connection to the store: dozens of the largest messages.
MAX_BATCH_BYTES = 1 << 22
# While the store does not respond, drafts fill at most this much memory. Beyond it, publishing is refused.
MAX_PENDING = 100_000
MAX_PENDING_BYTES = 1 << 28

_Pending: TypeAlias = tuple[Sequence[Draft], SettleAll, int]
"""Drafts for one room, the callback for their outcomes, and their approximate size in bytes."""

_logger = logging.getLogger(__name__)


class Committer:
    """Passes drafts to `append` in the order of their arrival, one batch at a time, and settles each draft.

    `append` returns the receipt of each draft, or the error for which it alone was not appended. `on_committed` is
    called with the receipts of every batch, in order, before the drafts of the batch are settled. `on_failed` is called
    with the error of every batch that was not committed.
    """

    def __init__(
        self,
        append: Callable[[Sequence[Draft]], Awaitable[Sequence[Outcome]]],
        on_committed: Callable[[Sequence[Receipt]], None],
        on_failed: Callable[[ChatkitError], None],
    ) -> None:
        self.durations = Histogram()  # of the commits
        self._append = append
        self._on_committed = on_committed
        self._on_failed = on_failed
        self._pending: list[_Pending] = []
        self._n_drafts = 0  # that are pending
        self._n_bytes = 0  # of the pending drafts
        self._arrived = asyncio.Event()  # set while `_pending` may hold something
        self._idle = asyncio.Event()  # set while nothing is pending or being committed
        self._idle.set()
        self._is_closed = False

    @property
    def n_pending(self) -> int:
        """The number of drafts that wait for their commit."""
        return self._n_drafts

    def submit(self, draft: Draft, settle: Settle) -> None:
        """Queue the draft for the next batch. Raise `Unavailable` if the queue is full or closed."""
        n_bytes = len(draft.body) if draft.data is None else _size(draft)
        self.submit_all((draft,), lambda outcomes: settle(outcomes[0]), n_bytes)

    def submit_all(self, drafts: Sequence[Draft], settle: SettleAll, n_bytes: int) -> None:
        """Queue drafts for one room, at most `MAX_SUBMITTED` of about `n_bytes`, for the same batch; see `submit`."""
        if self._is_closed:
            raise Unavailable("the server is shutting down")
        if self._n_drafts >= MAX_PENDING or self._n_bytes + n_bytes > MAX_PENDING_BYTES:
            raise Unavailable("the store does not keep up: too many messages wait to be committed")
        self._pending.append((drafts, settle, n_bytes))
        self._n_drafts += len(drafts)
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
        if self._n_drafts <= MAX_BATCH and self._n_bytes <= MAX_BATCH_BYTES:
            return self._pop_all()
        count = n_drafts = n_bytes = 0
        for drafts, _, size in self._pending:
            if count and (n_drafts + len(drafts) > MAX_BATCH or n_bytes + size > MAX_BATCH_BYTES):
                break
            count += 1
            n_drafts += len(drafts)
            n_bytes += size
        batch, self._pending = self._pending[:count], self._pending[count:]
        self._n_drafts -= n_drafts
        self._n_bytes -= n_bytes
        return batch

    async def _gather(self) -> None:
        """Wait while a burst arrives, at most a few turns of the event loop and at most one batch."""
        n_gathered = 0
        for _ in range(MAX_GATHER_TURNS):
            if n_gathered == self._n_drafts or n_gathered >= MAX_BATCH:
                return
            n_gathered = self._n_drafts
            await asyncio.sleep(0)

    async def _commit(self, batch: list[_Pending]) -> None:
        parts = [batch]
        while parts:
            part = parts[0]
            began = perf_counter()
            try:
                outcomes = await self._append(_drafts_of(part))
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
                _logger.exception("a batch of %d messages was not committed", sum(len(drafts) for drafts, *_ in part))
                self._fail(chain(*parts), Unavailable("the store failed; see the server's log"))
                return
            else:
                self.durations.observe(perf_counter() - began)
                self._notify_readers([outcome for outcome in outcomes if isinstance(outcome, Receipt)])
                _settle_each(part, outcomes)
            del parts[0]

    def _fail(self, batch: Iterable[_Pending], error: ChatkitError) -> None:
        """Refuse a batch and all drafts after it: a client that sends them again must not find later ones stored."""
        later = self._pop_all()
        self._on_failed(error)
        _settle_all(chain(batch, later), error)

    def _pop_all(self) -> list[_Pending]:
        pending, self._pending = self._pending, []
        self._n_drafts = self._n_bytes = 0
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
        drafts, *_ = pending
        rooms.setdefault(drafts[0].room, []).append(pending)
    return list(rooms.values())


def _drafts_of(batch: Sequence[_Pending]) -> Sequence[Draft]:
    return batch[0][0] if len(batch) == 1 else [draft for drafts, *_ in batch for draft in drafts]


def _without_conflict(outcome: Outcome) -> Outcome:
    """Return the error of a draft whose key is known with another content; any other outcome as it is."""
    if isinstance(outcome, Receipt) and outcome.conflict:
        return KeyConflict(outcome.message.key or "")
    return outcome


def _settle_all(batch: Iterable[_Pending], error: ChatkitError) -> None:
    refused = list(batch)
    _settle_each(refused, [error] * sum(len(drafts) for drafts, *_ in refused))


def _settle_each(batch: Sequence[_Pending], outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if isinstance(outcome, Receipt) and outcome.conflict:
            outcomes = [_without_conflict(each) for each in outcomes]
            break
    start = 0
    for drafts, settle, _ in batch:
        stop = start + len(drafts)
        try:
            settle(outcomes[start:stop])
        except Exception:
            # An error in one publisher's callback must not stop the others.
            _logger.exception("a publisher's callback failed")
        start = stop


def settle_future(future: "asyncio.Future[Receipt]", outcome: Outcome) -> None:
    """Set the result of a future to the outcome of a draft, unless the one who waits for it has gone."""
    if future.done():
        return
    if isinstance(outcome, Receipt):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)

"""Group commit: while one batch of drafts is being committed, the next one gathers. Knows no room and no reader."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import chain, islice
from typing import TypeAlias

import msgspec

from chatkit.core.model import Draft, Receipt
from chatkit.errors import ChatkitError, KeyConflict, StoreError, Unavailable

Settle: TypeAlias = Callable[[Receipt | ChatkitError], None]
"""Called once, in the event loop, with what became of a draft."""

MAX_BATCH = 1_024  # messages: bounds how long one commit takes, and what readers are told in one turn
MAX_GATHER_TURNS = 16  # of the loop: a burst comes in a few, and publishers who never pause must not hold up a commit
# And how long it is on its way to a store behind a slow link: the largest messages go in batches of some dozens.
MAX_BATCH_BYTES = 1 << 22
# A store that stands still fills at most this much memory with drafts; then publishing is refused.
MAX_PENDING = 100_000
MAX_PENDING_BYTES = 1 << 28

_Pending: TypeAlias = tuple[Draft, Settle, int]
"""A draft, who is told what became of it, and how large it is, about."""

_logger = logging.getLogger(__name__)


class Committer:
    """Hands drafts to `append` in the order they came, one batch at a time, and settles each with its outcome.

    `committed` gets every batch's receipts, in order, before anyone is told of their own.
    """

    def __init__(
        self,
        append: Callable[[Sequence[Draft]], Awaitable[list[Receipt]]],
        committed: Callable[[Sequence[Receipt]], None],
        failed: Callable[[ChatkitError], None],
    ) -> None:
        self._append = append
        self._committed = committed
        self._failed = failed
        self._pending: list[_Pending] = []
        self._n_bytes = 0  # pending
        self._arrived = asyncio.Event()  # set while `_pending` may hold something
        self._idle = asyncio.Event()  # set while nothing is pending or being committed
        self._idle.set()
        self._is_closed = False

    def submit(self, draft: Draft, settle: Settle) -> None:
        """Commit the draft with the next batch. Raise `Unavailable` if it cannot even be kept until then."""
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
        """Commit batch after batch, until cancelled."""
        while True:
            await self._arrived.wait()
            await self._gather()
            await self._commit(self._take_batch())
            if not self._pending:
                self._arrived.clear()
                self._idle.set()

    def _take_batch(self) -> list[_Pending]:
        if len(self._pending) <= MAX_BATCH and self._n_bytes <= MAX_BATCH_BYTES:
            return self._clear()
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
        """Let a burst arrive; one that does not end is committed a batch at a time."""
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
            try:
                receipts = await self._append([pending[0] for pending in part])
            except asyncio.CancelledError:
                _settle_all(chain(*parts), Unavailable("the server is shutting down"))
                raise
            except StoreError as error:
                if len(rooms := _by_room(part)) > 1:  # what one of them cannot take must not be refused to all
                    parts = rooms
                    continue
                self._failed(error)
                _settle_all(part, error)
            except ChatkitError as error:
                self._fail(chain(*parts), error)
                return
            except Exception:
                # One failed batch must never end the publishing of all later ones.
                _logger.exception("a batch of %d messages was not committed", len(part))
                self._fail(chain(*parts), Unavailable("the store failed; the server's log says how"))
                return
            else:
                self._tell_readers(receipts)
                _settle_each(part, [_outcome(receipt) if receipt.repeat else receipt for receipt in receipts])
            del parts[0]

    def _fail(self, batch: Iterable[_Pending], error: ChatkitError) -> None:
        """Refuse a batch and all that gathered behind it: who sends again must find nothing later stored already."""
        behind = self._clear()
        self._failed(error)
        _settle_all(chain(batch, behind), error)

    def _clear(self) -> list[_Pending]:
        pending, self._pending = self._pending, []
        self._n_bytes = 0
        return pending

    def _tell_readers(self, receipts: Sequence[Receipt]) -> None:
        try:
            self._committed(receipts)
        except Exception:
            _logger.exception("readers were not told of %d messages", len(receipts))

    async def drain(self) -> None:
        """Take no more drafts, and return when all that were taken are settled."""
        self._is_closed = True
        await self._idle.wait()

    def abandon(self) -> None:
        """Refuse what is still pending: nobody will commit it any more."""
        self._is_closed = True
        _settle_all(self._clear(), Unavailable("the server is shutting down"))
        self._idle.set()


def _size(draft: Draft) -> int:
    """Return about how large a draft with data is."""
    try:
        return len(draft.body) + len(msgspec.json.encode(draft.data))
    except (TypeError, ValueError, OverflowError, RecursionError):  # no JSON: that is for the store to refuse
        return len(draft.body)


def _by_room(batch: Sequence[_Pending]) -> list[list[_Pending]]:
    rooms: dict[str, list[_Pending]] = {}
    for pending in batch:
        rooms.setdefault(pending[0].room, []).append(pending)
    return list(rooms.values())


def _outcome(repeat: Receipt) -> Receipt | KeyConflict:
    """Return a repeat's receipt, or the error that refuses it."""
    if not repeat.conflict:
        return repeat
    return KeyConflict(repeat.message.key or "")


def _settle_all(batch: Iterable[_Pending], error: ChatkitError) -> None:
    refused = list(batch)
    _settle_each(refused, [error] * len(refused))


def _settle_each(batch: Sequence[_Pending], outcomes: Sequence[Receipt | ChatkitError]) -> None:
    for (_, settle, _), outcome in zip(batch, outcomes, strict=True):
        try:
            settle(outcome)
        except Exception:
            # One publisher's mistake must not keep the others from their answers.
            _logger.exception("a publisher could not be told of its message")

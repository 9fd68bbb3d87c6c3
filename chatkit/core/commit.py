"""Group commit: while one batch of drafts is being committed, the next one gathers. Knows no room and no reader."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from chatkit.core.model import Draft, Receipt
from chatkit.errors import ChatkitError, Unavailable

Settle: TypeAlias = Callable[[Receipt | ChatkitError], None]
"""Called once, in the event loop, with what became of a draft."""

MAX_BATCH = 1_024  # bounds how long one commit takes, and what readers are told in one turn
MAX_GATHER_TURNS = 16  # of the loop: a burst comes in a few, and publishers who never pause must not hold up a commit
# A store that stands still fills at most this much memory with drafts; then publishing is refused.
MAX_PENDING = 100_000

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
        self._pending: list[tuple[Draft, Settle]] = []
        self._arrived = asyncio.Event()  # set while `_pending` may hold something
        self._idle = asyncio.Event()  # set while nothing is pending or being committed
        self._idle.set()
        self._is_closed = False

    def submit(self, draft: Draft, settle: Settle) -> None:
        """Commit the draft with the next batch. Raise `Unavailable` if it cannot even be kept until then."""
        if self._is_closed:
            raise Unavailable("the server is shutting down")
        if len(self._pending) >= MAX_PENDING:
            raise Unavailable("the store does not keep up: too many messages wait to be committed")
        self._pending.append((draft, settle))
        if len(self._pending) == 1:
            self._arrived.set()
            self._idle.clear()

    async def run(self) -> None:
        """Commit batch after batch, until cancelled."""
        while True:
            await self._arrived.wait()
            await self._gather()
            batch, self._pending = self._pending[:MAX_BATCH], self._pending[MAX_BATCH:]
            try:
                await self._commit(batch)
            except asyncio.CancelledError:
                _settle_all(batch, Unavailable("the server is shutting down"))
                raise
            if not self._pending:
                self._arrived.clear()
                self._idle.set()

    async def _gather(self) -> None:
        """Let a burst arrive; one that does not end is committed a batch at a time."""
        n_gathered = 0
        for _ in range(MAX_GATHER_TURNS):
            if n_gathered == len(self._pending) or n_gathered >= MAX_BATCH:
                return
            n_gathered = len(self._pending)
            await asyncio.sleep(0)

    async def _commit(self, batch: Sequence[tuple[Draft, Settle]]) -> None:
        try:
            receipts = await self._append([draft for draft, _ in batch])
        except ChatkitError as error:
            self._fail(batch, error)
        except Exception:
            # One failed batch must never end the publishing of all later ones.
            _logger.exception("a batch of %d messages was not committed", len(batch))
            self._fail(batch, Unavailable("the store failed; the server's log says how"))
        else:
            self._tell_readers(receipts)
            for (_, settle), receipt in zip(batch, receipts, strict=True):
                _tell(settle, receipt)

    def _fail(self, batch: Sequence[tuple[Draft, Settle]], error: ChatkitError) -> None:
        """Refuse a batch and all that gathered behind it: who sends again must find nothing later stored already."""
        behind, self._pending = self._pending, []
        self._failed(error)
        _settle_all([*batch, *behind], error)

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
        pending, self._pending = self._pending, []
        _settle_all(pending, Unavailable("the server is shutting down"))
        self._idle.set()


def _settle_all(batch: Sequence[tuple[Draft, Settle]], error: ChatkitError) -> None:
    for _, settle in batch:
        _tell(settle, error)


def _tell(settle: Settle, outcome: Receipt | ChatkitError) -> None:
    try:
        settle(outcome)
    except Exception:
        # One publisher's mistake must not keep the others from their answers.
        _logger.exception("a publisher could not be told of its message")

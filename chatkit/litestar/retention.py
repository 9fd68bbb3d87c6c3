"""Sweeping: what is more than a channel's history goes from a store that processes share.

Not at once: nothing goes before it is a minute old, so that a burst longer than the history reaches who reads it.
Knows which rooms this process wrote to, and nothing of how a store drops messages.
"""

import asyncio
import logging
import random
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from chatkit.core.backend import Backend
from chatkit.core.model import Cursor, Draft, Message, Receipt
from chatkit.errors import ChatkitError

SWEEP_S: Final = 60.0  # who is further behind than this is not reading

_logger = logging.getLogger(__name__)


class RetentionSweeper:
    """Up to where the rooms that were written to may go, when all but the newest `keep` messages are too many."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._fresh: dict[str, Cursor] = {}  # rooms written to since the last sweep, and up to where
        self._ripe: dict[str, Cursor] = {}  # the same, of the sweep before

    def saw(self, messages: Iterable[Message]) -> None:
        """Hear what was appended."""
        for message in messages:
            self._fresh[message.room] = message.cursor

    def sweep(self) -> dict[str, Cursor]:
        """Return the rooms in which something may go, and up to where. Called once in `SWEEP_S`."""
        ripe, self._ripe, self._fresh = self._ripe, self._fresh, {}
        return {room: Cursor(last.epoch, last.seq - self._keep) for room, last in ripe.items() if last.seq > self._keep}


class RetentionBackend(Backend):
    """A backend that drops what is too many in the rooms that it writes to. Stands before the backend it is one of."""

    _sweeper: RetentionSweeper | None = None  # None: everything is kept
    _sweeping: asyncio.Task[None] | None = None

    @abstractmethod
    async def drop(self, room: str, up_to: Cursor) -> None:
        """Drop a room's messages up to a number, if the log is still of that epoch. Raise what a trim raises."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()  # type: ignore[safe-super]  # there is one behind this
        if self._sweeper is not None:
            self._sweeping = asyncio.create_task(self._sweep_forever(self._sweeper))
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        sweeping, self._sweeping = self._sweeping, None
        try:
            if sweeping is not None:
                sweeping.cancel()
                await asyncio.wait({sweeping})
        finally:
            await super().__aexit__(exc_type, exc, traceback)  # type: ignore[safe-super]  # the same

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Append; see `Backend`."""
        receipts = await super().append(drafts)  # type: ignore[safe-super]  # the same
        if self._sweeper is not None:
            self._sweeper.saw(receipt.message for receipt in receipts)
        return receipts

    async def _sweep_forever(self, sweeper: RetentionSweeper) -> None:
        while True:
            await asyncio.sleep(random.uniform(1, 1.2) * SWEEP_S)  # noqa: S311 - jitter, not a secret
            for room, up_to in sweeper.sweep().items():
                with suppress(ChatkitError):  # a store that is away, or a room that is no more: the next sweep will do
                    await self._drop(room, up_to)

    async def _drop(self, room: str, up_to: Cursor) -> None:
        try:
            await self.drop(room, up_to)
        except ChatkitError:
            raise
        except Exception:
            _logger.exception("what is too old in %s was not dropped", room)

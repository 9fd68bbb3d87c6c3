"""Retention: drops messages beyond a channel's history from a store that several processes share.

A message is kept for at least a minute, so that a burst longer than the history reaches its readers. Knows the rooms
that this process appended to, and nothing of how a store drops messages.
"""

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from chatkit.core.backend import Backend
from chatkit.core.model import Cursor, Draft, Message, Receipt
from chatkit.errors import ChatkitError

SWEEP_S: Final = 60.0  # a reader that is further behind is treated as stopped

_logger = logging.getLogger(__name__)


class RetentionSweeper:
    """The rooms that this process appended to, and the messages that may be dropped if the newest `keep` stay."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._recent: dict[str, Cursor] = {}  # rooms appended to since the last sweep, and the newest message
        self._due: dict[str, Cursor] = {}  # the same for the previous sweep

    def add(self, messages: Iterable[Message]) -> None:
        """Register messages that were appended."""
        for message in messages:
            self._recent[message.room] = message.cursor

    def sweep(self) -> dict[str, Cursor]:
        """Return for each room the last message that may be dropped. Called every `SWEEP_S`."""
        due, self._due, self._recent = self._due, self._recent, {}
        return {room: Cursor(last.epoch, last.seq - self._keep) for room, last in due.items() if last.seq > self._keep}


class RetentionBackend(Backend):
    """A backend that trims the rooms that it appends to. List it before the store's class among the base classes."""

    _sweeper: RetentionSweeper | None = None  # None: nothing is dropped
    _sweeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()  # type: ignore[safe-super]  # the store's class is the next one
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
        """Append drafts; see `Backend.append`."""
        receipts = await super().append(drafts)  # type: ignore[safe-super]  # the same
        if self._sweeper is not None:
            self._sweeper.add(receipt.message for receipt in receipts)
        return receipts

    async def drop(self, room: str, up_to: Cursor) -> None:
        """Drop a room's messages up to a cursor, if its epoch is still the same. Raise the errors of `trim`."""
        head = (await self.read(room, limit=1)).head
        if head.epoch == up_to.epoch and head.first <= up_to.seq:
            # Messages appended before the trim make it drop a few more, but none of the newest `keep`.
            await self.trim(room, keep=head.last - up_to.seq)

    async def _sweep_forever(self, schedule: RetentionSweeper) -> None:
        while True:
            await asyncio.sleep(random.uniform(1, 1.2) * SWEEP_S)  # noqa: S311 - jitter, not a secret
            for room, up_to in schedule.sweep().items():
                with suppress(ChatkitError):  # the store is unavailable or the room is gone: the next sweep tries again
                    await self._drop(room, up_to)

    async def _drop(self, room: str, up_to: Cursor) -> None:
        try:
            await self.drop(room, up_to)
        except ChatkitError:
            raise
        except Exception:
            _logger.exception("the oldest messages of %s were not dropped", room)

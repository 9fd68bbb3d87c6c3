"""Retention: the messages beyond a channel's history are dropped from a store that processes share.

They are not dropped at once: none goes before it is a minute old, so that a burst longer than the history reaches its
readers. Knows which rooms this process appended to, and nothing of how a store drops messages.
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

SWEEP_S: Final = 60.0  # a reader that is further behind than this is not reading

_logger = logging.getLogger(__name__)


class RetentionSweeper:
    """The rooms that this process appended to, and up to where their messages may go if the newest `keep` stay."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._fresh: dict[str, Cursor] = {}  # rooms appended to since the last sweep, and the newest message
        self._ripe: dict[str, Cursor] = {}  # the same, of the sweep before

    def saw(self, messages: Iterable[Message]) -> None:
        """Register messages that were appended."""
        for message in messages:
            self._fresh[message.room] = message.cursor

    def sweep(self) -> dict[str, Cursor]:
        """Return the rooms in which messages may go, and the last of these. Called once in `SWEEP_S`."""
        ripe, self._ripe, self._fresh = self._ripe, self._fresh, {}
        return {room: Cursor(last.epoch, last.seq - self._keep) for room, last in ripe.items() if last.seq > self._keep}


class RetentionBackend(Backend):
    """A backend that trims the rooms that it appends to. Stands before the store's own class among the bases."""

    _sweeper: RetentionSweeper | None = None  # None: everything is kept
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
        """Append; see `Backend`."""
        receipts = await super().append(drafts)  # type: ignore[safe-super]  # the same
        if self._sweeper is not None:
            self._sweeper.saw(receipt.message for receipt in receipts)
        return receipts

    async def drop(self, room: str, up_to: Cursor) -> None:
        """Drop a room's messages up to a number, if its log is still of that epoch. Raise the errors of `trim`."""
        head = (await self.read(room, limit=1)).head
        if head.epoch == up_to.epoch and head.first <= up_to.seq:
            # Messages that are appended before the trim let a few more go, and none of the newest `keep`.
            await self.trim(room, keep=head.last - up_to.seq)

    async def _sweep_forever(self, sweeper: RetentionSweeper) -> None:
        while True:
            await asyncio.sleep(random.uniform(1, 1.2) * SWEEP_S)  # noqa: S311 - jitter, not a secret
            for room, up_to in sweeper.sweep().items():
                with suppress(ChatkitError):  # the store is away, or the room is gone: the next sweep will do
                    await self._drop(room, up_to)

    async def _drop(self, room: str, up_to: Cursor) -> None:
        try:
            await self.drop(room, up_to)
        except ChatkitError:
            raise
        except Exception:
            _logger.exception("the oldest messages of %s were not dropped", room)

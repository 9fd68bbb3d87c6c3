"""Where the messages of `chatkit on` come from: a consumer or, without its name, a follow that keeps no place."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from chatkit.backoff import Backoff
from chatkit.core.model import Cursor, Gap, Message

if TYPE_CHECKING:
    from chatkit.cli.store_client import StoreClient
    from chatkit.client import Client

RETRY_S, MAX_RETRY_S = 1.0, 60.0  # as for consumers


class Messages(Protocol):
    """The messages of a room for one worker; as `chatkit.client.consumption.Consumption`."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def __aiter__(self) -> AsyncIterator[Message | Gap]:
        """Iterate over the messages. Each is done when the next one is asked for."""

    async def ack(self) -> None:
        """Note now that the current message is done."""

    async def retry(self, reason: str = "") -> None:
        """Report that the current message has failed."""


class FollowedRoom:
    """The messages of a room from a position on. Several workers may share them."""

    def __init__(self, source: "Client | StoreClient", room: str, *, from_start: bool) -> None:
        self._source = source
        self._room = room
        self._from_start = from_start
        self._reading = asyncio.Lock()  # of the generator, which one worker at a time may ask
        self._items: AsyncGenerator[Message | Gap, None] | None = None

    async def next(self) -> Message | Gap:
        """Wait for the next item."""
        async with self._reading:
            if self._items is None:
                page = await self._source.history(self._room, limit=1)
                first = Cursor(page.cursor.epoch, page.first - 1)
                self._items = self._source.follow(self._room, after=first if self._from_start else page.cursor)
            return await anext(self._items)


class FollowedMessages:
    """The messages of a followed room for one worker, which tries each at most `1 + retries` times."""

    def __init__(
        self,
        room: FollowedRoom,
        where: Callable[[Message], bool],
        retries: int,
        on_given_up: Callable[[Message, int], None],  # with the number of its failures
    ) -> None:
        self._room = room
        self._where = where
        self._retries: Final = retries
        self._on_given_up = on_given_up
        self._has_failed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    async def __aiter__(self) -> AsyncGenerator[Message | Gap, None]:
        while True:
            item = await self._room.next()
            if isinstance(item, Gap):
                yield item
                continue
            if not self._where(item):
                continue
            backoff = Backoff(RETRY_S, MAX_RETRY_S)
            for n_left in reversed(range(self._retries + 1)):
                self._has_failed = False
                yield item
                if not self._has_failed:
                    break
                if n_left:
                    await asyncio.sleep(backoff.next_s())
            else:
                self._on_given_up(item, self._retries + 1)

    async def ack(self) -> None:
        """Do nothing: no place is kept."""

    async def retry(self, _reason: str = "") -> None:
        """Let the current message come again, if it was not tried too often."""
        self._has_failed = True

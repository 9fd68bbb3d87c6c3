"""Store: a backend, read and written to without a server, by the same calls as the client's."""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from chatkit.backends import open_backend
from chatkit.cli.store_publisher import StorePublisher
from chatkit.client import HistoryResult, Item, RoomView
from chatkit.client.pagination import scroll
from chatkit.client.signals import ConnectionLost, ConnectionRestored, ConnectionWatcher
from chatkit.core.backend import Filter, RoomInfo
from chatkit.core.history import read_history
from chatkit.core.hub import Hub
from chatkit.core.model import Cursor, Draft, Limits, Member, Receipt, format_time
from chatkit.core.roster import Roster
from chatkit.core.signals import Signal, StoreAvailable, StoreUnavailable

DEFAULT_PAGE = 100
At = int | str | Cursor


class StoreClient:
    """What `chatkit --backend URL` talks to. Enter it with `async with`.

    `watcher` is told when the store is away, and when it is back: what is submitted or followed goes on then. Without
    `make`, entering raises `NotAStore` where there is no store yet.
    """

    def __init__(self, url: str, name: str, watcher: ConnectionWatcher, *, make: bool) -> None:
        self._backend = open_backend(url, make=make)
        self._name = name
        self._watcher = watcher
        self._process = secrets.token_hex(6)
        self._roster = Roster()
        self._exit = AsyncExitStack()
        self._hub: Hub | None = None
        self._delivery: StorePublisher | None = None

    async def __aenter__(self) -> Self:
        await self._exit.enter_async_context(self._backend)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit.__aexit__(None, None, None)

    async def publish(self, room: str, body: str, *, data: Any = None, key: str | None = None) -> Receipt:
        """Commit a message."""
        draft = Draft.new(room, body, sender=self._name, data=data, key=key)
        return await (await self._opened()).publish(draft)

    async def submit(
        self, room: str, body: str, *, data: Any = None, key: str | None = None
    ) -> asyncio.Future[Receipt]:
        """Put a message in the queue and return where its receipt will be. Raise `BadInput`.

        What is submitted is stored in order; while the store is away, or too much waits for it, this waits.
        """
        draft = Draft.new(room, body, sender=self._name, data=data, key=key)
        return await (await self._delivering()).submit(draft)

    async def history(
        self,
        room: str,
        *,
        after: At | None = None,
        before: At | None = None,
        limit: int | None = None,
        search: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        sender: str | None = None,
    ) -> HistoryResult:
        """Read a page."""
        where = Filter(search=search, sender=sender, since_ms=_ms(since), until_ms=_ms(until))
        past = await read_history(
            self._backend,
            room,
            after=_position(after),
            before=_position(before),
            limit=min(limit or DEFAULT_PAGE, Limits().history),
            where=None if where == Filter() else where,
        )
        head = past.head
        return HistoryResult(past.messages, past.cursor, head.first, head.last, past.complete, past.gap)

    def scroll(self, room: str, *, after: At = 0, **which: Any) -> AsyncIterator[Item]:
        """Yield every message above `after`, page by page, and a `Gap` where some are missing."""
        return scroll(self.history, room, after=after, **which)

    async def follow(self, room: str, *, after: Cursor) -> AsyncGenerator[Item, None]:
        """Yield what comes after the cursor, for ever."""
        hub = await self._opened()
        with await hub.subscribe(room, after=after, on_signal=self._tell) as subscription:
            async for item in subscription:
                yield item

    async def rooms(self) -> list[RoomView]:
        """Return what rooms there are."""
        present = await self._present()
        return [_view(info, present.count(info.room)) for info in await self._backend.rooms()]

    async def room(self, room: str) -> RoomView:
        """Return one of them; one that was never written to is an empty one, as to a server."""
        page = await self.history(room, limit=1)
        time = page.messages[-1].time if page.messages else None
        members = (await self._present()).count(room)
        return RoomView(room, page.first, page.last, str(page.cursor), members, time)

    async def members(self, room: str) -> list[Member]:
        """Return who is in a room, as the servers on this store say."""
        present = await self._present()
        return present.members(room, present.count(room))

    async def _opened(self) -> Hub:
        if self._hub is None:
            # What it warns of is for a server's log: here, the command says it, once, or fails by it.
            logging.getLogger("chatkit").setLevel(logging.ERROR)
            self._hub = await self._exit.enter_async_context(Hub(self._backend))
        return self._hub

    async def _delivering(self) -> StorePublisher:
        if self._delivery is None:
            self._delivery = StorePublisher((await self._opened()).publish, self._watcher)
            running = asyncio.create_task(self._delivery.run())
            self._exit.callback(running.cancel)
        return self._delivery

    def _tell(self, signal: Signal) -> None:
        match signal:
            case StoreUnavailable(reason):
                self._watcher(ConnectionLost(f"the store is away: {reason}"))
            case StoreAvailable():
                self._watcher(ConnectionRestored())

    async def _present(self) -> Roster:
        """Return who is in the rooms by way of the servers on this store."""
        for news in await self._backend.poll_presence(self._process):
            self._roster.apply_remote(news)
        return self._roster


def _view(info: RoomInfo, members: int) -> RoomView:
    head = info.head
    cursor = str(Cursor(head.epoch, head.last))
    return RoomView(info.room, head.first, head.last, cursor, members, format_time(info.time_ms))


def _position(at: At | None) -> Cursor | int | None:
    if not isinstance(at, str):
        return at
    return int(at) if at.isascii() and at.isdigit() and len(at) <= 18 else Cursor.parse(at)


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)

"""A client of a store that is opened without a server. It has the methods of `Client` that the commands use."""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from chatkit.cli.store_publisher import StorePublisher
from chatkit.cli.times import unix_ms
from chatkit.client import HistoryResult, Item, RoomView
from chatkit.client.changes import Changes
from chatkit.client.consuming import Consuming
from chatkit.client.pagination import scroll
from chatkit.client.signals import ConnectionLost, ConnectionRestored, ConnectionWatcher
from chatkit.client.validation import MessageListing
from chatkit.core import access_records
from chatkit.core.access import (
    DEFAULT_ROOM_SETTINGS,
    EVERYTHING,
    Credential,
    Identity,
    Right,
    RoomSettings,
    is_system_room,
    refusal,
)
from chatkit.core.access_store import AccessStore
from chatkit.core.history import read_history
from chatkit.core.message_state import Act
from chatkit.core.name_range import EVERY_NAME
from chatkit.core.read_state import ReadState
from chatkit.core.reading import MentionPosition, RoomUnread
from chatkit.core.room_pages import RoomListPage, read_room_page
from chatkit.core.roster import Roster
from chatkit.core.search import SearchPosition, search_rooms
from chatkit.core.signals import Signal, StoreAvailable, StoreUnavailable
from chatkit.toolkit import Backend, Cursor, Draft, Filter, Hub, Limits, Member, Message, Receipt, open_backend

if TYPE_CHECKING:
    from chatkit.client.consumer_calls import ConsumerCalls

DEFAULT_PAGE = 100
At = int | str | Cursor


class StoreClient(Changes, Consuming):
    """Reads and writes the store at a URL, for `chatkit --backend URL`. Enter it with `async with`.

    `watcher` is called when the store becomes unavailable and when it is available again; submitted messages and
    follows then continue. Without `make`, entering raises `NotAStore` if the store does not exist.
    """

    def __init__(self, url: str, name: str, watcher: ConnectionWatcher, *, make: bool) -> None:
        super().__init__(watcher)
        self._backend = open_backend(url, make=make)
        self.name = name
        self._watcher = watcher
        self._read_state = ReadState(self._backend, self._backend)
        self._process = secrets.token_hex(6)
        self._roster = Roster()
        self._exit = AsyncExitStack()
        self._hub: Hub | None = None
        self._publisher: StorePublisher | None = None

    async def __aenter__(self) -> Self:
        await self._exit.enter_async_context(self._backend)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._end_consumptions(exc)
        await self._exit.__aexit__(None, None, None)

    async def publish(
        self,
        room: str,
        body: str,
        *,
        data: Any = None,
        key: str | None = None,
        of: int | None = None,
        act: Act | None = None,
    ) -> Receipt:
        """Store a message and return its receipt.

        Raise `Forbidden` if the room is archived, and `RoomRenamed` for the old name of a room.
        """
        draft = Draft.new(room, body, sender=self.name, data=data, key=key, of=of, act=act)
        return await self._store(await self._open_hub(), draft)

    async def submit(
        self, room: str, body: str, *, data: Any = None, key: str | None = None
    ) -> asyncio.Future[Receipt]:
        """Queue a message and return a future of its receipt. Raise `BadInput`.

        The future raises `Forbidden` if the room is archived, and `RoomRenamed` for the old name of a room. Messages
        are stored in the order of submission. While the queue is full, for example because the store is unavailable,
        this waits.
        """
        draft = Draft.new(room, body, sender=self.name, data=data, key=key)
        return await self._start_publisher(await self._open_hub()).submit(draft)

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
        of: int | None = None,
        pinned: bool = False,
        raw: bool = False,
    ) -> HistoryResult:
        """Return a page of the room's history; see `Client.history`."""
        where = Filter(
            search=search,
            sender=sender,
            since_ms=unix_ms(since),
            until_ms=unix_ms(until),
            of=of,
            pinned=pinned and not raw,
        )
        past = await read_history(
            self._backend,
            room,
            after=_position(after),
            before=_position(before),
            limit=min(limit or DEFAULT_PAGE, Limits().history),
            where=None if where == Filter() else where,
            folded=not raw,
        )
        head = past.head
        return HistoryResult(past.messages, past.cursor, head.first, head.last, past.complete, past.gap, past.reached)

    def scroll(self, room: str, *, after: At = 0, **which: Any) -> AsyncIterator[Item]:
        """Iterate over all messages after `after`, page by page, with a `Gap` where messages are missing."""
        return scroll(self.history, room, after=after, **which)

    async def follow(self, room: str, *, after: Cursor) -> AsyncGenerator[Item, None]:
        """Iterate over the messages after the cursor, and new ones as they arrive, without end."""
        hub = await self._open_hub()
        with await hub.subscribe(room, after=after, on_signal=self._on_signal) as subscription:
            async for item in subscription:
                yield item

    async def rooms(self) -> list[RoomView]:
        """Return all rooms."""
        present = await self._read_presence()
        infos = await self._backend.rooms()
        return [RoomView.of(info.room, info.head, present.count(info.room), info.time_ms) for info in infos]

    async def room(self, room: str) -> RoomView:
        """Return a room. A room without messages is an empty room, as on a server."""
        return await view_of_room(self._backend, room, (await self._read_presence()).count(room))

    async def members(self, room: str) -> list[Member]:
        """Return the members of a room, as the servers on this store report them."""
        present = await self._read_presence()
        return present.members(room, present.count(room))

    async def mark(self, room: str, seq: int) -> int:
        """Note that this client's name has read a room up to a message, and return the marker; see `Client.mark`."""
        return await self._read_state.mark(self.name, room, seq)

    async def unread(self) -> list[RoomUnread]:
        """Return what this client's name has not read; see `Client.unread`."""
        return await self._read_state.unread(self.name, lambda _room: True)

    async def mentions(self, *, before: str | None = None, limit: int | None = None) -> MessageListing:
        """Return the newest messages that mention this client's name; see `Client.mentions`."""
        limit = limit or DEFAULT_PAGE
        found = await self._read_state.mentions(self.name, before=_list_position(before), limit=limit + 1)
        return _listing(found, limit)

    async def search(self, text: str, *, before: str | None = None, limit: int | None = None) -> MessageListing:
        """Return the newest messages of all rooms that contain a text; see `Client.search`."""
        limit = limit or DEFAULT_PAGE
        at = SearchPosition.parse(before)
        found = await search_rooms(self._backend, self._rooms_from, text, at=at, limit=limit)
        return MessageListing(found.messages, None if found.position is None else str(found.position))

    async def _rooms_from(self, start: str) -> RoomListPage:
        page = await read_room_page(self._backend, (EVERY_NAME,), start)
        return RoomListPage([info for info in page.infos if not is_system_room(info.room)], page.following)

    def _consumer_calls(self, room: str, name: str) -> "ConsumerCalls":
        from chatkit.cli.store_consumer import StoreConsumer

        return StoreConsumer(self._open_hub, room, name, owner=self.name)

    async def _open_hub(self) -> Hub:
        if self._hub is None:
            # The command reports or raises what the hub would only log.
            logger = logging.getLogger("chatkit")
            self._exit.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
            self._hub = await self._exit.enter_async_context(Hub(self._backend))
        return self._hub

    async def _store(self, hub: Hub, draft: Draft) -> Receipt:
        """Store a message, unless the room is archived or renamed: not even an administrator writes to such a room."""
        by = Identity(self.name, grants=EVERYTHING, credential=Credential.STORE)
        if error := refusal(by, Right.WRITE, draft.room, (), 0, settings=hub.access.room_settings(draft.room)):
            raise error
        return await hub.publish(draft)

    def _start_publisher(self, hub: Hub) -> StorePublisher:
        if self._publisher is None:
            self._publisher = StorePublisher(partial(self._store, hub), self._watcher)
            running = asyncio.create_task(self._publisher.run())
            self._exit.callback(running.cancel)
        return self._publisher

    def _on_signal(self, signal: Signal) -> None:
        match signal:
            case StoreUnavailable(reason):
                self._watcher(ConnectionLost(f"the store is not available: {reason}"))
            case StoreAvailable():
                self._watcher(ConnectionRestored())

    async def _read_presence(self) -> Roster:
        """Return the members of all rooms, as the servers on this store report them."""
        for changes in await self._backend.poll_presence(self._process):
            self._roster.apply_remote(changes)
        return self._roster


async def view_of_room(backend: Backend, room: str, members: int = 0) -> RoomView:
    """Return a room with its settings."""
    page = await read_history(backend, room, limit=1)
    time_ms = page.messages[-1].time_ms if page.messages else None
    settings = await AccessStore(backend).get(access_records.ROOM, room, RoomSettings)
    return RoomView.of(room, page.head, members, time_ms).with_settings(settings or DEFAULT_ROOM_SETTINGS)


def _listing(found: Sequence[Message], limit: int) -> MessageListing:
    """Return a list of at most `limit` messages, of which one more was read if there are more."""
    messages = found[:limit]
    last = messages[-1] if len(found) > limit else None
    return MessageListing(messages, None if last is None else str(MentionPosition(last.time_ms, last.room, last.seq)))


def _list_position(before: str | None) -> MentionPosition | None:
    return None if before is None else MentionPosition.parse(before)


def _position(at: At | None) -> Cursor | int | None:
    if not isinstance(at, str):
        return at
    return int(at) if at.isascii() and at.isdigit() and len(at) <= 18 else Cursor.parse(at)

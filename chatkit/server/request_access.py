"""RequestAccess: rooms with the identity, the rights and the rate limits of one HTTP request, for the tools of MCP."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import msgspec

from chatkit.core.backend import Filter, MentionPosition
from chatkit.core.history import HistoryPage
from chatkit.core.message_state import Act
from chatkit.core.model import Cursor, Gap, Message, Receipt
from chatkit.core.reading import RoomUnread
from chatkit.core.text import check_search
from chatkit.server.admission import Admission
from chatkit.server.litestar_types import HttpRequest
from chatkit.server.message_routes import readable_room
from chatkit.server.publishing import publish_as
from chatkit.server.read_routes import LISTED, find_mentions, find_text, readable_by, reader_name
from chatkit.server.room_list import RoomRange
from chatkit.server.while_allowed import while_allowed
from chatkit.wire.costs import JOIN_COST, LIST_COST, MARK_COST, PAGE_COST, SEARCH_COST, UNREAD_COST
from chatkit.wire.http import PublishRequest, RoomList, RoomView
from chatkit.wire.protocol import Position, position


class FoundMessages(msgspec.Struct, frozen=True):
    """Messages of several rooms, the newest first, and the cursor before which older ones follow."""

    messages: Sequence[Message]
    cursor: str | None

    @classmethod
    def of(cls, found: Sequence[Message], limit: int, may_read: Callable[[str], bool]) -> "FoundMessages":
        """Return at most `limit` of the messages, of which one more was read if there are more.

        Those that may not be read any more are left out.
        """
        last = found[limit - 1] if len(found) > limit else None
        cursor = None if last is None else str(MentionPosition(last.time_ms, last.room, last.seq))
        return cls([message for message in found[:limit] if may_read(message.room)], cursor)


class RequestAccess:
    """A `RoomAccess` that does what the routes of the HTTP API do, with the same checks and costs."""

    def __init__(self, admission: Admission, request: HttpRequest) -> None:
        self._admission = admission
        self._request = request

    async def own_name(self) -> str:
        """Return the name of the client."""
        return self._request.user.name

    async def rooms(self) -> list[RoomView]:
        """Return the rooms that the client may read."""
        rooms: list[RoomView] = []
        while True:
            await self._admission.charge(self._request, LIST_COST)
            asked = RoomRange(after=rooms[-1].room if rooms else "")
            encoded = await self._admission.read_rooms(self._request.user, asked)
            page = await asyncio.to_thread(msgspec.json.decode, encoded, type=RoomList)  # there may be many
            rooms += page.rooms
            if page.complete or not page.rooms:
                return rooms

    async def history(
        self,
        room: str,
        *,
        after: Position | None = None,
        before: Position | None = None,
        limit: int | None = None,
        search: str | None = None,
    ) -> HistoryPage:
        """Return a page of a room in its current state."""
        context = self._admission.context
        await self._admission.charge(self._request, SEARCH_COST if search else PAGE_COST)
        room = readable_room(self._admission, self._request, room)
        page = await context.history_queue.read(
            self._admission.client(self._request),
            context.hub,
            room,
            after=position(after),
            before=position(before),
            limit=min(limit or LISTED, context.limits.history),
            where=Filter(check_search(search)) if search else None,
            folded=True,
        )
        readable_room(self._admission, self._request, room)  # again: a search takes seconds
        return page

    async def search(self, text: str, *, before: str | None = None, limit: int | None = None) -> FoundMessages:
        """Return the newest messages of all rooms that contain a text."""
        limit = limit or LISTED
        found = await find_text(self._admission, self._request, text, before, limit)
        may_read = readable_by(self._admission, self._request)
        messages = [message for message in found.messages if may_read(message.room)]
        return FoundMessages(messages, None if found.position is None else str(found.position))

    async def mentions(self, *, before: str | None = None, limit: int | None = None) -> FoundMessages:
        """Return the newest messages of all rooms that mention the client's name."""
        limit = limit or LISTED
        found = await find_mentions(self._admission, self._request, before, limit)
        return FoundMessages.of(found, limit, readable_by(self._admission, self._request))

    async def unread(self) -> list[RoomUnread]:
        """Return what the client's name has not read."""
        await self._admission.charge(self._request, UNREAD_COST)
        return await self._admission.hub.read_state.unread(
            reader_name(self._admission, self._request), readable_by(self._admission, self._request)
        )

    async def mark(self, room: str, seq: int) -> int:
        """Note that the client's name has read a room up to a message."""
        await self._admission.charge(self._request, MARK_COST)
        room = readable_room(self._admission, self._request, room)
        return await self._admission.hub.read_state.mark(reader_name(self._admission, self._request), room, seq)

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
        """Publish a message of the client."""
        n_bytes = len(body.encode(errors="surrogatepass"))
        return await publish_as(self._admission, self._request, room, PublishRequest(body, data, key, of, act), n_bytes)

    async def follow(self, room: str, *, after: Cursor) -> AsyncGenerator[Message | Gap, None]:
        """Iterate over the log of a room, as long as the client may read it."""
        await self._admission.charge(self._request, JOIN_COST)
        room = readable_room(self._admission, self._request, room)
        with (
            self._admission.counted_stream(),
            await self._admission.hub.subscribe(room, after=after) as subscription,
        ):
            while items := await while_allowed(self._admission, self._request.user, room, subscription.read(1)):
                yield items[0]

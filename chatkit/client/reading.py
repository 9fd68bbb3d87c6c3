"""What a client reads over HTTP: pages of history, rooms and members. Also redactions, which need no socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from functools import partial
from typing import ParamSpec, TypeVar

from chatkit.client.daemon_call import call_in_daemon
from chatkit.client.http import HistoryResult, HttpClient
from chatkit.client.pagination import scroll
from chatkit.client.signals import Item
from chatkit.client.validation import MessageListing
from chatkit.core.model import Cursor, Member, check_readable_room, check_room
from chatkit.core.reading import RoomUnread
from chatkit.wire.http import RoomView
from chatkit.wire.protocol import Position

At = int | str | Cursor
"""A position in a room's log: a `seq`, a cursor as text, or a `Cursor`."""

Params = ParamSpec("Params")
ValueT = TypeVar("ValueT")


class Reading:
    """The calls of a client that use HTTP. Each runs in a thread, one after another."""

    def __init__(self, calls: HttpClient) -> None:
        self._calls = calls
        self._turn = asyncio.Lock()  # so that a call that is cancelled is the one in progress, or has not begun

    async def history(
        self,
        room: str,
        *,
        after: At | None = None,
        before: At | None = None,
        limit: int | None = None,
        search: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        sender: str | None = None,
        of: int | None = None,
        pinned: bool = False,
        raw: bool = False,
    ) -> HistoryResult:
        """Read one page of a room's messages, in ascending order.

        Without a position, the page holds the newest messages. Each is in its current state, without the changes that
        led to it; `raw` reads the log as it was written.

        Args:
            room: Name of the room.
            after: Position behind which to read; the page holds the oldest messages there.
            before: Position before which to read; without `after`, the page holds the newest messages there.
            limit: Largest number of messages; the server has a limit of its own, and ends a page at 1 MiB.
            search: Text that a message must contain, without regard to case.
            since: Time from which on a message was stored: a `datetime.datetime` or an RFC 3339 time.
            until: Time before which a message was stored.
            sender: Sender of the messages.
            of: Number of a message, to read the replies to it, or, if `raw`, all that refers to it.
            pinned: Whether to read only messages that are pinned now.
            raw: Whether to read the log as it was written, with the changes and without their effect.

        Raises:
            BadName: If `room` or `sender` breaks its rule.
            BadCursor: If a position is not a cursor.
            BadRequest: If another parameter is not valid.

        """
        return await self._call(
            self._calls.history,
            check_readable_room(room),
            after=_position(after),
            before=_position(before),
            limit=limit,
            search=search,
            since=_time_text(since),
            until=_time_text(until),
            sender=sender,
            of=of,
            pinned=pinned,
            raw=raw,
        )

    def scroll(
        self,
        room: str,
        *,
        after: At = 0,
        before: At | None = None,
        search: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        sender: str | None = None,
        raw: bool = False,
    ) -> AsyncIterator[Item]:
        """Iterate over all messages behind `after`, page by page, with a `Gap` where some are missing.

        Parameters and errors are those of `history`. Memory holds one page.
        """
        which = {"before": before, "search": search, "since": since, "until": until, "sender": sender, "raw": raw}
        return scroll(self.history, room, after=after, **which)

    async def rooms(self, prefix: str = "") -> list[RoomView]:
        """Return the rooms of the server whose names begin with `prefix`, sorted by name."""
        return list(await self._call(self._calls.rooms, prefix))

    async def room(self, room: str) -> RoomView:
        """Return one room; raise `NotFound`."""
        return await self._call(self._calls.room, check_readable_room(room))

    async def members(self, room: str) -> list[Member]:
        """Return the members of a room: at most 200."""
        return list(await self._call(self._calls.members, check_readable_room(room)))

    async def redact(self, room: str, seq: int) -> None:
        """Remove a message's body and data for good; its `seq` stays.

        Raises:
            NotFound: If the room has no such message.

        """
        await self._call(self._calls.redact, check_room(room), seq)

    async def mark(self, room: str, seq: int) -> int:
        """Note that this client's name has read a room up to a message.

        Args:
            room: Name of the room.
            seq: Number of the message; beyond the end of the room, it is the newest one.

        Returns:
            int: The marker, which does not move back.

        Raises:
            Forbidden: If the client has no token, unless the server is open and the client has a name.
            NotFound: If the room has no messages.

        """
        return await self._call(self._calls.mark, check_room(room), seq)

    async def unread(self) -> list[RoomUnread]:
        """Return what this client's name has not read: each room that it has marked, or that mentions it.

        Counting stops at 1,000. Raise `Forbidden` as `mark` does.
        """
        return list(await self._call(self._calls.unread))

    async def mentions(self, *, before: str | None = None, limit: int | None = None) -> MessageListing:
        """Return the newest messages of all rooms that mention this client's name.

        Args:
            before: Cursor of an earlier list, to read the older ones.
            limit: Largest number of messages: 50 by default, at most 100.

        """
        return await self._call(self._calls.mentions, before=before, limit=limit)

    async def search(self, text: str, *, before: str | None = None, limit: int | None = None) -> MessageListing:
        """Return the newest messages of all rooms that contain a text, regardless of case.

        Args:
            text: Text of at most 200 characters.
            before: Cursor of an earlier list, to read the older ones.
            limit: Largest number of messages: 50 by default, at most 100.

        """
        return await self._call(self._calls.search, text, before=before, limit=limit)

    async def _call(self, call: Callable[Params, ValueT], /, *args: Params.args, **kwargs: Params.kwargs) -> ValueT:
        async with self._turn:
            return await call_in_daemon(partial(call, *args, **kwargs), self._calls.interrupt)


def _position(at: At | None) -> Position | None:
    return str(at) if isinstance(at, Cursor) else at


def _time_text(at: datetime | str | None) -> str | None:
    return at.isoformat() if isinstance(at, datetime) else at

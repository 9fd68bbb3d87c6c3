"""RoomAccess: what the tools do with rooms, for one identity. Knows neither MCP nor how a server is reached."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Protocol

from chatkit.core.message_state import Act
from chatkit.core.model import Cursor, Gap, Message, Receipt
from chatkit.core.reading import RoomUnread
from chatkit.wire.http import RoomView
from chatkit.wire.protocol import Position


class RoomPage(Protocol):
    """Messages of one room in `seq` order. With `after=cursor`, the next ones follow."""

    @property
    def messages(self) -> Sequence[Message]:
        """The messages, in their current state."""

    @property
    def cursor(self) -> Cursor:
        """The position after the page."""

    @property
    def complete(self) -> bool:
        """Whether no more messages match in the direction of the read."""

    @property
    def gap(self) -> Gap | None:
        """The messages before the page that are not stored any more."""

    @property
    def reached(self) -> int | None:
        """The number from which a search continues that has ended early."""


class RoomListing(Protocol):
    """Messages of several rooms, the newest first. With `before=cursor`, the older ones follow; None if none do."""

    @property
    def messages(self) -> Sequence[Message]:
        """The messages."""

    @property
    def cursor(self) -> str | None:
        """Where the older ones begin."""


class RoomAccess(Protocol):
    """Rooms with the rights of one identity. Its methods are those of `Client`; each may raise a `ChatkitError`."""

    async def own_name(self) -> str:
        """Return the name with which the identity publishes."""

    async def rooms(self) -> list[RoomView]:
        """Return the rooms that the identity may read, sorted by name."""

    async def history(
        self,
        room: str,
        *,
        after: Position | None = None,
        before: Position | None = None,
        limit: int | None = None,
        search: str | None = None,
    ) -> RoomPage:
        """Return a page of a room; see `Client.history`."""

    async def search(self, text: str, *, before: str | None = None, limit: int | None = None) -> RoomListing:
        """Return the newest messages of all rooms that contain a text."""

    async def mentions(self, *, before: str | None = None, limit: int | None = None) -> RoomListing:
        """Return the newest messages of all rooms that mention the identity's name."""

    async def unread(self) -> list[RoomUnread]:
        """Return what the identity's name has not read."""

    async def mark(self, room: str, seq: int) -> int:
        """Note that the identity's name has read a room up to a message, and return the marker."""

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
        """Publish a message, a reply or a change of a message; see `Client.publish`."""

    def follow(self, room: str, *, after: Cursor) -> AsyncGenerator[Message | Gap, None]:
        """Iterate over the log of a room after a cursor, as it is written, and wait for what is written later."""

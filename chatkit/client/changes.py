"""Replies, edits and reactions: what a client publishes about earlier messages of a room."""

from abc import ABC, abstractmethod
from typing import Any

from chatkit.core.message_state import Act
from chatkit.core.model import Receipt


class Changes(ABC):
    """The calls that refer to an earlier message by its `seq`.

    Each publishes an entry of the room's log and returns its receipt. A change that was made before stores nothing:
    `repeat` of its receipt is true.

    Raises:
        BadReference: If there is no such message, it is a change itself, or it was redacted.
        BadRequest: If the server does not accept the emoji or the text.

    """

    @abstractmethod
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
        """Publish a message; see `Client.publish`."""

    async def reply(self, room: str, seq: int, body: str, *, data: Any = None, key: str | None = None) -> Receipt:
        """Publish a reply to a message. The parameters are those of `publish`."""
        return await self.publish(room, body, data=data, key=key, of=seq)

    async def edit(self, room: str, seq: int, body: str) -> Receipt:
        """Give one's own message another text: at most 65,536 bytes. Raise `Forbidden` for a message of another."""
        return await self.publish(room, body, of=seq, act=Act.EDIT)

    async def react(self, room: str, seq: int, emoji: str) -> Receipt:
        """Put an emoji, or a name such as `:tada:`, to a message: at most 32 characters."""
        return await self.publish(room, emoji, of=seq, act=Act.REACT)

    async def unreact(self, room: str, seq: int, emoji: str) -> Receipt:
        """Remove one's own emoji from a message."""
        return await self.publish(room, emoji, of=seq, act=Act.UNREACT)

    async def pin(self, room: str, seq: int) -> Receipt:
        """Pin a message, for all readers of the room."""
        return await self.publish(room, "", of=seq, act=Act.PIN)

    async def unpin(self, room: str, seq: int) -> Receipt:
        """Undo a pin."""
        return await self.publish(room, "", of=seq, act=Act.UNPIN)

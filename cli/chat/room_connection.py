"""One client that follows one room, for a chat that may replace it by another one with a new name."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Self

from chatkit.cli.target import Target
from chatkit.client import Client, Item, Signal
from chatkit.core.model import Cursor


class RoomConnection:
    """A client, the items of the room, and the first of them."""

    def __init__(self, client: Client, items: AsyncIterator[Item | Signal], first: Item | Signal) -> None:
        self.client = client
        self.items = items
        self.first = first
        self._stack = AsyncExitStack()

    @classmethod
    async def open(cls, target: Target, room: str, *, history: int = 0, after: Cursor | None = None) -> Self:
        """Connect and join the room. Raise the error if the server is not available or refuses."""
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(target.client())
            items = client.follow(room, history=history, after=after, signals=True)
            stack.push_async_callback(items.aclose)
            connection = cls(client, items, await anext(items))
            connection._stack = stack.pop_all()
        return connection

    async def close(self) -> None:
        """Disconnect. No task may be waiting for the next item."""
        await self._stack.aclose()

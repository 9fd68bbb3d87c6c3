"""A talking program that uses chatkit's client for Python."""

import asyncio
from contextlib import aclosing

from chatkit.client import Client
from chatkit.core.message_state import Act
from chatkit.errors import Unavailable
from talkers.delivered import DeliveredTalker
from talkers.known import Action
from talkers.talker import ROOM


class PythonTalker(DeliveredTalker):
    """A program that acts with `Client`."""

    kind = "Python"
    min_actions = 40
    _client: Client

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        self._client = await self._stack.enter_async_context(Client(self._place.url, self.name))
        await super()._start(tasks)

    async def _act(self, action: Action) -> None:
        if action.act is Act.REDACT:
            return await self._redact(action.seq)
        await self._client.publish(ROOM, action.text, of=action.seq or None, act=action.act)
        return None

    async def _redact(self, seq: int) -> None:
        """Redact a message, again and again until a server has said that it did."""
        while True:
            try:
                return await self._client.redact(ROOM, seq)
            except Unavailable:  # the server may have been killed halfway
                self.n_unavailable += 1
                await asyncio.sleep(0.1)

    async def _follow(self) -> None:
        async with aclosing(self._client.follow(ROOM, after=self._cursor, history=1_000)) as items:
            async for item in items:
                self._receive(item)

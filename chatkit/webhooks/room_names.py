"""RoomNames: the names of all rooms, which the webhooks with patterns look at every few seconds, read once for all."""

import asyncio
from collections.abc import Sequence
from math import inf
from typing import Final

from chatkit.core.hub import Hub

LOOK_S: Final = 2.0  # between two looks: the first message of a new room waits for as long
AT_ONCE: Final = 1_000  # names in one turn of the event loop


class RoomNames:
    """The names of the rooms of a hub's store, as of `LOOK_S` ago at most."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._names: list[str] = []
        self._read_at_s = -inf
        self._reading = asyncio.Lock()  # held by who reads them, so that the others use what it finds

    async def read(self) -> Sequence[str]:
        """Return the names: the same object as before if they have not changed. Raise `Unavailable`."""
        async with self._reading:
            now_s = asyncio.get_running_loop().time()
            if now_s - self._read_at_s >= LOOK_S:
                await self._refresh()
                self._read_at_s = now_s
            return self._names

    async def _refresh(self) -> None:
        found = await self._hub.rooms()
        names: list[str] = []
        for start in range(0, len(found), AT_ONCE):
            names += [info.room for info in found[start : start + AT_ONCE]]
            await asyncio.sleep(0)
        if names != self._names:
            self._names = names

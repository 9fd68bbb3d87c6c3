"""Ends the wait of a request when its client loses the right to read the room that it waits for."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from chatkit.core.access import Identity, Right
from chatkit.errors import ChatkitError
from chatkit.server.admission import Admission

T = TypeVar("T")


async def while_allowed(admission: Admission, identity: Identity, room: str, work: Awaitable[T]) -> T:
    """Return the result of the work. Cancel it and raise the error if the client may not read the room any more."""
    watcher = _AccessWatcher(admission, identity, room)
    watcher.on_access_changed()
    working = asyncio.ensure_future(work)
    tasks: list[asyncio.Future[Any]] = [working, watcher.refused]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if watcher.refused.done():
            raise watcher.refused.result()
        return working.result()
    finally:
        admission.hub.access.watchers.discard(watcher)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _AccessWatcher:
    """Notes when a client loses the right to read a room. `refused` then has the error."""

    def __init__(self, admission: Admission, identity: Identity, room: str) -> None:
        self.identity = identity
        self.refused: asyncio.Future[ChatkitError] = asyncio.get_running_loop().create_future()
        self._admission = admission
        self._room = room

    def on_access_changed(self) -> None:
        """Check the current rights, and stay registered for their next change."""
        if self.refused.done():
            return
        hub = self._admission.hub
        try:
            self.identity = hub.access.renew(self.identity, hub.now_ms())
            self._admission.check(self.identity, Right.READ, self._room)
        except ChatkitError as error:
            self.refused.set_result(error)
        else:
            hub.access.watchers.add(self)

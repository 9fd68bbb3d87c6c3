"""Stream: the events that wait for one subscriber's reader, in order. A queue such as Litestar's subscribers have."""

import asyncio
from asyncio import QueueFull
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from litestar.channels.subscriber import BacklogStrategy

from chatkit.core.model import Message
from chatkit.litestar.cursor import ChannelCursor
from chatkit.litestar.payload import payload_of

Arrival: TypeAlias = tuple[ChannelCursor, Message]
"""An event from a channel. An application may also put in bytes by hand."""

_END: Final = object()


class EventQueue(asyncio.Queue[Any]):
    """A queue of arrivals, bytes, and None, which ends one reader. `get` returns the payload of an arrival.

    With a `max_backlog`, an event is dropped and counted while it is full: the new one (`backoff`) or the oldest
    (`dropleft`).
    """

    def __init__(self, max_backlog: int, strategy: BacklogStrategy) -> None:
        self.dropped = 0
        self.taken: object = None  # the item whose payload `get` returned last
        self._max_left = max_backlog if strategy == "dropleft" else 0
        self._is_unbounded = False
        super().__init__(0 if self._max_left else max_backlog)

    def _init(self, _maxsize: int) -> None:
        self._queue: deque[Any] = deque()

    def full(self) -> bool:
        """Say whether there is no room."""
        return not self._is_unbounded and super().full()

    def put_nowait(self, item: Any) -> None:
        """Add an item; raise `QueueFull` where it is dropped itself."""
        try:
            super().put_nowait(item)
        except QueueFull:
            self.dropped += 1
            raise
        if self._max_left and len(self._queue) > self._max_left and not self._is_unbounded:
            self._queue.popleft()
            self.dropped += 1
            self.task_done()

    def extend(self, items: Sequence[Arrival]) -> None:
        """Add many items to a stream without a `max_backlog`, at once."""
        self._queue.extend(items[:-1])
        self._unfinished_tasks += len(items) - 1  # type: ignore[attr-defined]  # asyncio.Queue's
        self.put_nowait(items[-1])

    def take(self) -> Any:
        """Return the next item as it is, from a stream without a `max_backlog` that is not empty."""
        self.task_done()
        return self._pop()

    def _pop(self) -> Any:
        """Return the next item. The end is always None: no reader ever gets the marker itself."""
        item = self._queue.popleft()
        return None if item is _END else item

    def _get(self) -> bytes | None:
        self.taken = item = self._pop()
        return payload_of(item[1]) if isinstance(item, tuple) else item

    def end(self) -> None:
        """End all readers that wait here, or the next one, after the items in the stream, however full it is."""
        for _ in range(max(1, len(self._getters))):  # type: ignore[attr-defined]  # asyncio.Queue's
            self.put_always(None)

    def begin_end(self) -> None:
        """End one reader in the same way. If none has read as far, `forget_end` removes the end again."""
        self.put_always(_END)

    def forget_end(self) -> None:
        """Remove the end that `begin_end` put in."""
        if _END in self._queue:
            self._queue.remove(_END)
            self.task_done()

    def put_always(self, item: object) -> None:
        """Add an item, and drop none, even if the stream is full."""
        self._is_unbounded = True
        try:
            self.put_nowait(item)
        finally:
            self._is_unbounded = False

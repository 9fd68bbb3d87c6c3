"""EventQueue: the events that wait for one subscriber's reader, in order. An `asyncio.Queue`, as in Litestar."""

import asyncio
from asyncio import QueueFull
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from litestar.channels.subscriber import BacklogStrategy

from chatkit.core.model import Message
from chatkit.litestar.cursor import ChannelCursor
from chatkit.litestar.events import payload_of

QueuedEvent: TypeAlias = tuple[ChannelCursor, Message]
"""An event from a channel. The application may also put bytes into the queue."""

_END: Final = object()


class EventQueue(asyncio.Queue[Any]):
    """A queue of channel events, bytes, and None, which ends one reader. `get` returns the payload of an event.

    With a `max_backlog`, a full queue drops and counts events: the new one (`backoff`) or the oldest one (`dropleft`).
    """

    def __init__(self, max_backlog: int, strategy: BacklogStrategy) -> None:
        self.dropped = 0
        self.last_item: object = None  # the item of the last `get`
        self._max_kept = max_backlog if strategy == "dropleft" else 0
        self._is_unbounded = False
        super().__init__(0 if self._max_kept else max_backlog)

    def _init(self, _maxsize: int) -> None:
        self._queue: deque[Any] = deque()

    def full(self) -> bool:
        """Return whether the queue is full."""
        return not self._is_unbounded and super().full()

    def put_nowait(self, item: Any) -> None:
        """Add an item. Raise `QueueFull` if this item is dropped."""
        try:
            super().put_nowait(item)
        except QueueFull:
            self.dropped += 1
            raise
        if self._max_kept and len(self._queue) > self._max_kept and not self._is_unbounded:
            self._queue.popleft()
            self.dropped += 1
            self.task_done()

    def extend(self, items: Sequence[QueuedEvent]) -> None:
        """Add many items to a queue without a `max_backlog`, at once."""
        self._queue.extend(items[:-1])
        self._unfinished_tasks += len(items) - 1  # type: ignore[attr-defined]  # asyncio.Queue's
        self.put_nowait(items[-1])

    def pop_nowait(self) -> Any:
        """Return the next item itself. The queue must have no `max_backlog` and must not be empty."""
        self.task_done()
        return self._pop()

    def _pop(self) -> Any:
        """Return the next item; None instead of the end marker."""
        item = self._queue.popleft()
        return None if item is _END else item

    def _get(self) -> bytes | None:
        self.last_item = item = self._pop()
        return payload_of(item[1]) if isinstance(item, tuple) else item

    def end(self) -> None:
        """Stop all waiting readers, or the next one, after the queued items. Ignore `max_backlog`."""
        for _ in range(max(1, len(self._getters))):  # type: ignore[attr-defined]  # asyncio.Queue's
            self.put_always(None)

    def put_end(self) -> None:
        """Stop one reader in the same way. `remove_end` undoes this if no reader has reached the end."""
        self.put_always(_END)

    def remove_end(self) -> None:
        """Remove the end that `put_end` added, if it is still queued."""
        if _END in self._queue:
            self._queue.remove(_END)
            self.task_done()

    def put_always(self, item: object) -> None:
        """Add an item even if the queue is full. Drop nothing."""
        self._is_unbounded = True
        try:
            self.put_nowait(item)
        finally:
            self._is_unbounded = False

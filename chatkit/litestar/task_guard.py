"""Raises a background task's error in the block that runs beside it, as a task group does, but without wrapping it."""

import asyncio
from contextlib import suppress
from typing import NoReturn


class TaskGuard:
    """Cancels the task that created it, if the watched task fails before `stop_watching` is called."""

    def __init__(self, watched: asyncio.Task[None]) -> None:
        self._owner = asyncio.current_task()
        self._has_stopped = False
        self._has_cancelled = False
        self._watched = watched
        watched.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not self._has_stopped and not task.cancelled() and task.exception() is not None and self._owner is not None:
            self._has_cancelled = True
            self._owner.cancel()

    def stop_watching(self) -> bool:
        """Stop watching. Return whether this guard, and nothing else, has cancelled the owner."""
        self._has_stopped = True
        return self._has_cancelled and self._owner is not None and self._owner.uncancel() == 0

    def raise_error(self) -> NoReturn:
        """Raise the error of the watched task."""
        error = self._watched.exception()
        raise RuntimeError("the task did not fail") if error is None else error

    async def swallow_cancel(self) -> None:
        """Consume a cancellation that was requested while the block was ending."""
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)

"""Guard: an error of a task's reaches the block that runs beside it, as in a task group, but as itself."""

import asyncio
from contextlib import suppress
from typing import NoReturn


class TaskGuard:
    """Cancels the task that made it, when the one that it watches dies of an error before `leave` is called."""

    def __init__(self, watched: asyncio.Task[None]) -> None:
        self._owner = asyncio.current_task()
        self._has_left = False
        self._has_cancelled = False
        self._watched = watched
        watched.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not self._has_left and not task.cancelled() and task.exception() is not None and self._owner is not None:
            self._has_cancelled = True
            self._owner.cancel()

    def leave(self) -> bool:
        """Watch no more; say whether the owner was cancelled from here and from nowhere else."""
        self._has_left = True
        return self._has_cancelled and self._owner is not None and self._owner.uncancel() == 0

    def raise_error(self) -> NoReturn:
        """Raise what the watched task died of."""
        error = self._watched.exception()
        raise RuntimeError("the task did not fail") if error is None else error

    async def swallow_cancel(self) -> None:
        """Take the cancellation that the block ended too early to see."""
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)

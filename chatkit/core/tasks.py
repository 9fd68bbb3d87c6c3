"""The tasks of a hub: their errors are logged, and all of them have ended when the hub has been left."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Self, TypeAlias

from chatkit.errors import ChatkitError, Unavailable

Spawn: TypeAlias = Callable[[Coroutine[None, None, None]], object]
"""Starts a coroutine as a task that the hub owns, such as `Tasks.spawn`."""

_logger = logging.getLogger(__name__)


class Tasks:
    """Runs coroutines as tasks. Leaving waits for all of them; while it waits, they may start others."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._group.__aexit__(kind, error, trace)

    def spawn(self, job: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Start a job as a task. Raise `Unavailable` if these tasks have been left."""
        logged = _logged(job)
        try:
            task = self._group.create_task(logged)
        except RuntimeError as error:  # the last task has ended, or the remaining ones are being cancelled
            logged.close()
            job.close()
            raise Unavailable("the server is shutting down") from error
        # A task that is cancelled before its first turn never started its coroutine.
        task.add_done_callback(lambda _: job.close())
        return task


async def _logged(job: Coroutine[None, None, None]) -> None:
    """Run a job to its end, and log its error, so that it does not cancel the other jobs."""
    try:
        await job
    except ChatkitError as error:
        _logger.warning("%s", error)
    except Exception:
        _logger.exception("a task of the hub failed")

"""Event loops: which one this is, and how to wait for what has to run in another."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def run_in(loop: asyncio.AbstractEventLoop | None, job: Coroutine[Any, Any, T]) -> T:
    """Await a job in its own loop; None is this one."""
    if loop is None or loop is asyncio.get_running_loop():
        return await job
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(job, loop))

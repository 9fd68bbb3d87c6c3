"""Helps code of one event loop to wait for work in another."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def run_in(loop: asyncio.AbstractEventLoop | None, job: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop (None: the current one) and return its result."""
    if loop is None or loop is asyncio.get_running_loop():
        return await job
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(job, loop))

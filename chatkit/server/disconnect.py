"""Cancels the work for a request when its client disconnects."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from litestar.exceptions import ClientException
from litestar.types import Receive

T = TypeVar("T")


class Receiving(Protocol):
    """A request whose events can be awaited: one of Litestar's, or a `PlainRequest`."""

    receive: Receive


async def while_connected(request: Receiving, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of the work. Cancel it and raise `ClientException` if the client disconnects before."""
    working = asyncio.ensure_future(work)
    disconnecting = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait([working, disconnecting], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientException("the client has disconnected")  # it reaches no client
        return working.result()
    finally:
        for task in (working, disconnecting):
            task.cancel()
        for task in (working, disconnecting):
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _wait_for_disconnect(request: Receiving) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

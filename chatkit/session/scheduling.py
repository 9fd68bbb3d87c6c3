"""Turns: how the work of many clients shares the event loop. Sessions ask here; they know no event loop themselves."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

MAX_SERVED: Final = 8  # joins and the like that are served at once, of all clients: some milliseconds of the event loop
MAX_REST_S: Final = 1.0  # then it is checked whether the client is still there


class Work(Protocol):
    """Work that was begun and can be ended."""

    def cancel(self) -> bool:
        """End it at its next step."""


class Turns(asyncio.Semaphore):
    """A few clients are served at once, in the order in which they asked: publishing never waits behind thousands."""

    def __init__(self) -> None:
        super().__init__(MAX_SERVED)


async def next_turn() -> None:
    """Return in the next turn of the event loop."""
    await asyncio.sleep(0)


async def rest(wait_s: Callable[[], float]) -> None:
    """Return when `wait_s`, which is asked again and again, returns 0."""
    while remaining_s := wait_s():  # noqa: ASYNC110  # it is time that it waits for
        await asyncio.sleep(min(remaining_s, MAX_REST_S))

"""How the work of many clients shares the event loop. Sessions wait here, and know no event loop themselves."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

MAX_JOINS: Final = 8  # joins that are served at a time, of all clients: some milliseconds of the event loop
MAX_SLEEP_S: Final = 1.0  # after this, the wait is computed again: the client may have left


class Cancellable(Protocol):
    """A task that can be cancelled."""

    def cancel(self) -> bool: ...


class JoinSlots(asyncio.Semaphore):
    """The slots for joins. They are given in the order of the requests, so publishing never waits behind thousands."""

    def __init__(self) -> None:
        super().__init__(MAX_JOINS)


async def next_turn() -> None:
    """Wait until the next turn of the event loop."""
    await asyncio.sleep(0)


async def sleep_until_zero(wait_s: Callable[[], float]) -> None:
    """Wait until `wait_s`, which is called again and again, returns 0."""
    while remaining_s := wait_s():  # noqa: ASYNC110  # there is no event to wait for: only time has to pass
        await asyncio.sleep(min(remaining_s, MAX_SLEEP_S))

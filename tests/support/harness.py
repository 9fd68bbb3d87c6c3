"""Helpers for tests of the core: event loops, drafts, what a subscription reads, and small bounds."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
import pytest

from chatkit.core import fanout
from chatkit.core import room as room_module
from chatkit.core import segment as segment_module
from chatkit.core.hub import Hub
from chatkit.core.model import Draft, Gap, Message, Receipt
from chatkit.core.subscription import Item, Subscription, WouldBlock

T = TypeVar("T")
DEADLINE_S = 20.0  # only a test that hangs takes this long


def run(job: Coroutine[Any, Any, T]) -> T:
    """Run a test in a new event loop, with a deadline."""

    async def limited() -> T:
        async with asyncio.timeout(DEADLINE_S):
            return await job

    return asyncio.run(limited())


async def turns(count: int = 20) -> None:
    """Wait for a number of turns of the event loop, so that all ready tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(is_so: Callable[[], object], what: str = "the condition never became true") -> None:
    """Wait, with a deadline, until something holds."""
    try:
        async with asyncio.timeout(DEADLINE_S / 2):
            for _ in range(200):
                if is_so():
                    return
                await asyncio.sleep(0)
            while not is_so():  # noqa: ASYNC110  # other threads change the condition without an event
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(what) from None


async def eventually(is_so: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Wait, with a deadline, until something holds that has to be waited for itself."""
    async with asyncio.timeout(DEADLINE_S / 2):
        while not await is_so():  # noqa: ASYNC110  # a store has no event for it
            await asyncio.sleep(0.005)


async def cancelled_after(steps: int, job: Coroutine[Any, Any, T]) -> T | None:
    """Cancel a job after a number of turns of the loop; return its result if it was done by then."""
    task = asyncio.ensure_future(job)
    await turns(steps)
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return None


def draft(body: object, room: str = "ops", **parts: Any) -> Draft:
    return Draft(room, "ann", str(body), **parts)


async def publish_all(hub: Hub, *bodies: object, room: str = "ops") -> list[Receipt]:
    """Publish bodies in order, and wait until all are committed."""
    return list(await asyncio.gather(*(hub.publish(draft(body, room)) for body in bodies)))


def read_in_memory(subscription: Subscription) -> list[Message]:
    """Read a chunk of messages that are in memory."""
    try:
        frames, _ = subscription.chunk(as_line)
    except WouldBlock:
        return []
    return of_lines(frames)


async def drain(subscription: Subscription, limit: int = 7) -> list[Item]:
    """Read all items that are due."""
    items: list[Item] = []
    while found := await subscription.read(limit, wait=False):
        items += found
    return items


def is_left_clean(hub: Hub) -> bool:
    rosters = vars(hub._presence.roster)
    return (
        hub.counts == {"rooms": 0, "subscriptions": 0}
        and hub._rooms._fanout.is_idle
        and not hub._rooms._rooms
        and not (rosters["_rooms"] or rosters["_unreported"])
    )


def seqs(items: Sequence[Item]) -> list[int | tuple[int, int, str]]:
    """Return messages as their numbers, and gaps as tuples."""
    return [(item.after, item.before, item.reason) if isinstance(item, Gap) else item.seq for item in items]


def as_line(message: Message) -> bytes:
    """Encode a message so that a test can decode it."""
    return msgspec.json.encode(message) + b"\n"


def of_lines(lines: bytes) -> list[Message]:
    return [msgspec.json.decode(line, type=Message) for line in lines.splitlines()]


@contextmanager
def small_tails() -> Iterator[None]:
    """Reduce the bounds of tails, so that a few messages reach every edge case."""
    sizes = {
        (segment_module, "MAX_MESSAGES"): 8,
        (room_module, "MAX_MESSAGES"): 8,
        (room_module, "OPENING_MESSAGES"): 4,
        (segment_module, "MAX_CHUNK_MESSAGES"): 3,
        (fanout, "WAKES_A_TURN"): 2,
        (fanout, "WAKES_A_ROOM"): 2,
    }
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), size in sizes.items():
            patch.setattr(module, name, size)
        yield

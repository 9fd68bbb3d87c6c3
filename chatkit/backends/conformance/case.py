"""What the cases of the conformance suite are made of: their lists, and checks that say what they found."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar

from chatkit.core.backend import Backend, Notification
from chatkit.core.model import Draft, Message

Factory: TypeAlias = Callable[[], Backend]
Case: TypeAlias = Callable[[Factory], Awaitable[None]]
T = TypeVar("T")

NEWS_S = 10.0  # for news to come: those of a broker after a lost link are the slowest

ALONE: list[Case] = []  # for every backend
SHARED: list[Case] = []  # for a store that several backends open at the same time


def case(do: Case) -> Case:
    """Mark what every backend must do."""
    ALONE.append(do)
    return do


def shared_case(do: Case) -> Case:
    """Mark what a shared backend must do."""
    SHARED.append(do)
    return do


def same(found: T, wanted: T, what: str) -> None:
    """Fail unless the two are equal."""
    if found != wanted:
        raise AssertionError(f"{what}: {found!r} is not {wanted!r}")


def holds(is_so: object, what: str) -> None:
    """Fail unless it holds."""
    if not is_so:
        raise AssertionError(what)


def said(room: str, *bodies: object, sender: str = "ann") -> list[Draft]:
    """Make a draft of each body."""
    return [Draft(room, sender, str(body)) for body in bodies]


def keyed(room: str, *keys: object) -> list[Draft]:
    """Make drafts whose keys are their bodies."""
    return [Draft(room, "ann", str(key), key=str(key)) for key in keys]


def numbers_of(messages: Sequence[Message]) -> list[int]:
    """Return the numbers of messages."""
    return [message.seq for message in messages]


async def texts(backend: Backend, room: str) -> list[str]:
    """Return all bodies of a room, and see to it that the numbers have no holes."""
    page = await backend.read(room, after=0, limit=10_000)
    same(numbers_of(page.messages), list(range(page.head.first, page.head.last + 1)), "the numbers of a whole room")
    return [message.body for message in page.messages]


async def until(news: AsyncIterator[Notification], is_it: Callable[[Notification], bool]) -> list[Notification]:
    """Read news up to and with the one that is looked for."""
    seen: list[Notification] = []
    async with asyncio.timeout(NEWS_S):
        async for item in news:
            seen.append(item)
            if is_it(item):
                return seen
    raise AssertionError(f"the news ended after {seen!r}")


async def append_together(backends: Sequence[Backend]) -> None:
    """Append from forty tasks at once; see to it that each batch is whole and no number is missing."""
    batches = [said("a", *(f"{n}.{i}" for i in range(5))) for n in range(40)]
    tasks = [asyncio.ensure_future(backends[n % len(backends)].append(batch)) for n, batch in enumerate(batches)]
    seqs = [numbers_of([receipt.message for receipt in await task]) for task in tasks]
    for numbers in seqs:
        same(numbers, list(range(numbers[0], numbers[0] + 5)), "the numbers of one batch")
    same(sorted(number for numbers in seqs for number in numbers), list(range(1, 201)), "all numbers")
    for backend in backends:
        same(len(await texts(backend, "a")), 200, "the room's length")

"""The suite: the lists of cases, how a case is run, and the checks that the cases share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar

from chatkit.core.backend import Backend, Notification
from chatkit.core.model import Draft, Message

Factory: TypeAlias = Callable[[], Backend]
"""Makes a backend, not yet entered, on the store of the case."""

Case: TypeAlias = Callable[[Factory], Awaitable[None]]
"""Checks one requirement of the contract; its name states the requirement."""

T = TypeVar("T")

TIMEOUT_S = 60.0  # for a case; only a backend that hangs takes so long
NOTIFICATION_TIMEOUT_S = 30.0  # the notifications of a broker are the slowest, after a lost connection

UNSHARED_CASES: list[Case] = []  # for every backend
SHARED_CASES: list[Case] = []  # for a store that several backends open at the same time


def cases(*, shared: bool) -> list[Case]:
    """Return the cases that a backend must pass.

    `shared` is the backend's attribute: if true, the cases for a store that several backends open at the same time
    are included.
    """
    return [*UNSHARED_CASES, *SHARED_CASES] if shared else list(UNSHARED_CASES)


def run(case: Case, factory: Factory, *, timeout_s: float = TIMEOUT_S) -> None:
    """Run one case in a new event loop.

    Raise `AssertionError` if the backend breaks the requirement, and `TimeoutError` after `timeout_s` seconds.
    """

    async def limited() -> None:
        async with asyncio.timeout(timeout_s):
            await case(factory)

    asyncio.run(limited())


def case(do: Case) -> Case:
    """Register a case for every backend."""
    UNSHARED_CASES.append(do)
    return do


def shared_case(do: Case) -> Case:
    """Register a case for shared backends."""
    SHARED_CASES.append(do)
    return do


def expect(found: T, wanted: T, what: str) -> None:
    """Raise `AssertionError` unless the two are equal; `what` names the value in the error."""
    if found != wanted:
        raise AssertionError(f"{what}: {found!r} is not {wanted!r}")


def check(is_so: object, what: str) -> None:
    """Raise `AssertionError` with the sentence `what` unless the value is true."""
    if not is_so:
        raise AssertionError(what)


def drafts_in(room: str, *bodies: object, sender: str = "ann") -> list[Draft]:
    """Make one draft for each body."""
    return [Draft(room, sender, str(body)) for body in bodies]


def keyed_drafts(room: str, *keys: object) -> list[Draft]:
    """Make one draft for each key; the body is the key."""
    return [Draft(room, "ann", str(key), key=str(key)) for key in keys]


def numbers_of(messages: Sequence[Message]) -> list[int]:
    """Return the `seq` of each message."""
    return [message.seq for message in messages]


async def texts(backend: Backend, room: str) -> list[str]:
    """Return all bodies of a room; check that its numbers have no holes."""
    page = await backend.read(room, after=0, limit=10_000)
    wanted = list(range(page.head.first, page.head.last + 1))
    expect(numbers_of(page.messages), wanted, "the numbers of all messages of a room")
    return [message.body for message in page.messages]


async def until(
    notifications: AsyncIterator[Notification], matches: Callable[[Notification], bool]
) -> list[Notification]:
    """Return the notifications up to and including the first one that matches."""
    seen: list[Notification] = []
    async with asyncio.timeout(NOTIFICATION_TIMEOUT_S):
        async for item in notifications:
            seen.append(item)
            if matches(item):
                return seen
    raise AssertionError(f"the notifications ended after {seen!r}")


async def append_together(backends: Sequence[Backend]) -> None:
    """Append from forty tasks at the same time; check that each batch is contiguous and no number is missing."""
    batches = [drafts_in("a", *(f"{n}.{i}" for i in range(5))) for n in range(40)]
    tasks = [asyncio.ensure_future(backends[n % len(backends)].append(batch)) for n, batch in enumerate(batches)]
    seqs = [numbers_of([receipt.message for receipt in await task]) for task in tasks]
    for numbers in seqs:
        expect(numbers, list(range(numbers[0], numbers[0] + 5)), "the numbers of one batch")
    expect(sorted(number for numbers in seqs for number in numbers), list(range(1, 201)), "all numbers")
    for backend in backends:
        expect(len(await texts(backend, "a")), 200, "the number of messages in the room")

"""The suite: its cases, and how one is run."""

import asyncio

from chatkit.backends.conformance import log, notifications  # noqa: F401 - there the cases are listed
from chatkit.backends.conformance.case import ALONE, SHARED, Case, Factory

TIMEOUT_S = 60.0  # for a case; only a backend that hangs takes so long


def cases(*, shared: bool) -> list[Case]:
    """Return the cases; with `shared`, those for a store that several backends open at the same time, too."""
    return [*ALONE, *SHARED] if shared else list(ALONE)


def run(case: Case, factory: Factory, *, timeout_s: float = TIMEOUT_S) -> None:
    """Run one case in an event loop of its own; raise `AssertionError` where the backend does not do what it must."""

    async def limited() -> None:
        async with asyncio.timeout(timeout_s):
            await case(factory)

    asyncio.run(limited())

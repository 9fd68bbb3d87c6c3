"""What every backend must do, as cases that anyone can run on a backend of theirs.

    import pytest
    from chatkit.backends import conformance

    @pytest.mark.parametrize("case", conformance.cases(shared=True), ids=lambda case: case.__name__)
    def test_conforms(case, tmp_path):
        conformance.run(case, lambda: MyBackend(tmp_path / "store"))

A case gets a factory; each call makes another backend, not yet entered, on the same store, which is empty when the case
begins. For a backend whose `shared` is false, each may be a store of its own.
"""

import asyncio

from chatkit.backends import conformance_log, conformance_news
from chatkit.backends.conformance_case import ALONE, SHARED, Case, Factory

__all__ = ["Case", "Factory", "cases", "conformance_log", "conformance_news", "run"]

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

"""Turns: who works on the same names waits for one another; who works on others does not."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager


class _CountedLock:
    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class NamedLocks:
    """A lock for each name, as long as somebody uses it."""

    def __init__(self) -> None:
        self._turns: dict[str, _CountedLock] = {}

    @asynccontextmanager
    async def of(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Have these names for oneself."""
        async with AsyncExitStack() as stack:
            for name in sorted(set(names)):  # everyone in the same order, so that no two wait for each other
                await stack.enter_async_context(self._one(name))
            yield

    @asynccontextmanager
    async def _one(self, name: str) -> AsyncIterator[None]:
        turn = self._turns.setdefault(name, _CountedLock())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[name]

"""InFlight: counts the operations in progress, and waits until there are none. Belongs to one event loop; no I/O."""

import asyncio


class InFlight:
    """A counter of operations. As a context manager, it counts the block as one operation."""

    __slots__ = ("_count", "_idle")

    def __init__(self) -> None:
        self._count = 0
        self._idle = asyncio.Event()  # set while no operation is in progress
        self._idle.set()

    def begin(self) -> None:
        if not self._count:
            self._idle.clear()
        self._count += 1

    def end(self) -> None:
        self._count -= 1
        if not self._count:
            self._idle.set()

    def __enter__(self) -> None:
        self.begin()

    def __exit__(self, *_: object) -> None:
        self.end()

    async def wait_idle(self) -> None:
        """Wait until no operation is in progress."""
        await self._idle.wait()

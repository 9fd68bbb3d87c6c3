"""A backend of Litestar's own kind beneath our plugin: it carries the events, and rooms in memory fan them out here."""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from typing import Final

from litestar.channels import ChannelsBackend
from litestar.channels.backends import memory as reference

from chatkit.backoff import Backoff
from chatkit.core.group_commit import Settle
from chatkit.core.hub import Hub
from chatkit.core.model import Message, Receipt
from chatkit.errors import Unavailable
from chatkit.litestar.backends import LogChannelsBackend
from chatkit.litestar.events import Published
from chatkit.litestar.memory import ChannelsMemory
from chatkit.litestar.naming import room_of
from chatkit.litestar.payload import draft_of

RETRY_S: Final = 1.0  # a stream of events that broke is opened again after this, with jitter
MAX_WAITING: Final = 100_000  # events for a broker that stands still; then publishing is refused
DRAIN_S: Final = 5.0  # at the end, such a broker is waited for this long

_logger = logging.getLogger(__name__)


class ForeignBackend(LogChannelsBackend):
    """Litestar's backend, as one of ours. Events get their numbers here: they mean nothing in another process."""

    def __init__(self, backend: ChannelsBackend) -> None:
        self._backend = backend
        self._memory = ChannelsMemory(0, self.slowest_in)
        super().__init__(lambda: self._memory, history=None)

    @property
    def is_shared(self) -> bool:
        """Whether other processes hear the same events: true of all but Litestar's own memory."""
        return not isinstance(self._backend, reference.MemoryChannelsBackend)

    async def on_startup(self) -> None:
        """Start the backend and what reads and writes it."""
        if self._hub is not None:
            return
        async with AsyncExitStack() as stack:
            await self._backend.on_startup()
            stack.push_async_callback(self._backend.on_shutdown)
            self._hub = await stack.enter_async_context(Hub(await stack.enter_async_context(self._memory)))
            stack.callback(self._forget_hub)
            self._waiting: asyncio.Queue[tuple[bytes, str, Settle]] = asyncio.Queue(MAX_WAITING)
            for job in (self._send(), self._receive()):
                task = self._hub.spawn(job)
                stack.push_async_callback(_end, task)
            stack.push_async_callback(self._drain)
            await asyncio.sleep(0)  # both have begun: a backend may keep nothing for a reader that it does not know
            self._stack = stack.pop_all()

    async def publish(self, data: bytes, channels: Iterable[str]) -> list[Published]:  # type: ignore[override]  # None
        """Publish by the backend. Raise what it raises."""
        names = list(channels)
        await self._backend.publish(data, names)
        return [Published(name) for name in names]

    def submit(self, data: bytes, channel: str, settle: Settle) -> None:
        """Have an event published soon, after those that were submitted before."""
        try:
            self._waiting.put_nowait((data, channel, settle))
        except asyncio.QueueFull:
            raise Unavailable("the broker does not keep up: too many events wait to be published") from None

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Subscribe by the backend. What came while it was not subscribed to was not heard here: that is a gap."""
        names = set(channels)
        for name in names:
            self._memory.skip(room_of(name))
        await self._backend.subscribe(names)

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Unsubscribe by the backend."""
        await self._backend.unsubscribe(channels)

    async def get_history(self, channel: str, limit: int | None = None) -> list[bytes]:
        """Return the newest events that the backend has; none where it keeps no history."""
        if limit == 0:
            return []
        return await self._backend.get_history(channel, None if limit is None or limit < 0 else limit)

    async def _send(self) -> None:
        """Publish what was submitted; one failure must not end the publishing of all that comes after."""
        while True:
            data, channel, settle = await self._waiting.get()
            try:
                await self._backend.publish(data, [channel])
            except Exception as error:
                _logger.exception("an event of %s was not published", channel)
                settle(Unavailable(f"the broker failed: {error}"))
            else:
                settle(Receipt(Message(room_of(channel), "", 0, 0, "", "")))
            self._waiting.task_done()

    async def _receive(self) -> None:
        """Take what the backend brings; when its stream breaks, open it again: nobody is left connected and deaf."""
        backoff = Backoff(RETRY_S)
        while True:
            try:
                async for channel, payload in self._backend.stream_events():
                    self._memory.append_now([draft_of(room_of(channel), payload)])
            except Exception:
                _logger.exception("the stream of events broke; it is opened again")
            await asyncio.sleep(backoff.next_s())

    async def _drain(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._waiting.join()


async def _end(task: asyncio.Task[None]) -> None:
    while not task.done():  # a cancellation that comes to CPython's wait_for at the wrong moment is lost before 3.12
        task.cancel()
        await asyncio.wait({task}, timeout=RETRY_S)


def log_of(backend: ChannelsBackend) -> LogChannelsBackend:
    """Return a backend as one of ours: itself, or bridged. So is a subclass of ours that wants to see what passes."""
    if isinstance(backend, LogChannelsBackend) and all(
        getattr(type(backend), name).__module__.startswith("chatkit.litestar.")
        for name in ("publish", "submit", "stream_events", "get_history")
    ):
        return backend
    return ForeignBackend(backend)

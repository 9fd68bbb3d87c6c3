"""ForeignBackend: uses a backend that was written for Litestar's plugin. Rooms in memory deliver its events here."""

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
from chatkit.litestar.events import Published, draft_of, room_of
from chatkit.litestar.memory import ChannelsMemory

RETRY_S: Final = 1.0  # pause before an event stream that failed is opened again, with jitter
MAX_WAITING: Final = 100_000  # events queued for a broker that hangs; further events are rejected
DRAIN_S: Final = 5.0  # bound on the wait for such a broker at shutdown

_logger = logging.getLogger(__name__)


class ForeignBackend(LogChannelsBackend):
    """Adapts a backend of Litestar's interface. Events are numbered here: their seqs are valid in this process only."""

    def __init__(self, backend: ChannelsBackend) -> None:
        self._backend = backend
        self._memory = ChannelsMemory(0, self.slowest_position)
        super().__init__(lambda: self._memory, history=None)

    @property
    def is_shared(self) -> bool:
        """Whether other processes send_due the same events: true of all but Litestar's own memory."""
        return not isinstance(self._backend, reference.MemoryChannelsBackend)

    async def on_startup(self) -> None:
        """Start the backend, and the tasks that read and write it."""
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
                stack.push_async_callback(_cancel, task)
            stack.push_async_callback(self._drain)
            await asyncio.sleep(0)  # start both tasks: a backend may drop events that arrive before its reader
            self._stack = stack.pop_all()

    async def publish(self, data: bytes, channels: Iterable[str]) -> list[Published]:  # type: ignore[override]  # None
        """Publish with the backend. Its errors are raised."""
        names = list(channels)
        await self._backend.publish(data, names)
        return [Published(name) for name in names]

    def submit(self, data: bytes, channel: str, settle: Settle) -> None:
        """Submit an event for publishing, after those submitted before. Raise `Unavailable` if too many wait."""
        try:
            self._waiting.put_nowait((data, channel, settle))
        except asyncio.QueueFull:
            raise Unavailable("the broker does not keep up: too many events wait to be published") from None

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Subscribe with the backend. Events since the last subscription were missed, which is reported as a gap."""
        names = set(channels)
        for name in names:
            self._memory.skip(room_of(name))
        await self._backend.subscribe(names)

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Unsubscribe with the backend."""
        await self._backend.unsubscribe(channels)

    async def get_history(self, channel: str, limit: int | None = None) -> list[bytes]:
        """Return the newest events that the backend has stored."""
        if limit == 0:
            return []
        return await self._backend.get_history(channel, None if limit is None or limit < 0 else limit)

    async def _send(self) -> None:
        """Publish the submitted events. A failure must not prevent the publishing of later events."""
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
        """Read the backend's events. If its stream fails, open it again, so that readers do not stay without events."""
        backoff = Backoff(RETRY_S)
        while True:
            try:
                async for channel, payload in self._backend.stream_events():
                    self._memory.append_now([draft_of(room_of(channel), payload)])
            except Exception:
                _logger.exception("the event stream failed; it is opened again")
            await asyncio.sleep(backoff.next_s())

    async def _drain(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._waiting.join()


async def _cancel(task: asyncio.Task[None]) -> None:
    while not task.done():  # before CPython 3.12, `wait_for` may lose a cancellation
        task.cancel()
        await asyncio.wait({task}, timeout=RETRY_S)


def as_log_backend(backend: ChannelsBackend) -> LogChannelsBackend:
    """Return a backend of chatkit's itself, and adapt any other, including subclasses that override how events pass."""
    if isinstance(backend, LogChannelsBackend) and all(
        getattr(type(backend), name).__module__.startswith("chatkit.litestar.")
        for name in ("publish", "submit", "stream_events", "get_history")
    ):
        return backend
    return ForeignBackend(backend)

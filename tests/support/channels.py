"""Shared by the tests of channels: event loops with a time limit, sequences of events, and a backend that can fail."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from litestar.channels import ChannelsBackend

T = TypeVar("T")
DEADLINE_S = 20.0  # only what hangs takes so long


def run(job: Coroutine[Any, Any, T]) -> T:
    """Run a test in an event loop of its own; fail where it hangs."""

    async def limited() -> T:
        async with asyncio.timeout(DEADLINE_S):
            return await job

    return asyncio.run(limited())


async def until(condition: Callable[[], object]) -> None:
    """Return when the condition holds."""
    while not condition():  # noqa: ASYNC110  # what is waited for tells nobody
        await asyncio.sleep(0.002)


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


async def publish_all(plugin: Any, events: list[bytes], channel: str = "foo") -> None:
    for event in events:
        await plugin.wait_published(event, channel)


async def read_events(subscriber: Any, count: int) -> list[Any]:
    """Return the next events of a subscriber."""
    events: list[Any] = []
    async for event in subscriber.iter_events():
        events.append(event)
        if len(events) == count:
            break
    return events


class Broker(ChannelsBackend):
    """A backend by another author. Calls named in `failures` fail; `hold` delays calls of a kind."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.calls: list[tuple[str, frozenset[str]]] = []
        self.subscribed: set[str] = set()
        self._held: dict[str, asyncio.Event] = {}
        self.has_stopped = False
        self.history: list[bytes] | None = None
        self._queue: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue()

    async def on_startup(self) -> None:
        self._queue = asyncio.Queue()

    async def on_shutdown(self) -> None:
        self.has_stopped = True

    async def publish(self, data: bytes, channels: Iterable[str]) -> None:
        if "publish" in self.failures:
            self.failures.remove("publish")
            raise ConnectionError("the broker refused")
        for channel in channels:
            if channel in self.subscribed:
                self._queue.put_nowait((channel, data))

    def hold(self, kind: str) -> asyncio.Event:
        """Make calls of this kind wait for the event."""
        self._held[kind] = asyncio.Event()
        return self._held[kind]

    async def _wait(self, kind: str) -> None:
        if held := self._held.get(kind):
            await held.wait()

    async def subscribe(self, channels: Iterable[str]) -> None:
        names = frozenset(channels)
        await self._wait("subscribe")
        self.calls.append(("subscribe", names))
        self.subscribed |= names

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        names = frozenset(channels)
        await self._wait("unsubscribe")
        self.calls.append(("unsubscribe", names))
        self.subscribed -= names

    def break_stream(self) -> None:
        """Break the stream of events, as a lost connection does."""
        self._queue.put_nowait(None)

    async def stream_events(self) -> AsyncGenerator[tuple[str, bytes], None]:
        while True:
            item = await self._queue.get()
            if item is None:
                raise ConnectionError("the link broke")
            yield item

    async def get_history(self, channel: str, limit: int | None = None) -> list[bytes]:
        if self.history is not None:
            return self.history[-limit:] if limit else self.history
        # Litestar's backends that keep no history raise this too: there it means "not supported", not "unfinished".
        raise NotImplementedError(f"no history of {channel}, nor {limit} of it")

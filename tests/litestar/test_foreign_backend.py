"""A backend with Litestar's interface under chatkit's plugin: no loss, correct resuming, and a clean end."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from channels import Broker, numbers, read_events, run, until
from litestar.channels.backends.memory import MemoryChannelsBackend as LitestarsMemory

from chatkit.litestar import ChannelsPlugin, Event, MemoryChannelsBackend, Subscriber
from chatkit.litestar import foreign_backend as foreign_backend_module


async def events(subscriber: Subscriber, count: int) -> list[Event]:
    iterator = subscriber.iter_events(with_metadata=True)
    return [await anext(iterator) for _ in range(count)]


def test_a_burst_ahead_of_its_reader_arrives_complete() -> None:
    async def main() -> None:
        async with ChannelsPlugin(LitestarsMemory(), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            for event in numbers(5_000):
                await plugin.wait_published(event, "foo")
            assert await read_events(subscriber, 5_000) == numbers(5_000)
            assert subscriber.missed == 0

    run(main())


@pytest.mark.parametrize(("strategy", "kept"), [("backoff", numbers(2)), ("dropleft", numbers(2, 2_998))])
def test_a_backlog_keeps_the_oldest_or_the_newest_of_a_burst(strategy: str, kept: list[bytes]) -> None:
    async def main() -> None:
        plugin = ChannelsPlugin(
            LitestarsMemory(),
            channels=["foo"],
            subscriber_max_backlog=2,
            subscriber_backlog_strategy=strategy,  # type: ignore[arg-type]  # one of two values
        )
        async with plugin:
            subscriber = await plugin.subscribe("foo")
            for event in numbers(3_000):
                await plugin.wait_published(event, "foo")
            await until(lambda: subscriber.dropped == 2_998)
            assert await read_events(subscriber, 2) == kept

    run(main())


def test_a_subscriber_resumes_from_a_cursor() -> None:
    async def main() -> None:
        async with ChannelsPlugin(Broker(), channels=["foo"]) as plugin:
            first = await plugin.subscribe("foo")
            for event in numbers(5):
                await plugin.wait_published(event, "foo")
            had = await events(first, 5)
            second = await plugin.subscribe("foo", after=had[1].cursor)
            await plugin.wait_published(b"5", "foo")
            assert await read_events(second, 4) == numbers(4, 2)

    run(main())


def test_resuming_over_a_time_without_a_subscription_reports_missed_events() -> None:
    async def main() -> None:
        async with ChannelsPlugin(Broker(), channels=["foo"]) as plugin:
            async with plugin.start_subscription("foo") as first:
                await plugin.wait_published(b"received", "foo")
                (received,) = await events(first, 1)
            await until(lambda: not plugin._log.hub.counts["rooms"])
            await plugin.wait_published(b"not received", "foo")
            second = await plugin.subscribe("foo", after=received.cursor)
            third = await plugin.subscribe("foo")
            await plugin.wait_published(b"live", "foo")
            assert [(event.data, event.missed > 0) for event in await events(second, 1)] == [(b"live", True)]
            assert [(event.data, event.missed) for event in await events(third, 1)] == [(b"live", 0)]
            assert second.missed > 0

    run(main())


class OfOurs(MemoryChannelsBackend):
    """A subclass that overrides how events pass."""

    async def stream_events(self) -> AsyncGenerator[tuple[str, bytes], None]:
        async for event in super().stream_events():
            yield event


def test_a_burst_through_a_subclass_of_a_backend_arrives_complete() -> None:
    async def main() -> None:
        async with ChannelsPlugin(OfOurs(), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            for event in numbers(3_000):
                await plugin.wait_published(event, "foo")
            assert await read_events(subscriber, 3_000) == numbers(3_000)

    run(main())


class Deafened(Broker):
    """A broker whose client loses one cancellation, as redis-py does on CPython 3.11."""

    n_lost = 0

    async def stream_events(self) -> AsyncGenerator[tuple[str, bytes], None]:
        nothing: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        while True:
            try:
                yield await nothing.get()
            except asyncio.CancelledError:
                self.n_lost += 1
                if self.n_lost > 1:
                    raise


def test_the_shutdown_ends_although_a_cancellation_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_backend_module, "RETRY_S", 0.01)

    async def main() -> None:
        broker = Deafened()
        async with ChannelsPlugin(broker, channels=["foo"]):
            await asyncio.sleep(0)  # the event stream is being read
            await asyncio.sleep(0)
        assert broker.n_lost == 2
        assert broker.has_stopped

    run(main())

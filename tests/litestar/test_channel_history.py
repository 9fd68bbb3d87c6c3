"""Faults of Litestar's channels in their history, which chatkit's must not have: loss, repeats and unbounded growth."""

import asyncio
from typing import Any

import pytest
from channels import Broker, numbers, publish_all, read_events, run, until

from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend
from chatkit.litestar import memory as memory_module


def test_events_published_during_a_subscription_with_history_arrive_once_and_in_order() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(history=100), arbitrary_channels_allowed=True) as plugin:
            first = await plugin.subscribe("foo")
            await publish_all(plugin, numbers(5))
            await asyncio.sleep(0)
            subscribing = asyncio.create_task(plugin.subscribe("foo", history=100))
            await publish_all(plugin, numbers(5, 5))
            subscriber = await subscribing
            await publish_all(plugin, numbers(5, 10))
            assert await read_events(subscriber, 15) == numbers(15)
            assert await read_events(first, 15) == numbers(15)

    run(main())


def test_an_event_published_just_before_is_in_the_history_and_is_not_repeated() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(history=10), channels=["foo"]) as plugin:
            await plugin.subscribe("foo")
            await plugin.wait_published(b"old", "foo")
            subscriber = await plugin.subscribe("foo", history=10)
            await plugin.wait_published(b"new", "foo")
            await plugin.wait_published(b"end", "foo")
            assert await read_events(subscriber, 3) == [b"old", b"new", b"end"]

    run(main())


@pytest.mark.parametrize("strategy", ["backoff", "dropleft"])
def test_a_history_longer_than_the_backlog_arrives_complete(strategy: Any) -> None:
    async def main() -> None:
        plugin = ChannelsPlugin(
            MemoryChannelsBackend(history=20),
            channels=["foo"],
            subscriber_max_backlog=3,
            subscriber_backlog_strategy=strategy,
        )
        async with plugin:
            await plugin.subscribe("foo")
            await publish_all(plugin, numbers(20))
            async with asyncio.timeout(5):
                subscriber = await plugin.subscribe("foo", history=20)
                assert await read_events(subscriber, 20) == numbers(20)

    run(main())


def test_a_foreign_history_longer_than_the_backlog_arrives_before_live_events() -> None:
    async def main() -> None:
        broker = Broker()
        broker.history = numbers(20)
        async with ChannelsPlugin(broker, channels=["foo"], subscriber_max_backlog=3) as plugin:
            async with asyncio.timeout(5):
                subscriber = await plugin.subscribe(["foo", "foo"], history=20)
                reading = asyncio.create_task(read_events(subscriber, 21))
                await until(lambda: not subscriber.qsize)
                await plugin.wait_published(b"live", "foo")
                assert await reading == [*numbers(20), b"live"]

    run(main())


def test_history_outlives_the_last_reader() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(history=10), channels=["foo"]) as plugin:
            async with plugin.start_subscription("foo") as subscriber:
                await publish_all(plugin, numbers(3))
                assert await read_events(subscriber, 3) == numbers(3)
            subscriber = await plugin.subscribe("foo", history=10)
            async with asyncio.timeout(5):
                assert await read_events(subscriber, 3) == numbers(3)

    run(main())


def test_reading_a_history_creates_none() -> None:
    async def main() -> None:
        backend = MemoryChannelsBackend(history=10)
        await backend.on_startup()
        for number in range(100):
            assert await backend.get_history(f"never-{number}") == []
        assert len(backend._history) == 0
        await backend.on_shutdown()

    run(main())


def test_the_histories_of_channels_without_subscribers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "MAX_ROOMS", 100)

    async def main() -> None:
        backend = MemoryChannelsBackend(history=10)
        async with ChannelsPlugin(backend, arbitrary_channels_allowed=True) as plugin:
            reader = await plugin.subscribe("read", history=0)
            await plugin.wait_published("kept", "read")
            for number in range(1_000):
                await plugin.wait_published("x", f"unread-{number}")
            assert len(backend._history) == 100
            again = await plugin.wait_published("again", "read")
            assert again.seq == 2
            assert await read_events(reader, 2) == [b"kept", b"again"]

    run(main())


def test_a_limit_of_zero_returns_nothing_and_a_negative_one_everything() -> None:
    async def main() -> None:
        backend = MemoryChannelsBackend(history=10)
        await backend.on_startup()
        await backend.subscribe(["foo"])
        for event in numbers(4):
            await backend.publish(event, ["foo"])
        assert await backend.get_history("foo", 0) == []
        assert await backend.get_history("foo", -1) == numbers(4)
        assert await backend.get_history("foo", 2) == numbers(2, 2)
        await backend.on_shutdown()

    run(main())


def test_a_burst_longer_than_the_history_is_delivered_completely() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(history=5), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            await publish_all(plugin, numbers(3_000))
            assert await read_events(subscriber, 3_000) == numbers(3_000)
            assert subscriber.missed == 0

    run(main())

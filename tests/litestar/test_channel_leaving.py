"""Faults of Litestar's channels when a subscriber leaves, which chatkit's must not have: leaks and hangs."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from channels import Broker, numbers, publish_all, run, until
from litestar.exceptions import LitestarException

from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend


def test_a_cancelled_subscribe_leaves_no_subscriber() -> None:
    async def main() -> None:
        broker = Broker()
        async with ChannelsPlugin(broker, arbitrary_channels_allowed=True) as plugin:
            held = broker.hold("subscribe")
            subscribing = asyncio.create_task(plugin.subscribe("foo"))
            await asyncio.sleep(0)
            subscribing.cancel()
            held.set()
            with suppress(asyncio.CancelledError):
                await subscribing
            assert not plugin._channels.get("foo")

    run(main())


def test_a_subscription_with_an_unknown_channel_leaves_no_subscriber_in_the_known_one() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"]) as plugin:
            with pytest.raises(LitestarException):
                await plugin.subscribe(["foo", "unknown"])
            assert plugin._channels["foo"] == set()

    run(main())


def test_a_backend_without_history_leaves_no_subscriber() -> None:
    async def main() -> None:
        async with ChannelsPlugin(Broker(), channels=["foo"]) as plugin:
            with pytest.raises(NotImplementedError):  # as Litestar's backends raise that keep no history
                await plugin.subscribe("foo", history=5)
            assert plugin._channels["foo"] == set()

    run(main())


def test_unsubscribing_with_a_full_backlog_ends() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"], subscriber_max_backlog=1) as plugin:
            subscriber = await plugin.subscribe("foo")
            subscriber.put_nowait(b"full")
            async with asyncio.timeout(5):
                await plugin.unsubscribe(subscriber)
                assert [event async for event in subscriber.iter_events()] == [b"full"]

    run(main())


def test_channels_without_subscribers_are_removed() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), arbitrary_channels_allowed=True) as plugin:
            for number in range(50):
                async with plugin.start_subscription([f"a{number}", f"b{number}"]):
                    pass
            assert plugin._channels == {}
            await until(lambda: not plugin._log.hub.counts["rooms"])

    run(main())


class NotWalkedOver(dict[str, Any]):
    """Channels over which a test must not iterate."""

    def _refuse(self) -> Any:
        raise AssertionError("leaving went through all channels")

    keys = values = items = __iter__ = _refuse


def test_leaving_costs_the_same_with_any_number_of_channels() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), arbitrary_channels_allowed=True) as plugin:
            readers = [await plugin.subscribe(f"c{number}") for number in range(20)]
            every = plugin._channels
            plugin._channels = NotWalkedOver(every)
            for reader in readers[1:]:
                await plugin.unsubscribe(reader)
            plugin._channels = every
            await plugin.unsubscribe(readers[0])

    run(main())


def test_iterators_end_at_shutdown() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            reading = asyncio.create_task(_all_of(subscriber))
            await publish_all(plugin, numbers(3))
        async with asyncio.timeout(5):
            assert await reading == numbers(3)

    run(main())


async def _all_of(subscriber: Any) -> list[bytes]:
    return [event async for event in subscriber.iter_events()]

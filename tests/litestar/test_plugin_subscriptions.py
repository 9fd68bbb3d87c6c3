"""Subscriptions of ChannelsPlugin: their history, resuming from a cursor, adding channels and leaving them."""

from pathlib import Path

import pytest
from channels import numbers, read_events, run

from chatkit.errors import BadCursor, Unavailable
from chatkit.litestar import (
    ChannelsException,
    ChannelsPlugin,
    Event,
    MemoryChannelsBackend,
    SqliteChannelsBackend,
    Subscriber,
)


def test_live_events_follow_the_history(tmp_path: Path) -> None:
    async def main() -> None:
        for backend in (MemoryChannelsBackend(history=50), SqliteChannelsBackend(tmp_path / "rooms.db")):
            async with ChannelsPlugin(backend, channels=["foo"]) as plugin:
                for event in numbers(30):
                    await plugin.wait_published(event, "foo")
                async with plugin.start_subscription("foo", history=7) as subscriber:
                    await plugin.wait_published(b"live", "foo")
                    assert await read_events(subscriber, 8) == [*numbers(7, 23), b"live"]
                async with plugin.start_subscription("foo", history=-1) as subscriber:
                    assert await read_events(subscriber, 31) == [*numbers(30), b"live"]
                async with plugin.start_subscription("foo", history=0) as subscriber:
                    await plugin.wait_published(b"only", "foo")
                    assert await read_events(subscriber, 1) == [b"only"]

    run(main())


def test_put_history_follows_the_queued_events() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(history=5), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            subscriber.put_nowait(b"queued")
            await plugin._backend.publish(b"old", ["foo"])
            await plugin.put_subscriber_history(subscriber, "foo")
            assert subscriber.qsize == 2
            assert await read_events(subscriber, 3) == [b"queued", b"old", b"old"]

    run(main())


def test_subscriptions_before_the_start_receive_events_after_it() -> None:
    async def main() -> None:
        plugin = ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"])
        subscriber = await plugin.subscribe("foo")
        async with plugin:
            plugin.publish("hello", "foo")
            assert await read_events(subscriber, 1) == [b"hello"]

    run(main())


def test_subscriptions_before_the_start_receive_the_requested_history(tmp_path: Path) -> None:
    async def main() -> None:
        def make() -> ChannelsPlugin:
            return ChannelsPlugin(SqliteChannelsBackend(tmp_path / "rooms.db"), channels=["foo"])

        async with make() as before:
            places = [await before.wait_published(event, "foo") for event in numbers(4)]
        plugin = make()
        with_history = await plugin.subscribe("foo", history=2)
        resumed = await plugin.subscribe("foo", after=places[0].cursor)
        async with plugin:
            await plugin.wait_published("4", "foo")
            assert await read_events(with_history, 3) == numbers(3, 2)
            assert await read_events(resumed, 4) == numbers(4, 1)

    run(main())


def test_an_unreadable_store_rejects_a_subscription_and_leaves_no_subscriber(tmp_path: Path) -> None:
    async def main() -> None:
        async with ChannelsPlugin(
            SqliteChannelsBackend(tmp_path / "rooms.db"), arbitrary_channels_allowed=True
        ) as plugin:
            await plugin._log.hub._backend.__aexit__(None, None, None)
            with pytest.raises(Unavailable):
                await plugin.subscribe("foo")
            assert not plugin._channels.get("foo")

    run(main())


def test_a_subscriber_resumes_from_a_cursor(tmp_path: Path) -> None:
    async def main() -> None:
        async with ChannelsPlugin(SqliteChannelsBackend(tmp_path / "rooms.db"), channels=["foo", "bar"]) as plugin:
            places = [await plugin.wait_published(event, "foo") for event in numbers(5)]
            await plugin.wait_published("b", "bar")
            async with plugin.start_subscription("foo", after=places[1].cursor) as subscriber:
                assert await read_events(subscriber, 3) == numbers(3, 2)
            async with plugin.start_subscription(["foo", "bar"], after={"foo": places[3].cursor}) as subscriber:
                await plugin.wait_published("c", "bar")
                assert sorted(await read_events(subscriber, 2)) == [b"4", b"c"]
            with pytest.raises(BadCursor):
                await plugin.subscribe("foo", after="nonsense")
            with pytest.raises(ValueError, match="a position in one channel"):
                await plugin.subscribe(["foo", "bar"], after=places[0].cursor)
            assert plugin._channels == {"foo": set(), "bar": set()}

    run(main())


def test_a_cursor_of_another_epoch_is_reported_as_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with ChannelsPlugin("memory://", channels=["foo"]) as plugin:
            cursor = (await plugin.wait_published("x", "foo")).cursor
        async with ChannelsPlugin("memory://", channels=["foo"]) as plugin:
            await plugin.wait_published("y", "foo")
            subscriber = await plugin.subscribe("foo", after=cursor)
            event = await _next(subscriber)
            assert (event.data, event.seq, event.is_restart) == (b"y", 1, True)

    run(main())


async def _next(subscriber: Subscriber) -> Event:
    return await anext(subscriber.iter_events(with_metadata=True))


def test_channels_can_be_added_and_left() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(history=9), arbitrary_channels_allowed=True) as plugin:
            await plugin.wait_published("old", "bar")
            async with plugin.start_subscription("foo") as subscriber:
                await plugin.add_channels(subscriber, ["bar", "foo"], history=5)
                assert subscriber.channels == {"foo", "bar"}
                assert (await _next(subscriber)).channel == "bar"
                await plugin.unsubscribe(subscriber, "foo")
                await plugin.wait_published("not received", "foo")
                await plugin.wait_published("received", "bar")
                assert await read_events(subscriber, 1) == [b"received"]
            assert plugin._channels == {}

    run(main())


def test_a_subscriber_that_left_its_last_channel_cannot_join_another() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), arbitrary_channels_allowed=True) as plugin:
            subscriber = await plugin.subscribe("foo")
            await plugin.unsubscribe(subscriber, "foo")
            with pytest.raises(ChannelsException, match="has ended"):
                await plugin.add_channels(subscriber, "bar")
            assert plugin._channels == {}

    run(main())

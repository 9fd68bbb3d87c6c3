"""Faults that Litestar's own channels show, and chatkit's must not."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from channels import Broker, read_events, run, until
from litestar import Litestar
from litestar.exceptions import LitestarException
from litestar.testing import TestClient

from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend
from chatkit.litestar import foreign_backend as foreign_backend_module
from chatkit.litestar import memory as memory_module


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


async def publish_all(plugin: Any, events: list[bytes], channel: str = "foo") -> None:
    for event in events:
        await plugin.wait_published(event, channel)


# History and live


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


# Lost delivery


def test_a_failed_publish_loses_one_event_and_is_reported() -> None:
    async def main() -> None:
        broker = Broker()
        async with ChannelsPlugin(broker, channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            broker.failures.append("publish")
            plugin.publish("lost", "foo")
            plugin.publish("kept", "foo")
            async with asyncio.timeout(5):
                assert await read_events(subscriber, 1) == [b"kept"]

    run(main())


def test_a_failed_event_stream_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_backend_module, "RETRY_S", 0.01)

    async def main() -> None:
        broker = Broker()
        async with ChannelsPlugin(broker, channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            broker.break_stream()
            await plugin.wait_published("after", "foo")
            async with asyncio.timeout(5):
                assert await read_events(subscriber, 1) == [b"after"]

    run(main())


def test_subscribing_while_the_last_subscriber_leaves_receives_events() -> None:
    async def main() -> None:
        broker = Broker()
        async with ChannelsPlugin(broker, arbitrary_channels_allowed=True) as plugin:
            first = await plugin.subscribe("foo")
            unsubscribing = broker.hold("unsubscribe")
            leaving = asyncio.create_task(plugin.unsubscribe(first))
            await asyncio.sleep(0)
            coming = asyncio.create_task(plugin.subscribe("foo"))
            for _ in range(10):
                await asyncio.sleep(0)
            unsubscribing.set()
            await leaving
            second = await coming
            assert broker.subscribed == {"foo"}
            await plugin.wait_published("hello", "foo")
            async with asyncio.timeout(5):
                assert await read_events(second, 1) == [b"hello"]

    run(main())


def test_a_second_subscribe_returns_after_the_broker_is_subscribed() -> None:
    async def main() -> None:
        broker = Broker()
        async with ChannelsPlugin(broker, arbitrary_channels_allowed=True) as plugin:
            subscribing = broker.hold("subscribe")
            first = asyncio.create_task(plugin.subscribe("foo"))
            await asyncio.sleep(0)
            second = asyncio.create_task(plugin.subscribe("foo"))
            for _ in range(10):
                await asyncio.sleep(0)
            assert not second.done()
            subscribing.set()
            await asyncio.gather(first, second)
            assert broker.subscribed == {"foo"}

    run(main())


class SlowBroker(Broker):
    """A broker with a long round trip."""

    async def subscribe(self, channels: Any) -> None:
        await asyncio.sleep(0.05)
        await super().subscribe(channels)


def test_connected_clients_receive_all_events() -> None:
    plugin = ChannelsPlugin(SlowBroker(), arbitrary_channels_allowed=True, create_ws_route_handlers=True)
    app = Litestar(plugins=[plugin], logging_config=None)
    with TestClient(app) as client, client.websocket_connect("/foo") as socket:
        plugin.publish("now", "foo")
        assert socket.receive_text(timeout=5) == "now"


def test_bytes_that_are_not_text_arrive_and_close_no_connection() -> None:
    plugin = ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"], create_ws_route_handlers=True)
    with (
        TestClient(Litestar(plugins=[plugin], logging_config=None)) as client,
        client.websocket_connect("/foo") as socket,
    ):
        plugin.publish(b"\xff\xfe", "foo")
        plugin.publish("after", "foo")
        assert socket.receive_bytes(timeout=5) == b"\xff\xfe"
        assert socket.receive_text(timeout=5) == "after"


# Leaks and hangs


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
            with pytest.raises(NotImplementedError):
                await plugin.subscribe("foo", history=5)
            assert plugin._channels["foo"] == set()

    run(main())


def test_leaving_the_block_after_the_callback_failed_raises_its_error() -> None:
    async def failing(event: bytes) -> None:
        raise ValueError(event)

    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")

            async def block() -> None:
                async with asyncio.timeout(5), subscriber.run_in_background(failing):
                    await publish_all(plugin, [b"boom", b"more", b"more"])
                    await asyncio.sleep(3600)

            with pytest.raises(ValueError, match="boom"):
                await block()
            assert not subscriber.is_running

    run(main())


@pytest.mark.parametrize("strategy", ["backoff", "dropleft"])
def test_leaving_the_block_ends_after_events_were_dropped(strategy: Any) -> None:
    async def main() -> None:
        received: list[bytes] = []

        async def on_event(event: bytes) -> None:
            received.append(event)

        plugin = ChannelsPlugin(
            MemoryChannelsBackend(),
            channels=["foo"],
            subscriber_max_backlog=2,
            subscriber_backlog_strategy=strategy,
        )
        async with plugin:
            subscriber = await plugin.subscribe("foo")
            for event in numbers(9):
                subscriber.put_nowait(event)
            async with asyncio.timeout(5), subscriber.run_in_background(on_event):
                pass
            assert received == (numbers(2) if strategy == "backoff" else numbers(2, 7))

    run(main())


def test_leaving_the_block_ends_after_an_iterator_was_abandoned() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            await publish_all(plugin, numbers(3))
            iterator: AsyncIterator[bytes] = subscriber.iter_events()
            await anext(iterator)  # and the iterator is not used again
            received: list[bytes] = []

            async def on_event(event: bytes) -> None:
                received.append(event)

            async with asyncio.timeout(5), subscriber.run_in_background(on_event):
                pass
            assert received == numbers(2, 1)

    run(main())


def test_leaving_the_block_ends_while_events_keep_arriving() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")

            received: list[bytes] = []

            async def on_event(event: bytes) -> None:
                received.append(event)
                await plugin.wait_published("another", "foo")
                await asyncio.sleep(0.001)

            async with asyncio.timeout(5), subscriber.run_in_background(on_event):
                await plugin.wait_published("first", "foo")
                await until(lambda: received)

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


def test_shutdown_continues_after_a_callback_failed() -> None:
    async def failing(_: bytes) -> None:
        raise ValueError

    async def main() -> None:
        broker = Broker()
        plugin = ChannelsPlugin(broker, channels=["foo"])
        await plugin._on_startup()
        subscriber = await plugin.subscribe("foo")
        subscriber._start_in_background(failing)
        await plugin.wait_published("boom", "foo")
        await until(lambda: subscriber._task is not None and subscriber._task.done())
        with suppress(ValueError):
            await plugin._on_shutdown()
        assert broker.has_stopped

    run(main())


def test_a_task_that_is_cancelled_in_a_stop_is_cancelled() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            went_on = False

            async def slow_to_end(_: bytes) -> None:
                try:
                    await asyncio.sleep(3600)
                finally:
                    await asyncio.sleep(0.05)

            async def stop() -> None:
                nonlocal went_on
                await subscriber.stop()
                went_on = True

            subscriber._start_in_background(slow_to_end)
            await plugin.wait_published("x", "foo")
            await asyncio.sleep(0.02)
            stopping = asyncio.create_task(stop())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            stopping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stopping
            assert not went_on

    run(main())


# Silent loss


@pytest.mark.parametrize(("strategy", "kept"), [("backoff", numbers(2)), ("dropleft", numbers(2, 8))])
def test_events_dropped_by_a_full_backlog_are_counted_and_logged(
    strategy: Any, kept: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        plugin = ChannelsPlugin(
            MemoryChannelsBackend(),
            channels=["foo"],
            subscriber_max_backlog=2,
            subscriber_backlog_strategy=strategy,
        )
        async with plugin:
            subscriber = await plugin.subscribe("foo")
            await publish_all(plugin, numbers(10))
            await until(lambda: subscriber.dropped == 8)
            assert await read_events(subscriber, 2) == kept

    run(main())
    assert [record.message for record in caplog.records] == [
        "a subscriber of foo is behind: its backlog of 2 drops events"
    ]


def test_events_published_before_the_shutdown_are_delivered() -> None:
    async def main() -> None:
        received: list[bytes] = []

        async def on_event(event: bytes) -> None:
            await asyncio.sleep(0.001)
            received.append(event)

        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            subscriber._start_in_background(on_event)
            for event in numbers(10):
                plugin.publish(event, "foo")
        assert received == numbers(10)

    run(main())


def test_publishing_from_a_thread_wakes_the_loop() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            reading = asyncio.create_task(read_events(subscriber, 1))
            await asyncio.sleep(0.01)
            thread = threading.Timer(0.05, lambda: plugin.publish("from a thread", "foo"))
            thread.start()
            # Nothing else wakes this event loop: its only timer is the test's time-out.
            async with asyncio.timeout(5):
                assert await reading == [b"from a thread"]
            thread.join()

    run(main())


def test_publishing_to_an_unknown_channel_raises() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"]) as plugin:
            with pytest.raises(LitestarException, match="unknown"):
                plugin.publish("x", "unknown")
            with pytest.raises(LitestarException, match="unknown"):
                await plugin.wait_published("x", "unknown")

    run(main())


def test_events_have_a_channel_a_seq_a_time_and_a_cursor() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo", "bar"]) as plugin:
            subscriber = await plugin.subscribe(["foo", "bar"])
            published = [await plugin.wait_published(event, "foo") for event in numbers(4)]
            events = [event async for event in _two(subscriber)]
            assert [(event.channel, event.seq, event.data) for event in events] == [("foo", 1, b"0"), ("foo", 2, b"1")]
            assert [event.cursor for event in events] == [each.cursor for each in published[:2]]
            assert events[0].time == published[0].time
            resumed = await plugin.subscribe("foo", after=events[-1].cursor)
            assert await read_events(resumed, 2) == numbers(2, 2)

    run(main())


async def _two(subscriber: Any) -> AsyncIterator[Any]:
    left = 2
    async for event in subscriber.iter_events(with_metadata=True):
        yield event
        left -= 1
        if not left:
            return


def test_a_burst_longer_than_the_history_is_delivered_completely() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(history=5), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            await publish_all(plugin, numbers(3_000))
            assert await read_events(subscriber, 3_000) == numbers(3_000)
            assert subscriber.missed == 0

    run(main())

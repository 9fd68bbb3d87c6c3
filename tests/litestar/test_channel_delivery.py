"""Faults of Litestar's channels in delivery, which chatkit's must not have: lost events, and unreported losses."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels import Broker, numbers, publish_all, read_events, run, until
from litestar import Litestar
from litestar.exceptions import LitestarException
from litestar.testing import TestClient

from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend
from chatkit.litestar import foreign_backend as foreign_backend_module

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

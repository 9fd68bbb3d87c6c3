"""Publishing through ChannelsPlugin: from threads and other event loops, positions, and errors."""

import asyncio
import threading

import pytest
from channels import Broker, read_events, run, until

from chatkit.errors import ChatkitError
from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend, Published


def test_publishing_from_threads_keeps_each_threads_order() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")

            def talk(name: str) -> None:
                for number in range(200):
                    plugin.publish(f"{name}{number}", "foo")

            threads = [threading.Thread(target=talk, args=(name,)) for name in "abc"]
            for thread in threads:
                thread.start()
            received = await read_events(subscriber, 600)
            for thread in threads:
                thread.join()
            for name in "abc":
                assert [event for event in received if event.startswith(name.encode())] == [
                    f"{name}{number}".encode() for number in range(200)
                ]

    run(main())


def test_another_event_loop_may_wait_for_its_event() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"]) as plugin:
            got: list[Published] = []
            thread = threading.Thread(target=lambda: got.append(asyncio.run(plugin.wait_published("x", "foo"))))
            thread.start()
            await until(lambda: got)
            thread.join()
            assert (got[0].channel, got[0].seq) == ("foo", 1)

    run(main())


def test_publishing_to_many_channels_returns_the_position_in_each() -> None:
    async def main() -> None:
        async with ChannelsPlugin("memory://", channels=["foo", "bar"]) as plugin:
            await plugin.wait_published("x", "foo")
            published = await plugin.wait_published("y", ["foo", "bar"])
            assert [(each.channel, each.seq) for each in published] == [("foo", 2), ("bar", 1)]
            assert all(each.cursor.endswith(f":{each.seq}") and each.time for each in published)

    run(main())


def test_events_that_could_not_be_stored_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        reported: list[tuple[str, str]] = []

        def on_error(error: ChatkitError, channel: str) -> None:
            reported.append((error.code, channel))

        broker = Broker()
        broker.failures.append("publish")
        async with ChannelsPlugin(broker, channels=["foo"], on_error=on_error) as plugin:
            plugin.publish("x", "foo")
            await until(lambda: reported)
            assert reported == [("unavailable", "foo")]
            broker.failures.append("publish")
            with pytest.raises(ConnectionError):
                await plugin.wait_published("x", "foo")

    run(main())
    assert "an event of foo was not published" in caplog.text


def test_an_error_in_on_error_stops_no_event(caplog: pytest.LogCaptureFixture) -> None:
    def on_error(*_: object) -> None:
        raise ValueError("a mistake")

    async def main() -> None:
        broker = Broker()
        broker.failures.append("publish")
        async with ChannelsPlugin(broker, channels=["foo"], on_error=on_error) as plugin:
            subscriber = await plugin.subscribe("foo")
            plugin.publish("x", "foo")
            plugin.publish("y", "foo")
            assert await read_events(subscriber, 1) == [b"y"]

    run(main())
    assert "on_error failed" in caplog.text


def test_another_event_loop_may_wait_for_its_event_during_the_shutdown() -> None:
    async def main() -> None:
        plugin = ChannelsPlugin("memory://", channels=["foo"])
        await plugin._on_startup()
        subscriber = await plugin.subscribe("foo")
        got: list[Published] = []

        async def on_event(_: bytes) -> None:  # the shutdown has started and waits for this
            await until(lambda: not plugin._is_open)
            await asyncio.to_thread(lambda: got.append(asyncio.run(plugin.wait_published("late", "foo"))))

        subscriber._start_in_background(on_event)
        await plugin.wait_published("first", "foo")
        await plugin._on_shutdown()
        assert [each.seq for each in got] == [2]

    run(main())

"""Faults of Litestar's channels with background callbacks, which chatkit's must not have: hangs and lost errors."""

import asyncio
from collections.abc import AsyncIterator  # noqa: TC003  # a cheap import is no reason to hide it
from contextlib import suppress
from typing import Any

import pytest
from channels import Broker, numbers, publish_all, run, until

from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend


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

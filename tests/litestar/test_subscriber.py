"""Subscriber: its queue, reading it, and sending in the background."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from channels import numbers, read_events, run, until

from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend, Subscriber
from chatkit.litestar import reader as reader_module
from chatkit.litestar import subscriber as subscriber_module


def make(**options: Any) -> Subscriber:
    return Subscriber(SimpleNamespace(_backend=None), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("strategy", "taken", "kept"),
    [("backoff", [True, True, False], numbers(2)), ("dropleft", [True] * 3, numbers(2, 1))],
)
def test_a_backlog_keeps_the_oldest_or_the_newest(strategy: Any, taken: list[bool], kept: list[bytes]) -> None:
    subscriber = make(max_backlog=2, backlog_strategy=strategy)
    assert [subscriber.put_nowait(event) for event in numbers(3)] == taken
    assert subscriber.qsize == 2
    assert subscriber.dropped == 1
    assert [subscriber._queue.get_nowait() for _ in range(2)] == kept


def test_put_waits_while_the_queue_is_full() -> None:
    async def main() -> None:
        subscriber = make(max_backlog=1)
        await subscriber.put(b"0")
        putting = asyncio.create_task(subscriber.put(b"1"))
        await asyncio.sleep(0)
        assert not putting.done()
        assert await read_events(subscriber, 2) == numbers(2)
        await putting
        assert subscriber.dropped == 0

    run(main())


def test_none_ends_one_reader() -> None:
    async def main() -> None:
        subscriber = make()
        for item in (b"0", None, b"1", None):
            subscriber.put_nowait(item)
        assert [event async for event in subscriber.iter_events()] == [b"0"]
        assert [event async for event in subscriber.iter_events()] == [b"1"]
        assert subscriber.qsize == 0
        await asyncio.wait_for(subscriber._queue.join(), 5)

    run(main())


def test_items_put_by_the_application_have_no_metadata() -> None:
    async def main() -> None:
        subscriber = make()
        subscriber.put_nowait(b"0")
        event = await anext(subscriber.iter_events(with_metadata=True))
        assert (event.data, event.channel, event.seq, event.cursor, event.time) == (b"0", "", 0, "", None)

    run(main())


@pytest.mark.parametrize("join", [True, False])
def test_stopping_ends_the_task_with_events_in_the_queue(join: bool) -> None:
    async def main() -> None:
        received: list[bytes] = []

        async def on_event(event: bytes) -> None:
            received.append(event)

        subscriber = make()
        await subscriber.stop(join=join)
        async with subscriber.run_in_background(on_event):
            running = [subscriber.is_running]
            with pytest.raises(RuntimeError, match="already running"):
                subscriber._start_in_background(on_event)
            subscriber.put_nowait(b"0")
            await subscriber.stop(join=join)
            running.append(subscriber.is_running)
            assert running == [True, False]
            assert subscriber._task is None
        assert received == (numbers(1) if join else [])

    run(main())


def test_events_after_the_block_wait_for_the_next_reader() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            received: list[bytes] = []

            async def on_event(event: bytes) -> None:
                if event == b"0":
                    await plugin.wait_published(b"1", "foo")
                received.append(event)

            async with subscriber.run_in_background(on_event):
                await plugin.wait_published(b"0", "foo")
            assert received == [b"0"]
            async with subscriber.run_in_background(on_event):
                pass
            assert received == [b"0", b"1"]
            await plugin.wait_published(b"2", "foo")
            assert await read_events(subscriber, 1) == [b"2"]

    run(main())


def test_an_error_in_the_block_ends_the_task_at_once() -> None:
    async def main() -> None:
        async def never(_: bytes) -> None:
            await asyncio.Event().wait()

        subscriber = make()
        subscriber.put_nowait(b"0")

        async def block() -> None:
            async with subscriber.run_in_background(never):
                await asyncio.sleep(0)
                raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            await block()
        assert not subscriber.is_running

    run(main())


def test_an_error_of_the_callback_cancels_the_block_and_not_its_task() -> None:
    async def main() -> None:
        async def failing(_: bytes) -> None:
            raise LookupError("the callback's")

        subscriber = make()
        subscriber.put_nowait(b"0")

        async def block(wait: bool) -> None:
            async with subscriber.run_in_background(failing):
                while wait or subscriber._task is None or not subscriber._task.done():  # noqa: ASYNC110  # the task cancels this block
                    await asyncio.sleep(0)

        for wait in (True, False):
            subscriber.put_nowait(b"0")
            with pytest.raises(LookupError, match="the callback's"):
                await block(wait)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)

    run(main())


def test_a_cancellation_from_outside_is_raised() -> None:
    async def main() -> None:
        async def on_event(_: bytes) -> None:
            pass

        subscriber = make()

        async def block() -> None:
            async with subscriber.run_in_background(on_event):
                await asyncio.Event().wait()

        task = asyncio.create_task(block())
        await until(lambda: subscriber.is_running)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not subscriber.is_running

    run(main())


def test_leaving_cancels_a_callback_without_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriber_module, "STALL_S", 0.05)

    async def main() -> None:
        async def never(_: bytes) -> None:
            await asyncio.Event().wait()

        subscriber = make()
        subscriber.put_nowait(b"0")
        async with subscriber.run_in_background(never):
            pass
        assert not subscriber.is_running

    run(main())


def test_a_callback_cannot_stop_itself() -> None:
    async def main() -> None:
        subscriber = make()

        async def stop(_: bytes) -> None:
            await subscriber.stop()

        subscriber.put_nowait(b"0")
        with pytest.raises(RuntimeError, match="cannot stop"):
            async with subscriber.run_in_background(stop):
                await asyncio.Event().wait()

    run(main())


def test_a_slow_reader_needs_no_long_queue_and_misses_nothing() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            for event in numbers(5_000):
                await plugin.wait_published(event, "foo")
            await until(lambda: subscriber.qsize == 5_000)
            assert subscriber._queue.qsize() <= reader_module.WINDOW
            assert await read_events(subscriber, 5_000) == numbers(5_000)
            assert (subscriber.dropped, subscriber.missed, subscriber.qsize) == (0, 0, 0)

    run(main())


def test_events_contain_the_number_of_dropped_events_before_them() -> None:
    async def main() -> None:
        plugin = ChannelsPlugin(
            MemoryChannelsBackend(),
            channels=["foo"],
            subscriber_max_backlog=2,
            subscriber_backlog_strategy="dropleft",
        )
        async with plugin:
            subscriber = await plugin.subscribe("foo")
            for event in numbers(10):
                await plugin.wait_published(event, "foo")
            await until(lambda: subscriber.dropped == 8)
            iterator = subscriber.iter_events(with_metadata=True)
            events = [await anext(iterator) for _ in range(2)]
            assert [(event.seq, event.missed) for event in events] == [(9, 8), (10, 0)]

    run(main())


@pytest.mark.parametrize("strategy", ["backoff", "dropleft"])
def test_events_read_without_metadata_are_not_counted_as_missed(strategy: Any) -> None:
    async def main() -> None:
        plugin = ChannelsPlugin(
            MemoryChannelsBackend(),
            channels=["foo"],
            subscriber_max_backlog=3,
            subscriber_backlog_strategy=strategy,
        )
        async with plugin:
            subscriber = await plugin.subscribe("foo")
            received: list[bytes] = []

            async def on_event(event: bytes) -> None:
                received.append(event)

            await publish(plugin, 3)
            assert await read_events(subscriber, 2) == numbers(2)
            event = await anext(subscriber.iter_events(with_metadata=True))
            assert (event.seq, event.missed) == (3, 0)
            async with subscriber.run_in_background(on_event):
                await publish(plugin, 3)
            assert received == numbers(3)
            await publish(plugin, 5)
            await until(lambda: subscriber.dropped == 2)
            assert len(await read_events(subscriber, 3)) == 3
            await publish(plugin, 1)
            event = await anext(subscriber.iter_events(with_metadata=True))
            assert (event.seq, event.missed) == (12, 2 if strategy == "backoff" else 0)

    run(main())


async def publish(plugin: ChannelsPlugin, count: int) -> None:
    for event in numbers(count):
        await plugin.wait_published(event, "foo")


async def _all_of(subscriber: Subscriber) -> list[bytes]:
    return [event async for event in subscriber.iter_events()]


def test_all_readers_of_a_subscriber_end_with_it() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            readers = [asyncio.create_task(_all_of(subscriber)) for _ in range(3)]
            for _ in range(3):
                await asyncio.sleep(0)  # the readers wait
            await plugin.unsubscribe(subscriber)
            await plugin.unsubscribe(subscriber)
            assert await asyncio.gather(*readers) == [[], [], []]
            assert subscriber.has_ended
            assert await _all_of(subscriber) == []

    run(main())


def test_a_subscriber_without_a_channel_ends_too() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"]) as plugin:
            async with plugin.start_subscription([]) as subscriber:
                reading = asyncio.create_task(_all_of(subscriber))
            assert await reading == []
            waiting = await plugin.subscribe([])
            later = asyncio.create_task(_all_of(waiting))
            joined = await plugin.subscribe([])
            await plugin.add_channels(joined, "foo")
            await plugin.wait_published("x", "foo")
            assert await read_events(joined, 1) == [b"x"]
        assert await later == []

    run(main())


def test_the_task_ends_although_its_callback_lost_the_cancellation() -> None:
    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            n_begun = 0

            async def ignore_cancellation(_: bytes) -> None:  # as redis-py may do on CPython 3.11
                nonlocal n_begun
                n_begun += 1
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()

            async with subscriber.run_in_background(ignore_cancellation, join=False):
                await publish(plugin, 3)
                await until(lambda: n_begun)
            assert n_begun == 1
            assert await read_events(subscriber, 2) == numbers(2, 1)

    run(main())

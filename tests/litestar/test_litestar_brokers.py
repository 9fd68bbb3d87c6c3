"""The Redis and PostgreSQL classes on real servers: Litestar's guarantees, and faults of Litestar's own classes."""

import asyncio
from collections.abc import Callable

import pytest
import stores
from channel_backends import KEPT, Make, maker, started
from channels import read_events, run
from litestar import Litestar
from litestar.testing import TestClient

from chatkit.core.model import Cursor
from chatkit.litestar import ChannelsPlugin

LIMIT_S = 20.0  # only a hanging test takes this long
WITH_HISTORY = ["stream", "cluster", "asyncpg", "psycopg"]
ALL = [*WITH_HISTORY, "pubsub", "cluster-pubsub"]


@pytest.fixture(params=ALL)
def make(request: pytest.FixtureRequest) -> Make:
    return maker(request.param, stores.emptied_postgres)


@pytest.fixture(params=WITH_HISTORY)
def make_keeping(request: pytest.FixtureRequest) -> Make:
    return maker(request.param, stores.emptied_postgres)


# Guarantees of Litestar's backends


@pytest.mark.parametrize("channels", [{"foo"}, {"foo", "bar"}, {"foo", "bar", "baz", "user:1", "a/b"}])
def test_an_event_arrives_in_every_channel_that_it_was_published_to(make: Make, channels: set[str]) -> None:
    async def main() -> None:
        here, there = make(), make()
        async with started(here, there):
            await here.subscribe(channels)
            await there.subscribe(channels)
            await here.publish(b"something", channels)
            for backend in (here, there):
                stream = backend.stream_events()
                assert {await anext(stream) for _ in channels} == {(name, b"something") for name in channels}

    run(main())


def test_only_subscribed_channels_are_received(make: Make) -> None:
    async def main() -> None:
        backend = make()
        async with started(backend):
            await backend.unsubscribe(["foo"])
            await backend.subscribe(["foo", "bar"])
            await backend.publish(b"1", ["foo", "other"])
            stream = backend.stream_events()
            assert await anext(stream) == ("foo", b"1")
            await backend.unsubscribe(["foo"])
            await backend.publish(b"2", ["foo"])
            await backend.publish(b"3", ["bar"])
            assert await anext(stream) == ("bar", b"3")

    run(main())


def test_events_published_before_a_subscription_are_not_delivered_as_live(make: Make) -> None:
    async def main() -> None:
        first, second = make(), make()
        async with started(first):
            await first.subscribe(["foo"])
            await first.publish(b"past", ["foo"])
            async with started(second):
                await second.subscribe(["foo"])
                await first.publish(b"live", ["foo"])
                assert await anext(second.stream_events()) == ("foo", b"live")
                await second.unsubscribe(["foo"])
                await first.publish(b"between", ["foo"])
                await second.subscribe(["foo"])
                await first.publish(b"again", ["foo"])
                assert await anext(second.stream_events()) == ("foo", b"again")

    run(main())


def test_a_shutdown_with_unread_events_ends(make: Make) -> None:
    async def main() -> None:
        backend = make()
        for _ in range(2):  # it can be started again
            async with started(backend):
                await backend.subscribe(["foo"])
                await backend.publish(b"something", ["foo"])

    run(main())


def test_iterating_over_a_backend_ends_at_its_shutdown(make: Make) -> None:
    async def main() -> None:
        backend = make()
        async with started(backend):
            await backend.subscribe(["foo"])
            reading = asyncio.create_task(anext(backend.stream_events()))
            await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="not yet initialized"):
            await reading

    run(main())


@pytest.mark.parametrize(("limit", "length"), [(None, 10), (-1, 10), (0, 0), (1, 1), (5, 5), (10, 10), (99, 10)])
def test_a_history_contains_the_newest_events_in_order(make_keeping: Make, limit: int | None, length: int) -> None:
    async def main() -> None:
        backend = make_keeping()
        async with started(backend):
            events = [b"%d" % number for number in range(30)]
            for event in events:
                await backend.publish(event, {"something"})
            assert await backend.get_history("something", limit) == events[30 - length :]
            assert await backend.get_history("never", limit) == []

    run(main())


def test_a_history_is_visible_to_other_processes_and_outlives_the_last_reader(make_keeping: Make) -> None:
    async def main() -> None:
        async with ChannelsPlugin(make_keeping(), channels=["foo"]) as plugin:
            async with plugin.start_subscription("foo") as subscriber:
                await plugin.wait_published("1", "foo")
                await plugin.wait_published("2", "foo")
                assert await read_events(subscriber, 2) == [b"1", b"2"]
            assert await plugin._backend.get_history("foo") == [b"1", b"2"]
        async with (
            ChannelsPlugin(make_keeping(), channels=["foo"]) as plugin,
            plugin.start_subscription("foo", history=5) as subscriber,
        ):
            await plugin.wait_published("3", "foo")
            assert await read_events(subscriber, 3) == [b"1", b"2", b"3"]

    run(main())


@pytest.mark.parametrize("kind", ["pubsub", "cluster-pubsub"])
def test_a_backend_without_storage_has_no_history_and_reports_missed_events(kind: str) -> None:
    async def main() -> None:
        make = maker(kind)
        assert await make().get_history("foo") == []
        async with ChannelsPlugin(make(), channels=["foo"]) as plugin:
            places = [await plugin.wait_published(word, "foo") for word in ("1", "2", "3")]
            assert await plugin._backend.get_history("foo") == []
            subscriber = await plugin.subscribe("foo", history=5)
            late = await plugin.subscribe("foo", after=places[0].cursor)
            await plugin.wait_published("4", "foo")
            assert await read_events(subscriber, 1) == await read_events(late, 1) == [b"4"]
            assert (subscriber.missed, late.missed) == (0, 2)

    run(main())


def test_subscriptions_do_not_wait_for_each_other(make: Make) -> None:
    async def main() -> None:
        async with (
            ChannelsPlugin(make(), arbitrary_channels_allowed=True) as here,
            ChannelsPlugin(make(), arbitrary_channels_allowed=True) as there,
        ):
            names = [f"room{number % 20}" for number in range(100)]
            subscribers = await asyncio.gather(*(there.subscribe(name) for name in names))
            for name in set(names):
                here.publish(name, name)
            for subscriber, name in zip(subscribers, names, strict=True):
                assert await read_events(subscriber, 1) == [name.encode()]
            await asyncio.gather(*(there.unsubscribe(subscriber) for subscriber in subscribers))
            assert there._channels == {}

    run(main())


# Faults of Litestar's own classes


def test_large_events_and_long_names_arrive_unchanged(make: Make) -> None:
    async def main() -> None:
        here, there = make(), make()
        events = [b"x" * 7_990, b"y" * 8_000, "ä".encode() * 100_000, b"\xff\x00" * 5_000, b"\x00", b""]
        channels = ["n" * 63, "n" * 64, "n" * 65, "n" * 500, "größe/ä:1"]
        async with started(here, there):
            await there.subscribe(channels)
            stream = there.stream_events()
            for channel in channels:
                for event in events:
                    await here.publish(event, [channel])
                assert [await anext(stream) for _ in events] == [(channel, event) for event in events]

    run(main())


def test_channels_that_differ_in_case_are_different(make: Make) -> None:
    async def main() -> None:
        backend = make()
        async with started(backend):
            await backend.subscribe(["Ops"])
            await backend.publish(b"not this", ["ops"])
            await backend.publish(b"this", ["Ops"])
            assert await anext(backend.stream_events()) == ("Ops", b"this")

    run(main())


@pytest.mark.parametrize("kind", ALL)
def test_two_applications_on_one_server_are_isolated(kind: str) -> None:
    async def main() -> None:
        one, other = maker(kind)(), maker(kind)()
        async with started(one, other):
            await one.subscribe(["foo"])
            await other.publish(b"theirs", ["foo"])
            await one.publish(b"ours", ["foo"])
            assert await anext(one.stream_events()) == ("foo", b"ours")

    run(main())


def test_a_burst_longer_than_the_history_arrives_complete(make: Make) -> None:
    async def main() -> None:
        async with ChannelsPlugin(make(), channels=["foo"]) as here, ChannelsPlugin(make(), channels=["foo"]) as there:
            subscribers = [await plugin.subscribe("foo") for plugin in (here, there)]
            for number in range(300):
                here.publish(f"{number}", "foo")
            for subscriber in subscribers:
                assert await read_events(subscriber, 300) == [b"%d" % number for number in range(300)]

    run(main())


def test_events_published_during_a_subscription_with_history_arrive_once_and_in_order(make_keeping: Make) -> None:
    async def main() -> None:
        async with (
            ChannelsPlugin(make_keeping(), channels=["foo"]) as here,
            ChannelsPlugin(make_keeping(), channels=["foo"]) as there,
        ):
            for number in range(5):
                await here.wait_published(f"{number}", "foo")
            for number in range(5, 200):
                here.publish(f"{number}", "foo")
            for _ in range(20):
                subscriber = await there.subscribe("foo", history=5)
                events = await read_events(subscriber, 5)
                first = int(events[0])
                assert events == [b"%d" % number for number in range(first, first + 5)]
                await there.unsubscribe(subscriber)

    run(main())


def test_a_name_is_not_a_pattern(make: Make) -> None:
    async def main() -> None:
        backend = make()
        async with started(backend):
            await backend.subscribe(["a*", "[b]"])
            await backend.publish(b"not this", ["ab", "b"])
            await backend.publish(b"this", ["a*"])
            assert await anext(backend.stream_events()) == ("a*", b"this")

    run(main())


def test_events_beyond_the_history_are_dropped_after_some_time(
    make_keeping: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        monkeypatch.setattr("chatkit.litestar.retention.SWEEP_S", 0.02)
        backend = make_keeping()
        async with started(backend):
            for number in range(1_200):
                backend.submit(b"%d" % number, "foo", lambda _: None)
            await backend.publish(b"last", ["foo"])
            await backend.publish(b"one", ["other"])
            while (head := (await backend.hub.history("foo", limit=1)).head).last - head.first >= KEPT:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert (head.first, head.last) == (1_201 - KEPT + 1, 1_201)
            assert len(await backend.get_history("foo")) == KEPT
            assert await backend.get_history("other") == [b"one"]

    run(main())


def test_no_event_is_dropped_before_a_minimum_age(make_keeping: Make) -> None:
    async def main() -> None:
        backend = make_keeping()
        async with started(backend):
            for number in range(2 * KEPT):
                (last,) = await backend.publish(b"%d" % number, ["foo"])
            schedule = backend.hub._backend._sweeper
            assert schedule.sweep() == {}
            assert {room: str(up_to) for room, up_to in schedule.sweep().items()} == {
                "foo": last.cursor.replace(f":{2 * KEPT}", f":{KEPT}")
            }
            assert schedule.sweep() == {}

    run(main())


def test_a_log_with_a_new_epoch_is_not_swept_by_old_seqs(make_keeping: Make) -> None:
    async def main() -> None:
        backend = make_keeping()
        async with started(backend):
            await backend.publish(b"new", ["foo"])
            await backend.hub._backend.drop("foo", Cursor("another", 1))
            assert await backend.get_history("foo") == [b"new"]

    run(main())


# The plugin with only a URL


@pytest.mark.parametrize("url", [stores.redis, stores.redis_cluster, stores.postgres])
def test_generated_handlers_of_two_applications_on_one_store_share_channels(url: Callable[[], str]) -> None:
    place = url()

    def application() -> tuple[ChannelsPlugin, Litestar]:
        plugin = ChannelsPlugin(
            place,
            arbitrary_channels_allowed=True,
            create_ws_route_handlers=True,
            ws_handler_base_path="/ws",
            ws_handler_send_history=2,
        )
        return plugin, Litestar(plugins=[plugin], logging_config=None)

    (one, one_app), (two, two_app) = application(), application()
    with TestClient(one_app) as one_client, TestClient(two_app) as two_client:
        for word in ("1", "2", "3"):
            asyncio.run(one.wait_published(word, "ops"))
        with one_client.websocket_connect("/ws/ops") as here, two_client.websocket_connect("/ws/ops") as there:
            one.publish("by one", "ops")
            assert [there.receive_text(timeout=LIMIT_S) for _ in range(3)] == ["2", "3", "by one"]
            two.publish("by two", "ops")
            assert [here.receive_text(timeout=LIMIT_S) for _ in range(4)] == ["2", "3", "by one", "by two"]
            assert there.receive_text(timeout=LIMIT_S) == "by two"


@pytest.mark.parametrize("kind", ["stream", "pubsub", "asyncpg", "psycopg"])
def test_generated_handlers_send_events_of_another_application(kind: str) -> None:
    make = maker(kind, stores.emptied_postgres)
    plugins = [ChannelsPlugin(make(), channels=["ops"], create_ws_route_handlers=True) for _ in range(2)]
    one_app, two_app = (Litestar(plugins=[plugin], logging_config=None) for plugin in plugins)
    with TestClient(one_app), TestClient(two_app) as client, client.websocket_connect("/ops") as socket:
        plugins[0].publish({"from": "elsewhere"}, "ops")
        assert socket.receive_json(timeout=LIMIT_S) == {"from": "elsewhere"}

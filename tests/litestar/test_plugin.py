"""ChannelsPlugin: the behaviour that Litestar documents, and chatkit's additions."""

import asyncio
import inspect
import threading
from pathlib import Path
from typing import Any

import pytest
from channels import Broker, read_events, run, until
from litestar import Litestar, WebSocket, get, websocket
from litestar import channels as reference
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.exceptions import ImproperlyConfiguredException, NotAuthorizedException, WebSocketDisconnect
from litestar.handlers import BaseRouteHandler
from litestar.testing import TestClient

import chatkit.litestar as toolkit
from chatkit.errors import BadCursor, ChatkitError, Unavailable
from chatkit.litestar import (
    ChannelsException,
    ChannelsPlugin,
    Event,
    MemoryChannelsBackend,
    Published,
    SqliteChannelsBackend,
    Subscriber,
)


@pytest.fixture(params=["memory", "sqlite", "url", "broker"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A backend of each kind that the plugin accepts."""
    match request.param:
        case "memory":
            return MemoryChannelsBackend(history=100)
        case "sqlite":
            return SqliteChannelsBackend(tmp_path / "rooms.db")
        case "url":
            return "memory://"
        case _:
            return Broker()


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


def test_signatures_begin_with_those_of_litestar() -> None:
    for ours, theirs in ((ChannelsPlugin, reference.ChannelsPlugin), (Subscriber, reference.Subscriber)):
        for name, function in inspect.getmembers(theirs, inspect.isfunction):
            if name.startswith("_") and name != "__init__":
                continue
            known = list(inspect.signature(function).parameters)
            got = list(inspect.signature(getattr(ours, name)).parameters)
            assert got[: len(known)] == known, f"{ours.__name__}.{name}"


def test_the_package_exports_all_public_names() -> None:
    assert all(hasattr(toolkit, name) for name in toolkit.__all__)
    with pytest.raises(AttributeError):
        _ = toolkit.Nonsense


def test_channels_must_be_declared_unless_all_are_allowed() -> None:
    with pytest.raises(ImproperlyConfiguredException):
        ChannelsPlugin(MemoryChannelsBackend())


def test_before_the_start_publishing_raises() -> None:
    plugin = ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"])
    with pytest.raises(RuntimeError, match="on_startup"):
        plugin.publish("x", "foo")
    with pytest.raises(RuntimeError, match="on_startup"):
        run(plugin.wait_published("x", "foo"))


def test_events_reach_all_subscribers(backend: Any) -> None:
    async def main() -> None:
        async with ChannelsPlugin(backend, channels=["foo", "bar"]) as plugin:
            one, two = await plugin.subscribe("foo"), await plugin.subscribe(["foo", "bar"])
            plugin.publish("text", "foo")
            assert await read_events(one, 1) == await read_events(two, 1) == [b"text"]
            plugin.publish({"n": 1}, ["bar"])
            assert await read_events(two, 1) == [b'{"n":1}']
            await plugin.wait_published(b"\x00\xff", ["foo", "bar"])
            assert await read_events(one, 1) == [b"\x00\xff"]
            assert await read_events(two, 2) == [b"\x00\xff"] * 2
            assert one.qsize == two.qsize == 0

    run(main())


def test_type_encoders_of_the_application_are_used() -> None:
    class Money:
        pass

    plugin = ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"], type_encoders={Money: lambda _: "3 EUR"})
    assert plugin.encode_data({"price": Money()}) == b'{"price":"3 EUR"}'
    assert plugin.encode_data("ä") == "ä".encode()
    assert plugin.encode_data(b"\xff") == b"\xff"


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


def test_channels_in_a_file_survive_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        for event in numbers(3):
            async with ChannelsPlugin(f"sqlite:///{tmp_path}/rooms.db", channels=["foo"]) as plugin:
                await plugin.wait_published(event, "foo")
        async with ChannelsPlugin(SqliteChannelsBackend(tmp_path / "rooms.db", history=2), channels=["foo"]) as plugin:
            assert await plugin._backend.get_history("foo") == numbers(2, 1)
            subscriber = await plugin.subscribe("foo", history=10)
            assert await read_events(subscriber, 2) == numbers(2, 1)

    run(main())


def test_two_processes_share_a_file(tmp_path: Path) -> None:
    async def main() -> None:
        def make() -> ChannelsPlugin:
            return ChannelsPlugin(SqliteChannelsBackend(tmp_path / "rooms.db"), channels=["foo"])

        async with make() as one, make() as two:
            here, there = await one.subscribe("foo"), await two.subscribe("foo")
            one.publish("hello", "foo")
            assert await read_events(here, 1) == await read_events(there, 1) == [b"hello"]

    run(main())


def test_a_plugin_can_start_again_after_a_shutdown(backend: Any) -> None:
    async def main() -> None:
        plugin = ChannelsPlugin(backend, channels=["foo"])
        await plugin._on_shutdown()
        for _ in range(3):
            await plugin._on_startup()
            await plugin._on_startup()
            subscriber = await plugin.subscribe("foo")
            plugin.publish("hello", "foo")
            assert await read_events(subscriber, 1) == [b"hello"]
            await plugin._on_shutdown()
            await plugin._on_shutdown()
            with pytest.raises(RuntimeError):
                plugin.publish("late", "foo")

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


def test_channels_of_any_name_are_different_channels(backend: Any) -> None:
    names = ["foo", "Foo", "user:1", "user 1", "a/b", "é", "e\u0301", "", "x" * 500, ".hidden", "ch.foo"]

    async def main() -> None:
        async with ChannelsPlugin(backend, arbitrary_channels_allowed=True) as plugin:
            readers = {name: await plugin.subscribe(name) for name in names}
            for name in names:
                await plugin.wait_published(f"to {name}", name)
            for name, reader in readers.items():
                assert await read_events(reader, 1) == [f"to {name}".encode()]
                assert reader.qsize == 0

    run(main())


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


# Resuming


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


# Generated handlers


def deny(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    if connection.query_params.get("token") != "open":
        raise NotAuthorizedException


@pytest.mark.parametrize("mode", ["text", "binary"])
@pytest.mark.parametrize("base", ["/", "/ws", "/ws/"])
@pytest.mark.parametrize("arbitrary", [True, False])
def test_generated_handlers_send_published_events(mode: Any, base: str, arbitrary: bool) -> None:
    plugin = ChannelsPlugin(
        MemoryChannelsBackend(history=10),
        channels=None if arbitrary else ["foo"],
        arbitrary_channels_allowed=arbitrary,
        create_ws_route_handlers=True,
        ws_handler_base_path=base,
        ws_send_mode=mode,
        ws_handler_send_history=2,
    )
    with TestClient(Litestar(plugins=[plugin], logging_config=None)) as client:
        path = f"{base.rstrip('/')}/foo"
        for word in ("one", "two", "three"):
            asyncio.run(plugin.wait_published(word, "foo"))
        with client.websocket_connect(path) as socket:
            plugin.publish("live", "foo")
            socket.send_text("what clients send is let pass")
            receive = socket.receive_text if mode == "text" else socket.receive_bytes
            received = [receive(timeout=5) for _ in range(3)]
        assert received == (["two", "three", "live"] if mode == "text" else [b"two", b"three", b"live"])


@pytest.mark.parametrize("way", ["soon", "waiting", "in a thread"])
def test_a_publisher_receives_its_own_event_at_once(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatkit.core.fanout.PACE", 1e9)
    monkeypatch.setattr("chatkit.core.fanout.MAX_PAUSE_S", 60.0)

    async def publish_text(text: str) -> None:
        match way:
            case "soon":
                plugin.publish(text, "foo")
            case "waiting":
                await plugin.wait_published(text, "foo")
            case _:
                await asyncio.to_thread(plugin.publish, text, "foo")

    @websocket("/")
    async def chat(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        async with plugin.start_subscription("foo") as subscriber, subscriber.run_in_background(socket.send_text):
            async for text in socket.iter_data("text"):
                await publish_text(text)

    plugin = ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"])
    app = Litestar([chat], plugins=[plugin], logging_config=None)
    with TestClient(app) as client, client.websocket_connect("/") as publisher, client.websocket_connect("/"):
        for word in ("first", "while the others wait", "and again"):
            publisher.send_text(word)
            assert publisher.receive_text(timeout=20) == word


def test_generated_handlers_use_their_guards() -> None:
    plugin = ChannelsPlugin(
        MemoryChannelsBackend(), channels=["foo"], create_ws_route_handlers=True, ws_handler_guards=[deny]
    )
    with TestClient(Litestar(plugins=[plugin], logging_config=None)) as client:
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/foo"):
            pass
        with client.websocket_connect("/foo?token=open") as socket:
            plugin.publish("in", "foo")
            assert socket.receive_text(timeout=5) == "in"


def test_guards_of_the_application_apply_to_generated_handlers() -> None:
    plugin = ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"], create_ws_route_handlers=True)
    app = Litestar(plugins=[plugin], guards=[deny], logging_config=None)
    with TestClient(app) as client, pytest.raises(WebSocketDisconnect), client.websocket_connect("/foo"):
        pass


@pytest.mark.parametrize("annotation", [ChannelsPlugin, reference.ChannelsPlugin])
def test_the_plugin_is_injected_under_either_name(annotation: Any) -> None:
    @get("/", sync_to_thread=False)
    def handler(channels: NamedDependency[annotation]) -> bool:
        return channels is plugin

    plugin = ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"])
    app = Litestar([handler], plugins=[plugin], logging_config=None)
    with TestClient(app) as client:
        assert client.get("/").json() is True
    assert app.signature_namespace["ChannelsPlugin"] is ChannelsPlugin


def test_a_subscriber_class_is_used() -> None:
    class Loud(Subscriber):
        def put_nowait(self, item: bytes | None) -> bool:
            return super().put_nowait(item and item.upper())

    async def main() -> None:
        async with ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"], subscriber_class=Loud) as plugin:
            subscriber = await plugin.subscribe("foo")
            assert isinstance(subscriber, Loud)
            plugin.publish("hello", "foo")
            assert await read_events(subscriber, 1) == [b"HELLO"]

    run(main())
    with pytest.raises(ImproperlyConfiguredException, match="a subclass of"):
        ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"], subscriber_class=reference.Subscriber)


def test_a_subclass_of_a_backend_receives_every_event() -> None:
    class Recording(MemoryChannelsBackend):
        seen: list[bytes] = []  # noqa: RUF012

        async def publish(self, data: bytes, channels: Any) -> Any:
            self.seen.append(data)
            return await super().publish(data, channels)

    async def main() -> None:
        async with ChannelsPlugin(Recording(), channels=["foo"]) as plugin:
            subscriber = await plugin.subscribe("foo")
            plugin.publish("one", "foo")
            await plugin.wait_published("two", "foo")
            assert sorted(await read_events(subscriber, 2)) == [b"one", b"two"]
            assert sorted(Recording.seen) == [b"one", b"two"]

    run(main())

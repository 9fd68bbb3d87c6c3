"""ChannelsPlugin: the behaviour that Litestar documents, and chatkit's additions."""

import inspect
from pathlib import Path
from typing import Any

import pytest
from channels import Broker, numbers, read_events, run
from litestar import Litestar, get
from litestar import channels as reference
from litestar.di import NamedDependency
from litestar.exceptions import ImproperlyConfiguredException
from litestar.testing import TestClient

import chatkit.litestar as toolkit
from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend, SqliteChannelsBackend, Subscriber


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

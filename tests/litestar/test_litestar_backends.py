"""The backends used without a plugin, and how bytes and names are stored in rooms."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from channels import run
from hypothesis import given
from hypothesis import strategies as st

from chatkit.backends import open_backend
from chatkit.core.model import Draft, Message, check_room
from chatkit.litestar import MemoryChannelsBackend, SqliteChannelsBackend
from chatkit.litestar.events import binary_frame_of, draft_of, payload_of, room_of, text_frame_of


@pytest.fixture(params=["memory", "sqlite"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return MemoryChannelsBackend(history=10) if request.param == "memory" else SqliteChannelsBackend(tmp_path / "r.db")


def test_the_event_stream_contains_the_events_of_subscribed_channels(backend: Any) -> None:
    async def main() -> None:
        await backend.subscribe(["early"])
        await backend.on_startup()
        await backend.subscribe({"foo", "bar"})
        await backend.publish(b"1", ["early", "foo", "bar", "other"])
        stream = backend.stream_events()
        assert {await anext(stream) for _ in range(3)} == {("early", b"1"), ("foo", b"1"), ("bar", b"1")}
        await backend.publish(b"2", ["foo"])
        await backend.unsubscribe(["foo", "never"])
        await backend.publish(b"3", ["foo", "bar"])
        assert await anext(stream) == ("bar", b"3")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.02)
        await backend.on_shutdown()

    run(main())


def test_calls_before_the_start_raise(backend: Any) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="on_startup"):
            await backend.publish(b"1", ["foo"])
        with pytest.raises(RuntimeError, match="on_startup"):
            await anext(backend.stream_events())
        await backend.on_shutdown()

    run(main())


def test_histories_are_bounded_for_each_channel() -> None:
    async def main() -> None:
        backend = MemoryChannelsBackend(history=3)
        await backend.on_startup()
        for number in range(9):
            await backend.publish(b"%d" % number, ["foo"])
        await backend.publish(b"x", ["bar"])
        assert await backend.get_history("foo") == [b"6", b"7", b"8"]
        assert list(backend._history["foo"]) == [b"6", b"7", b"8"]
        assert dict(backend._history).keys() == {"foo", "bar"}
        assert "never" not in backend._history
        await backend.on_shutdown()
        await backend.on_startup()
        assert await backend.get_history("bar") == [b"x"]
        assert list(backend._history.pop("bar")) == [b"x"]  # type: ignore[call-overload]
        assert await backend.get_history("bar") == []
        backend._history.clear()
        assert await backend.get_history("foo") == []
        await backend.on_shutdown()

    run(main())


def test_an_explicit_unsubscribe_deletes_a_history_in_memory() -> None:
    async def main() -> None:
        backend = MemoryChannelsBackend(history=3)
        await backend.on_startup()
        await backend.subscribe(["foo", "bar"])
        await backend.publish(b"1", ["foo", "bar"])
        await backend.unsubscribe(["foo", "never"])
        assert await backend.get_history("foo") == []
        assert await backend.get_history("bar") == [b"1"]
        await backend.on_shutdown()

    run(main())


def test_a_backend_without_history_returns_none() -> None:
    async def main() -> None:
        backend = MemoryChannelsBackend()
        await backend.on_startup()
        await backend.subscribe(["foo"])
        await backend.publish(b"1", ["foo"])
        assert await backend.get_history("foo") == []
        assert len(backend._history) == 0
        await backend.on_shutdown()

    run(main())


def test_channels_are_rooms_that_any_client_can_read(tmp_path: Path) -> None:
    async def main() -> None:
        backend = SqliteChannelsBackend(tmp_path / "r.db", synchronous="full")
        await backend.on_startup()
        await backend.publish("ä".encode(), ["ops"])
        async with open_backend(f"sqlite:///{tmp_path}/r.db") as store:
            assert [message.body for message in (await store.read("ops")).messages] == ["ä"]
            await store.append([Draft("ops", "bob", "from elsewhere", {"chatkit.bytes": "not base64!"})])
        assert await backend.get_history("ops") == ["ä".encode(), b"from elsewhere"]
        await backend.on_shutdown()

    run(main())


def _message(payload: bytes) -> Message:
    draft = draft_of("room", payload)
    return Message(draft.room, "epoch", 1, 0, draft.sender, draft.body, draft.data)


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_payloads_are_returned_unchanged(payload: bytes) -> None:
    message = _message(payload)
    assert payload_of(message) == payload
    assert text_frame_of(message).endswith(payload)
    assert binary_frame_of(message).endswith(payload)


def test_text_is_framed_as_text_and_other_payloads_as_binary() -> None:
    assert text_frame_of(_message(b"hi")) == b"\x81\x02hi"
    assert text_frame_of(_message(b"\xff")) == b"\x82\x01\xff"
    assert binary_frame_of(_message(b"hi")) == b"\x82\x02hi"


@given(st.text(max_size=80), st.text(max_size=80))
def test_every_channel_has_its_own_room(one: str, two: str) -> None:
    assert check_room(room_of(one)) == room_of(one)
    assert (room_of(one) == room_of(two)) == (one == two)
    assert room_of(room_of(one)) != room_of(one) or room_of(one) == one


def test_a_channel_with_a_valid_room_name_uses_that_room() -> None:
    assert [room_of(name) for name in ("ops", "Ops", "größe.1")] == ["ops", "Ops", "größe.1"]
    assert room_of("user:1").startswith("ch.user-1.")

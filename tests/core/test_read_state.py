"""Markers, what is unread, mentions and the search in many rooms."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from faulty_backend import Faults
from harness import run, until

from chatkit.core.access import Identity
from chatkit.core.access_store import AT_ONCE
from chatkit.core.backend import MentionPosition, RoomUnread
from chatkit.core.hub import Hub
from chatkit.core.model import Draft
from chatkit.core.read_state import MARKER, move_markers, reader_of
from chatkit.errors import BadCursor, Forbidden, NotFound


def on_a_hub(test: Callable[[Hub], Coroutine[Any, Any, Any]]) -> Any:
    async def go() -> Any:
        async with Faults() as backend, Hub(backend) as hub:
            return await test(hub)

    return run(go())


async def fill(hub: Hub, room: str, count: int, sender: str = "ann") -> None:
    for n in range(count):
        await hub.publish(Draft(room, sender, f"{room} {n}"))


def test_a_marker_moves_forward_up_to_the_end() -> None:
    async def test(hub: Hub) -> None:
        await fill(hub, "ops", 5)
        state = hub.read_state
        assert [await state.mark("bob", "ops", seq) for seq in (3, 1, -7, 4, 99, 2)] == [3, 3, 3, 4, 5, 5]
        assert [await state.marker(name, "ops") for name in ("bob", "ann")] == [5, 0]
        assert await state.marker("bob", "none") == 0
        with pytest.raises(NotFound):
            await state.mark("bob", "none", 1)

    on_a_hub(test)


def test_names_with_slashes_and_rooms_that_begin_alike_are_kept_apart() -> None:
    async def test(hub: Hub) -> None:
        for room in ("ops", "ops2"):
            await fill(hub, room, 3)
        await hub.read_state.mark("a/b", "ops", 3)
        await hub.read_state.mark("a", "ops2", 1)
        found = {name: await hub.read_state.unread(name, bool) for name in ("a", "a/b", "a/")}
        assert found == {
            "a": [RoomUnread("ops2", 1, 3, 2, 0)],
            "a/b": [RoomUnread("ops", 3, 3, 0, 0)],
            "a/": [],
        }

    on_a_hub(test)


def test_rooms_that_may_not_be_read_are_left_out() -> None:
    async def test(hub: Hub) -> None:
        for room in ("open", "closed"):
            await fill(hub, room, 2)
            await hub.read_state.mark("bob", room, 1)
        found = await hub.read_state.unread("bob", lambda room: room == "open")
        assert [each.room for each in found] == ["open"]

    on_a_hub(test)


def test_a_marker_is_void_in_a_log_that_began_again() -> None:
    async def test(hub: Hub) -> None:
        await fill(hub, "ops", 5)
        await hub.read_state.mark("bob", "ops", 4)
        await hub.delete_room("ops")
        await fill(hub, "ops", 2)
        assert await hub.read_state.marker("bob", "ops") == 0
        assert await hub.read_state.unread("bob", bool) == [RoomUnread("ops", 0, 2, 2, 0)]
        assert await hub.read_state.mark("bob", "ops", 1) == 1

    on_a_hub(test)


def test_markers_follow_a_room_to_its_new_name() -> None:
    async def test(hub: Hub) -> None:
        await fill(hub, "old", 3)
        await fill(hub, "older", 3)
        for name in ("bob", "cat/dan"):
            await hub.read_state.mark(name, "old", 2)
            await hub.read_state.mark(name, "older", 1)
        await hub.rename_room("old", "new")
        backend: Any = hub._backend
        await move_markers(backend, "old", "new")
        assert await hub.read_state.unread("cat/dan", bool) == [
            RoomUnread("new", 2, 3, 1, 0), RoomUnread("older", 1, 3, 2, 0),
        ]  # fmt: skip
        await move_markers(backend, "new", None)
        assert [each.room for each in await hub.read_state.unread("bob", bool)] == ["older"]

    on_a_hub(test)


def test_other_tasks_run_while_the_markers_of_a_room_are_looked_for() -> None:
    async def test(hub: Hub) -> None:
        backend: Any = hub._backend
        for n in range(5 * AT_ONCE):
            await backend.put_record(MARKER, f"ann/other{n}", b"", expected_version=0)
        moving = asyncio.ensure_future(move_markers(backend, "old", "new"))
        n_turns = 0
        while not moving.done():
            n_turns += 1
            await asyncio.sleep(0)
        assert n_turns >= 5

    on_a_hub(test)


def test_the_watchers_of_a_name_learn_of_its_markers() -> None:
    async def test(hub: Hub) -> None:
        await fill(hub, "ops", 3)
        seen: list[tuple[str, int]] = []
        others: list[tuple[str, int]] = []

        def see(room: str, seq: int) -> None:
            seen.append((room, seq))

        hub.read_state.watch("bob", see)
        hub.read_state.watch("ann", lambda room, seq: others.append((room, seq)))
        await hub.read_state.mark("bob", "ops", 2)
        await until(lambda: seen)
        hub.read_state.unwatch("bob", see)
        await hub.read_state.mark("bob", "ops", 3)
        assert (seen, others) == ([("ops", 2)], [])

    on_a_hub(test)


@pytest.mark.parametrize(
    ("identity", "is_open", "is_known"),
    [
        (Identity("ann", is_verified=True), False, True),
        (Identity("ann"), False, False),
        (Identity("ann"), True, True),
        (Identity("anonymous"), True, False),
    ],
)
def test_what_was_read_is_kept_for_somebody_who_is_known(identity: Identity, *, is_open: bool, is_known: bool) -> None:
    if is_known:
        assert reader_of(identity, is_open=is_open) == "ann"
    else:
        with pytest.raises(Forbidden):
            reader_of(identity, is_open=is_open)


@pytest.mark.parametrize("text", ["", "1", "1:2", "1:2:", "a:2:ops", "1:b:ops", ":::", "1" * 30 + ":1:ops", "-1:2:ops"])
def test_a_text_that_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        MentionPosition.parse(text)
    position = MentionPosition(12, "a-room", 3)
    assert MentionPosition.parse(str(position)) == position

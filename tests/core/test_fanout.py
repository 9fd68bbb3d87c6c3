"""Rounds of the fan-out: at once without load, paced under load, early when there is enough to deliver."""

import asyncio
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any

import pytest

from chatkit.core import fanout as bells_module
from chatkit.core.backend import Backend
from chatkit.core.fanout import ENOUGH_CHARS, Fanout
from chatkit.core.page_cache import PageCache
from chatkit.core.room import Room
from chatkit.core.signals import Signal


class Reader:
    is_closed = False
    n_read = 0
    n_due = 0

    def __init__(self, rung: list[str], name: str) -> None:
        self._rung = rung
        self._name = name

    def wake(self) -> None:
        self._rung.append(self._name)

    def notify(self, signal: Signal) -> None:
        raise AssertionError("nothing here signals")

    def close(self) -> None:
        raise AssertionError("nothing here closes")


class Scene:
    """Rooms whose readers record their wakes, and a fan-out whose pause is as long as a test needs."""

    def __init__(self, backend: Backend) -> None:
        self.fanout = Fanout()
        self.woken: list[str] = []
        self._backend = backend

    def room(self, name: str, n_readers: int = 1) -> Room:
        room = Room(name, self._backend, PageCache(), lambda job: job.close())
        readers = [Reader(self.woken, f"{name}{n}") for n in range(n_readers)]
        room.readers = {reader: reader.wake for reader in readers}
        return room

    def grow(self, room: Room, body: str = "hi") -> None:
        self.fanout.schedule(room, len(body) + 64)

    def rest(self, seconds: float) -> None:
        self.fanout._pause_until = perf_counter() + seconds


def run(test: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        from chatkit.backends import open_backend  # noqa: PLC0415  # entered here, in the test's loop

        async with open_backend("memory://") as backend:
            await test(Scene(backend))

    asyncio.run(main())


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_readers_of_an_idle_server_are_woken_in_the_next_turn_newest_first() -> None:
    async def test(scene: Scene) -> None:
        scene.grow(scene.room("a", 3))
        await turn()
        assert scene.woken == ["a2", "a1", "a0"]
        assert scene.fanout.is_idle

    run(test)


def test_growth_during_a_pause_wakes_readers_once_when_it_ends() -> None:
    async def test(scene: Scene) -> None:
        scene.rest(0.03)
        room = scene.room("a")
        for _ in range(3):
            scene.grow(room)
            await turn()
        assert scene.woken == []
        async with asyncio.timeout(5):
            while not scene.woken:  # noqa: ASYNC110  # the fan-out is what is watched
                await asyncio.sleep(0.005)
        assert scene.woken == ["a0"]

    run(test)


def test_enough_to_deliver_ends_the_pause() -> None:
    async def test(scene: Scene) -> None:
        scene.rest(1000)
        room = scene.room("a")
        scene.grow(room)
        await turn()
        assert scene.woken == []
        scene.grow(room, "x" * ENOUGH_CHARS)
        await turn()
        assert scene.woken == ["a0"]
        assert scene.fanout.is_idle

    run(test)


def test_the_pause_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(scene: Scene) -> None:
        scene.grow(scene.room("a", 5))
        await turn()
        assert scene.fanout._pause_until - perf_counter() <= bells_module.MAX_PAUSE_S

    monkeypatch.setattr(bells_module, "PACE", 1e9)
    run(test)


def test_a_room_that_grows_during_the_round_of_a_giant_one_is_served_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(scene: Scene) -> None:
        giant, small = scene.room("giant", 100), scene.room("small")
        scene.grow(giant)
        await asyncio.sleep(0)
        assert len(scene.woken) == 10
        scene.grow(small)
        scene.grow(giant)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert "small0" in scene.woken
        async with asyncio.timeout(5):
            while not scene.fanout.is_idle:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0)
        assert len(scene.woken) == 201

    monkeypatch.setattr(bells_module, "WAKES_A_TURN", 10)
    monkeypatch.setattr(bells_module, "PACE", 0.0)
    run(test)

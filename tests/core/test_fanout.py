"""Deliveries of the fan-out: at once without load, each room paced by its own cost and other work, early if enough."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from chatkit.core import fanout as fanout_module
from chatkit.core.backend import Backend
from chatkit.core.fanout import ENOUGH_CHARS, MAX_PAUSE_S, MIN_PAUSE_S, QUIET_S, WAKES_A_ROOM, WAKES_A_TURN, Fanout
from chatkit.core.page_cache import PageCache
from chatkit.core.room import Room
from chatkit.core.signals import Signal

WAKE_S = 0.00001


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while readers are woken, and while it waits for a timer."""

    now_s = 1000.0
    worked_s = 0.0

    def time(self) -> float:
        return self.now_s

    def work_time(self) -> float:
        return self.worked_s

    def pass_time(self, seconds: float) -> None:
        """Let time pass; the timers that are due run in the next turn."""
        self.now_s += seconds

    def work(self, seconds: float) -> None:
        """Let time pass in which the processor works."""
        self.now_s += seconds
        self.worked_s += seconds


class Reader:
    is_closed = False
    n_read = 0
    n_due = 0

    def __init__(self, scene: "Scene", name: str) -> None:
        self._scene = scene
        self._name = name

    def wake(self) -> None:
        self._scene.loop.work(WAKE_S)
        self._scene.woken.append(self._name)
        self._scene.woken_at[self._name].append(self._scene.loop.time())

    def notify(self, signal: Signal) -> None:
        raise AssertionError("nothing here signals")

    def close(self) -> None:
        raise AssertionError("nothing here closes")


class Scene:
    """Rooms whose readers record their wakes. A wake takes 10 microseconds of virtual time."""

    def __init__(self, backend: Backend, loop: VirtualLoop) -> None:
        self.loop = loop
        self.fanout = Fanout(loop.time, loop.work_time)
        self.woken: list[str] = []
        self.woken_at: defaultdict[str, list[float]] = defaultdict(list)
        self._backend = backend

    def room(self, name: str, n_readers: int = 1) -> Room:
        room = Room(name, self._backend, PageCache(), lambda job: job.close())
        readers = [Reader(self, f"{name}{n}") for n in range(n_readers)]
        room.readers = {reader: reader.wake for reader in readers}
        return room

    def grow(self, room: Room, body: str = "hi") -> None:
        self.fanout.schedule(room, len(body) + 64)

    async def pass_time(self, seconds: float) -> None:
        self.loop.pass_time(seconds)
        await turn()

    async def deliver(self, room: Room, *, others: float) -> None:
        """Deliver to the room twice. In between, other work takes this share of the processor's time."""
        self.grow(room)
        await turn()
        self.loop.work(10.0 * others)
        await self.pass_time(10.0 * (1 - others))
        del self.woken[:]
        self.grow(room)
        await turn()


def run(test: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    loop = VirtualLoop()

    async def main() -> None:
        from chatkit.backends import open_backend  # noqa: PLC0415  # entered here, in the test's loop

        async with open_backend("memory://") as backend:
            await test(Scene(backend, loop))

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def until_idle(scene: Scene) -> None:
    for _ in range(1000):
        if scene.fanout.is_idle:
            return
        await scene.pass_time(0.001)
    raise AssertionError("readers are still due after a second")


def test_readers_of_an_idle_server_are_woken_in_the_next_turn_newest_first() -> None:
    async def test(scene: Scene) -> None:
        scene.grow(scene.room("a", 3))
        await turn()
        assert scene.woken == ["a2", "a1", "a0"]
        assert scene.fanout.is_idle

    run(test)


def test_growth_during_a_pause_wakes_readers_once_when_it_ends() -> None:
    async def test(scene: Scene) -> None:
        room = scene.room("a", 100)
        await scene.deliver(room, others=0.0)
        del scene.woken[:]
        for _ in range(3):
            scene.grow(room)
            await scene.pass_time(0.0001)
        assert scene.woken == []
        await scene.pass_time(0.001)
        assert len(scene.woken) == 100
        assert scene.fanout.is_idle
        await until_idle(scene)
        assert len(scene.woken) == 100

    run(test)


@pytest.mark.parametrize(
    ("others", "pause"),
    [(0.0, 1), (0.2, 1), (0.4, 1.5), (0.5, 3), (0.6, 8), (1.0, 8)],
)
def test_the_pause_is_as_long_as_the_delivery_and_longer_if_other_work_needs_the_processor(
    others: float, pause: float
) -> None:
    async def test(scene: Scene) -> None:
        room = scene.room("a", 100)
        took_s = 100 * WAKE_S
        await scene.deliver(room, others=others)
        scene.grow(room)
        await scene.pass_time(pause * took_s - MIN_PAUSE_S - 0.0001)
        assert len(scene.woken) == 100
        await scene.pass_time(MIN_PAUSE_S + 0.0002)
        assert len(scene.woken) == 200

    run(test)


def test_the_first_delivery_to_a_room_is_followed_by_a_short_pause() -> None:
    async def test(scene: Scene) -> None:
        scene.loop.work(100.0)
        room = scene.room("a", 100)
        scene.grow(room)
        await turn()
        scene.grow(room)
        await scene.pass_time(100 * WAKE_S)
        assert len(scene.woken) == 200

    run(test)


def test_a_room_with_few_readers_does_not_pause() -> None:
    async def test(scene: Scene) -> None:
        room = scene.room("a", 5)
        for n in range(3):
            scene.grow(room)
            await turn()
            assert len(scene.woken) == 5 * (n + 1)

    run(test)


def test_enough_to_deliver_ends_the_pause() -> None:
    async def test(scene: Scene) -> None:
        room = scene.room("a", 100)
        await scene.deliver(room, others=1.0)
        scene.grow(room)
        await turn()
        assert len(scene.woken) == 100
        scene.grow(room, "x" * ENOUGH_CHARS)
        await turn()
        assert len(scene.woken) == 200
        assert scene.fanout.is_idle

    run(test)


def test_the_pause_is_bounded() -> None:
    async def test(scene: Scene) -> None:
        room = scene.room("a", WAKES_A_ROOM)
        await scene.deliver(room, others=1.0)
        scene.grow(room)
        await scene.pass_time(MAX_PAUSE_S - 0.001)
        assert len(scene.woken) == WAKES_A_ROOM
        await scene.pass_time(0.001)
        assert len(scene.woken) == 2 * WAKES_A_ROOM

    run(test)


def test_a_small_room_does_not_wait_for_the_pause_of_a_giant_one() -> None:
    async def test(scene: Scene) -> None:
        giant, small = scene.room("giant", WAKES_A_ROOM), scene.room("small", 2)
        scene.grow(giant)
        await turn()
        scene.grow(giant)
        for _ in range(5):
            del scene.woken[:]
            scene.grow(small)
            await turn()
            assert scene.woken == ["small1", "small0"]

    run(test)


def test_a_room_that_grows_during_the_delivery_of_a_giant_one_is_served_in_between() -> None:
    async def test(scene: Scene) -> None:
        giant, small = scene.room("giant", 10 * WAKES_A_ROOM), scene.room("small")
        scene.grow(giant)
        await asyncio.sleep(0)
        assert len(scene.woken) == WAKES_A_ROOM
        scene.grow(small)
        scene.grow(giant)
        await turn()
        assert "small0" in scene.woken
        assert len(scene.woken) < 4 * WAKES_A_ROOM
        await until_idle(scene)
        assert len(scene.woken) == 20 * WAKES_A_ROOM + 1

    run(test)


def test_a_message_in_a_quiet_room_is_delivered_before_those_of_a_thousand_busy_rooms() -> None:
    async def test(scene: Scene) -> None:
        busy, quiet = [scene.room(f"busy{n}-", 5) for n in range(1000)], scene.room("quiet", 5)
        for room in busy:
            scene.grow(room)
        await until_idle(scene)
        for _ in range(10):
            scene.loop.pass_time(QUIET_S / 2)
            for room in busy:
                room.delivered_at = scene.loop.time()
                scene.grow(room)
            await asyncio.sleep(0)
            quiet.delivered_at = scene.loop.time() - 2 * QUIET_S
            scene.grow(quiet)
            await asyncio.sleep(0)
            assert not scene.fanout.is_idle
            assert "quiet0" in scene.woken[-WAKES_A_TURN - 1000 :]
            del scene.woken[:]

    run(test)


def test_quiet_rooms_leave_half_of_each_turn_to_busy_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(scene: Scene) -> None:
        busy = scene.room("busy", 2)
        scene.grow(busy)
        await turn()
        for n in range(100):
            scene.grow(scene.room(f"quiet{n}-", 2))
        scene.grow(busy)
        await asyncio.sleep(0)
        assert len(scene.woken_at["busy0"]) == 2
        assert not scene.fanout.is_idle
        await until_idle(scene)

    monkeypatch.setattr(fanout_module, "WAKES_A_TURN", 8)
    run(test)


def test_large_quiet_rooms_leave_every_second_turn_to_busy_ones() -> None:
    async def test(scene: Scene) -> None:
        busy = scene.room("busy", 2)
        scene.grow(busy)
        await turn()
        for n in range(3):
            scene.grow(scene.room(f"quiet{n}-", WAKES_A_TURN))
        scene.grow(busy)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(scene.woken_at["busy0"]) == 2
        assert not scene.fanout.is_idle
        await until_idle(scene)

    run(test)


def test_the_duration_of_a_delivery_includes_the_wait_of_its_last_reader() -> None:
    async def test(scene: Scene) -> None:
        giant = scene.room("giant", 2 * WAKES_A_ROOM)
        scene.grow(giant)
        await asyncio.sleep(0)
        assert len(scene.woken) == WAKES_A_ROOM
        scene.loop.pass_time(1.0)
        scene.grow(giant)  # does not begin the delivery again
        await asyncio.sleep(0)
        assert len(scene.woken) == 2 * WAKES_A_ROOM
        assert scene.fanout.durations.read().sum_s > 1.0
        await until_idle(scene)

    run(test)


def test_a_backlog_is_served_within_a_bounded_number_of_turns() -> None:
    async def test(scene: Scene) -> None:
        rooms = [scene.room(f"{n}-", 3) for n in range(10_000)]
        for room in rooms:
            scene.grow(room)
        for _ in range(100):
            await asyncio.sleep(0)
        assert scene.fanout.is_idle
        assert len(scene.woken) == 30_000

    run(test)


def test_a_room_without_readers_is_left() -> None:
    async def test(scene: Scene) -> None:
        scene.grow(scene.room("empty", 0))
        await turn()
        assert scene.fanout.is_idle
        assert not scene.fanout._rooms

    run(test)

"""Dear work is done a little at a time, in turn, for those who are still there."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from harness import run, turns, until

from chatkit.core.fair_queue import FairQueue
from chatkit.errors import RateLimited, Unavailable


def queue(**options: Any) -> FairQueue:
    return FairQueue(
        "a search", **{"max_running": 1, "max_waiting": 100, "max_waiting_each": 10, "limit_s": 60.0, **options}
    )


class Work:
    """Calls that end when they are let go, and the order in which they began."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    def call(self, name: str) -> Callable[[], Coroutine[Any, Any, str]]:
        async def work() -> str:
            self.began.append(name)
            await self.gates.setdefault(name, asyncio.Event()).wait()
            return name

        return work

    def end(self, name: str) -> None:
        self.gates.setdefault(name, asyncio.Event()).set()


def test_addresses_take_turns_and_so_do_the_connections_of_an_address() -> None:
    async def test() -> None:
        fair, work = queue(), Work()
        asked = [("a", 1, "a1")] * 4 + [("a", 2, "a2"), ("b", 1, "b1"), ("b", 1, "b1")]
        tasks = []
        for number, (address, connection, name) in enumerate(asked):
            tasks.append(asyncio.ensure_future(fair.run((address, connection), work.call(f"{name} {number}"))))
        await until(lambda: fair.n_waiting == len(asked) - 1)
        for number, (_, _, name) in enumerate(asked):
            work.end(f"{name} {number}")
        await asyncio.gather(*tasks)
        assert [name.split()[0] for name in work.began] == ["a1", "a1", "b1", "a2", "b1", "a1", "a1"]
        assert (fair.n_running, fair.n_waiting) == (0, 0)

    run(test())


def test_a_call_cancelled_while_it_waits_never_starts() -> None:
    async def test() -> None:
        fair, work = queue(), Work()
        first = asyncio.ensure_future(fair.run(("a", 1), work.call("first")))
        gone = [asyncio.ensure_future(fair.run(("a", n), work.call("gone"))) for n in range(20)]
        last = asyncio.ensure_future(fair.run(("b", 1), work.call("last")))
        await until(lambda: fair.n_waiting == 21)
        for task in gone:
            task.cancel()
        await turns()
        assert fair.n_waiting == 1
        work.end("first")
        work.end("last")
        assert list(await asyncio.gather(first, last)) == ["first", "last"]
        assert work.began == ["first", "last"]
        assert (fair.n_running, fair.n_waiting) == (0, 0)

    run(test())


def test_calls_cancelled_together_leave_an_empty_queue() -> None:
    async def test() -> None:
        fair, work = queue(max_running=2), Work()
        tasks = [asyncio.ensure_future(fair.run((str(n % 3), n), work.call("x"))) for n in range(20)]
        await until(lambda: fair.n_waiting == 18)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert (fair.n_running, fair.n_waiting, fair._addresses) == (0, 0, {})

    run(test())


def test_a_call_cancelled_in_its_turn_passes_the_slot_on() -> None:
    async def test() -> None:
        fair, work = queue(), Work()
        tasks = [asyncio.ensure_future(fair.run(("a", n), work.call(str(n)))) for n in range(3)]
        await until(lambda: fair.n_waiting == 2)
        work.end("0")
        await until(tasks[0].done)
        tasks[1].cancel()  # whether it has begun or not
        work.end("2")
        assert await tasks[2] == "2"
        assert (fair.n_running, fair.n_waiting) == (0, 0)

    run(test())


def test_waiting_calls_are_bounded_for_each_client_and_in_total() -> None:
    async def test() -> None:
        fair, work = queue(max_waiting=3, max_waiting_each=2), Work()
        tasks = [asyncio.ensure_future(fair.run(("a", 1), work.call("x"))) for _ in range(3)]
        await until(lambda: fair.n_waiting == 2)
        with pytest.raises(RateLimited):
            await fair.run(("a", 1), work.call("x"))
        tasks.append(asyncio.ensure_future(fair.run(("a", 2), work.call("x"))))
        await until(lambda: fair.n_waiting == 3)
        with pytest.raises(Unavailable, match="too many"):
            await fair.run(("b", 1), work.call("x"))
        work.end("x")
        await asyncio.gather(*tasks)

    run(test())


def test_a_call_over_the_time_limit_is_cancelled_and_frees_its_slot() -> None:
    async def test() -> None:
        fair, work = queue(limit_s=0.0), Work()
        for _ in range(2):
            with pytest.raises(Unavailable, match="took longer"):
                await fair.run(("a", 1), work.call("endless"))
        assert (fair.n_running, fair.n_waiting) == (0, 0)

    run(test())

"""The thread that runs the client of programs without an event loop."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import pytest

from chatkit.client.loop_thread import LoopThread
from chatkit.errors import NotFound, Unavailable


async def never() -> None:
    await asyncio.get_running_loop().create_future()


def test_coroutines_run_in_the_order_of_the_calls_while_the_resource_is_entered() -> None:
    steps: list[object] = []

    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        steps.append("entered")
        yield
        steps.append("left")

    async def note(number: int) -> int:
        steps.append(number)
        return number

    loop = LoopThread(resource())
    assert steps == []
    assert [loop.wait(future) for future in [loop.submit(note, number) for number in range(3)]] == [0, 1, 2]
    loop.close()
    loop.close()
    assert steps == ["entered", 0, 1, 2, "left"]


def test_an_error_is_raised_where_its_result_is_waited_for() -> None:
    async def fail() -> None:
        raise NotFound("no such room")

    loop = LoopThread(nullcontext())
    with pytest.raises(NotFound, match="no such room"):
        loop.wait(loop.submit(fail))
    loop.close()


def test_an_error_of_the_resource_is_raised_by_the_first_call() -> None:
    class Failing(nullcontext[None]):
        async def __aenter__(self) -> None:
            raise NotFound("no such thing")

    loop = LoopThread(Failing())
    with pytest.raises(NotFound, match="no such thing"):
        loop.submit(never)
    with pytest.raises(Unavailable):
        loop.submit(never)
    loop.close()


def test_closing_ends_what_waits_and_what_comes_later() -> None:
    loop = LoopThread(nullcontext())
    waiting = loop.submit(never)
    loop.close()
    with pytest.raises(Unavailable, match="was closed"):
        loop.wait(waiting)
    with pytest.raises(Unavailable, match="was closed"):
        loop.submit(never)


def test_no_thread_is_started_without_a_coroutine() -> None:
    before = threading.active_count()
    loop = LoopThread(nullcontext())
    assert threading.active_count() == before
    loop.close()


def test_a_call_that_would_wait_for_its_own_thread_is_refused() -> None:
    loop = LoopThread(nullcontext())

    async def wait_for_itself() -> None:
        loop.wait(loop.submit(never))

    with pytest.raises(RuntimeError, match="in the thread of the client"):
        loop.wait(loop.submit(wait_for_itself))
    loop.close()

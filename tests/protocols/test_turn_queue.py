"""Clients that send as fast as they can share a bounded part of each iteration of the event loop."""

import asyncio
from functools import partial
from typing import Any

import pytest
from protocol_app import Client as RawClient
from protocol_app import DirectEcho, Receive, Send, eventually, frame, run, serving

from chatkit.protocols.turn_queue import TurnQueue

N_HOSTILE = 40
N_REQUESTS = 200  # on each connection
REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
MOST_REQUESTS = 30  # one in each iteration of the event loop, and an echo needs some


def test_each_iteration_takes_one_turn_in_order() -> None:
    async def test() -> None:
        queue, taken = TurnQueue(asyncio.get_running_loop()), list[int]()
        for n in range(10):
            queue.add(partial(taken.append, n))
        for n_iterations in range(1, 11):
            await asyncio.sleep(0)
            assert taken == list(range(n_iterations))
        queue.add(partial(taken.append, -1))
        await asyncio.sleep(0)
        assert taken[-1] == -1

    run(test, "asyncio")


def test_a_turn_is_taken_at_once_only_if_no_other_was_in_this_iteration() -> None:
    async def test() -> None:
        queue, taken = TurnQueue(asyncio.get_running_loop()), list[int]()
        assert queue.start_now()
        assert not queue.start_now()
        queue.add(partial(taken.append, 1))
        queue.add(partial(taken.append, 2))
        await asyncio.sleep(0)
        assert taken == [1]
        assert not queue.start_now()  # the second is before it
        await asyncio.sleep(0)
        assert taken == [1, 2]
        await asyncio.sleep(0)
        assert queue.start_now()

    run(test, "asyncio")


def test_a_connection_that_always_has_more_to_do_waits_for_the_others() -> None:
    async def test() -> None:
        queue, taken = TurnQueue(asyncio.get_running_loop()), list[str]()

        def turn(name: str) -> None:
            taken.append(name)
            queue.add(partial(turn, name))

        for name in "abc":
            queue.add(partial(turn, name))
        for _ in range(30):
            await asyncio.sleep(0)
        counts = [taken.count(name) for name in "abc"]
        assert max(counts) - min(counts) <= 1

    run(test, "asyncio")


def test_an_error_in_a_turn_does_not_stop_the_others() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        errors, taken = list[object](), list[int]()
        loop.set_exception_handler(lambda _loop, context: errors.append(context["exception"]))
        queue = TurnQueue(loop)
        queue.add(lambda: taken.remove(0))  # raises
        for n in range(3):
            queue.add(partial(taken.append, n))
        for _ in range(4):
            await asyncio.sleep(0)
        assert len(errors) == 1
        assert taken == [0, 1, 2]

    run(test, "asyncio")


class CountingApp(DirectEcho):
    """Echoes on WebSockets, and counts HTTP requests."""

    n_requests = 0

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        self.n_requests += 1
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_echo_waits_for_few_requests_of_many_pipelines(loop: str) -> None:
    async def test() -> None:
        app = CountingApp()
        async with serving(app) as served:
            honest = await RawClient.connect(served.port)
            hostile = [await RawClient.connect(served.port, None) for _ in range(N_HOSTILE)]
            for client in hostile:
                client.send(REQUEST * N_REQUESTS)
            await eventually(lambda: app.n_requests > N_HOSTILE)
            n_before = app.n_requests
            honest.send(frame(0x81, b"hello"))
            assert await honest.frame() == (0x81, b"hello")
            n_meanwhile = app.n_requests - n_before
            for client in hostile:
                client.transport.abort()
            await honest.close()
            await served.empty()
        assert n_meanwhile <= MOST_REQUESTS < N_HOSTILE

    run(test, loop)

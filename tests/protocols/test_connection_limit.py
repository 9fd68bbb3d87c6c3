"""The limit on open connections, which counts those of every protocol."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from http_app import GET, Page, answer, problem
from protocol_app import HEAD, Client, Clock, Echo, Serving, eventually, frame, run, run_on_clock, serving

pytest_plugins = ["loop_fixture"]


@asynccontextmanager
async def full(served: Serving, n: int) -> AsyncIterator[list[Client]]:
    clients = [await Client.connect(served.port) for _ in range(n)]
    yield clients
    for client in clients:
        client.cut()


def test_connections_of_every_protocol_are_counted(loop: str) -> None:
    async def test() -> None:
        page = Page(answer=b"ok")
        page.may_answer.clear()
        async with serving(page, limit_concurrency=4) as served, full(served, 2):
            busy = await Client.connect(served.port, None)
            busy.send(GET)
            await eventually(lambda: len(page.scopes) == 1)
            for request in (GET, HEAD + b"\r\n"):
                refused = await Client.connect(served.port, None)
                refused.send(request)
                assert await problem(refused) == (503, "unavailable")
                await refused.close()
            page.may_answer.set()
            assert await answer(busy) == (200, b"ok")
            idle_one_counts = await Client.connect(served.port, None)
            idle_one_counts.send(GET)
            assert await problem(idle_one_counts) == (503, "unavailable")
            await idle_one_counts.close()
            busy.send(GET)
            assert await answer(busy) == (200, b"ok")
            await busy.close()
            await eventually(lambda: len(served.connections) == 2)
            again = await Client.connect(served.port, None)
            again.send(GET)
            assert await answer(again) == (200, b"ok")
            await again.close()

    run(test, loop)


def test_an_idle_connection_is_closed_for_a_request() -> None:
    async def test(clock: Clock) -> None:
        async with serving(Page(answer=b"ok"), limit_concurrency=3) as served:
            idle = [await Client.connect(served.port, None) for _ in range(2)]
            for client in idle:
                client.send(GET)
                assert await answer(client) == (200, b"ok")
            await clock.skip(1.5)
            newcomer = await Client.connect(served.port, None)
            newcomer.send(GET)
            assert await answer(newcomer) == (200, b"ok")
            await eventually(lambda: len(served.connections) == 2)
            for client in [*idle, newcomer]:
                client.cut()

    run_on_clock(test)


def test_silent_connections_do_not_block_others(loop: str) -> None:
    async def test() -> None:
        async with serving(Echo(), limit_concurrency=4) as served, full(served, 2):
            silent = [await Client.connect(served.port, None) for _ in range(60)]
            limit = next(iter(served.connections))._shared.limit
            await eventually(lambda: len(served.connections) <= limit.max_open)
            assert limit.max_open == 3 + 16
            slow = await Client.connect(served.port, None)
            slow.send(GET[:10])
            client = await Client.connect(served.port)
            client.send(frame(0x81, b"hi"))
            assert await client.frame() == (0x81, b"hi")
            for one in [*silent, slow, client]:
                one.cut()

    run(test, loop)


def test_lost_connections_are_not_counted(loop: str) -> None:
    async def test() -> None:
        async with serving(Page(answer=b"ok"), limit_concurrency=4) as served:
            first = await Client.connect(served.port, None)
            await eventually(lambda: served.connections)
            limit = next(iter(served.connections))._shared.limit
            for _ in range(20):
                async with full(served, 2):
                    client = await Client.connect(served.port, None)
                    client.send(GET)
                    assert await answer(client) == (200, b"ok")
                    client.cut()
                await eventually(lambda: len(served.connections) == 1)
            first.cut()
            await served.empty()
            assert (limit.n_served, limit.n_waiting, limit._idle, limit._aborted) == (0, 0, {}, set())

    run(test, loop)


def test_a_client_with_a_tiny_window_gets_its_rejection() -> None:
    async def test() -> None:
        async with serving(Page()) as served:
            with socket.socket() as opened:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                opened.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(opened, ("127.0.0.1", served.port))
                await loop.sock_sendall(opened, b"GET / HTTP/1.1\r\n\r\n")
                got = b""
                while part := await loop.sock_recv(opened, 10):
                    got += part
            assert b'"status":400' in got
            await served.empty()

    run(test)

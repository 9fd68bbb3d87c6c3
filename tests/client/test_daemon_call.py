"""Blocking calls of the client: a cancelled one ends at once, however long the other end is silent."""

import asyncio
import threading

import pytest

from chatkit.client import Client
from chatkit.client.daemon_call import call_in_daemon
from chatkit.pytest_plugin.accepting import accepting


def test_a_cancelled_read_closes_its_connection_and_is_not_repeated() -> None:
    async def test() -> None:
        asked, left = asyncio.Event(), asyncio.Event()
        n_connections = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal n_connections
            n_connections += 1
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            assert await reader.read() == b""
            left.set()
            writer.close()

        async with accepting(serve) as port, Client(f"http://127.0.0.1:{port}") as client:
            reading = asyncio.ensure_future(client.rooms())
            await asked.wait()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await left.wait()
        assert n_connections == 1

    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_call_that_nothing_interrupts_does_not_hold_up_the_end_of_the_loop() -> None:
    may_end = threading.Event()

    async def test() -> None:
        calling = asyncio.ensure_future(call_in_daemon(may_end.wait))
        await asyncio.sleep(0)  # the thread runs
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling

    asyncio.run(test())
    may_end.set()


def test_a_call_returns_its_value_or_raises_its_error() -> None:
    assert asyncio.run(call_in_daemon(lambda: 7)) == 7
    with pytest.raises(ZeroDivisionError):
        asyncio.run(call_in_daemon(lambda: 1 // 0))

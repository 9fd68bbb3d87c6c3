"""Deadlines for each part of a request and for each message: sending slowly does not extend them."""

import asyncio

import pytest
from http_app import CHUNKED, GET, Page, answer
from protocol_app import HEAD, Client, Clock, Echo, eventually, frame, run_on_clock, serving


async def trickle(clock: Clock, client: Client, data: bytes, every_s: float, n: int) -> None:
    """Send the same bytes again and again, until the server has ended the connection or often enough."""
    for _ in range(n):
        client.send(data)
        for _ in range(20):
            await asyncio.sleep(0)
        await clock.skip(every_s)


@pytest.mark.parametrize(
    ("begin", "each"),
    [
        (b"GET / HTTP/1.1\r\nHost: test\r\nX: ", b"x"),
        (b"\r\n", b"\r\n"),
        (b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED + b"2;", b"x"),
        (CHUNKED + b"2\r\nhi\r\n0\r\n", b"a: b\r\n"),
        (GET, b"\r\n"),
        (HEAD[:-2], b"x"),
    ],
)
def test_no_deadline_restarts_with_each_byte(begin: bytes, each: bytes) -> None:
    async def test(clock: Clock) -> None:
        async with serving(Page()) as served:
            client = await Client.connect(served.port, None)
            client.send(begin)
            await eventually(lambda: served.connections)
            await trickle(clock, client, each, 3, 14)
            await served.empty()
            client.cut()

    run_on_clock(test)


def test_a_body_at_a_modest_rate_is_read_completely() -> None:
    async def test(clock: Clock) -> None:
        page = Page()
        async with serving(page) as served:
            client = await Client.connect(served.port, None)
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 400000\r\n\r\n")
            await eventually(lambda: page.scopes)
            for _ in range(20):
                client.send(bytes(20_000))
                await asyncio.sleep(0.01)
                await clock.skip(10)
            status, body = await answer(client)
            assert (status, len(body)) == (200, 400_000)
            await client.close()

    run_on_clock(test)


def test_a_half_closed_connection_with_a_full_buffer_is_closed() -> None:
    async def test(clock: Clock) -> None:
        async with serving(Page(answer=bytes(20_000_000))) as served:
            client = await Client.connect(served.port, None)
            client.transport.pause_reading()
            client.send(GET)
            await eventually(lambda: served.tasks)
            client.writer.write_eof()
            await clock.skip(130)
            await served.empty()
            client.cut()

    run_on_clock(test)


def test_a_connection_whose_message_arrives_too_slowly_is_closed() -> None:
    async def test(clock: Clock) -> None:
        async with serving(Echo()) as served:
            slow = await Client.connect(served.port)
            steady = await Client.connect(served.port)
            slow.send(frame(0x81, bytes(1_000))[:20])
            whole = frame(0x81, b"x" * 500)
            code = asyncio.create_task(slow.close_code())
            for n in range(30):
                if not code.done():
                    slow.send(b"x")
                steady.send(whole[100:] * bool(n) + whole[:100])  # a part is always awaited, of another message
                await asyncio.sleep(0.01)
                await clock.skip(5)
            assert await code == 1008
            for _ in range(29):
                first, payload = await steady.frame()
                while first == 0x89:
                    first, payload = await steady.frame()
                assert (first, payload) == (0x81, b"x" * 500)
            slow.cut()
            steady.cut()

    run_on_clock(test)

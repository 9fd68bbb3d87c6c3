"""The rest of a body whose request was answered or rejected before its end."""

import asyncio
import contextlib
from typing import Any

import pytest
from http_app import CHUNKED, GET, Page, answer, problem
from protocol_app import Client, Clock, run, run_on_clock, serving

pytest_plugins = ["loop_fixture"]


@pytest.mark.parametrize("each", [b"x", b"x" * 600_000])
def test_the_rest_of_a_rejected_body_is_dropped_within_bounds(each: bytes) -> None:
    async def test(clock: Clock) -> None:
        async with serving(Page(answer=b"no", reads=False, status=401)) as served:
            client = await Client.connect(served.port, None)
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 900000000\r\n\r\n")
            assert await answer(client) == (401, b"no")
            for _ in range(12):
                client.send(each)
                await asyncio.sleep(0.01)
                await clock.skip(0.7)
            with contextlib.suppress(ConnectionError):  # it was cut off while it sent
                assert await client.rest() == b""  # nothing behind the response
            await served.empty()
            client.cut()

    run_on_clock(test)


def test_a_connection_is_reused_after_an_unread_body(loop: str) -> None:
    async def test() -> None:
        async with serving(Page(answer=b"no", reads=False, status=401)) as served:
            client = await Client.connect(served.port, None)
            for _ in range(3):
                client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n" + bytes(100_000))
                assert await answer(client) == (401, b"no")
                client.send(bytes(100_000))
            await client.close()

    run(test, loop)


def test_a_response_without_100_continue_ends_the_connection(loop: str) -> None:
    async def test() -> None:
        async with serving(Page(answer=b"no", reads=False, status=401)) as served:
            client = await Client.connect(served.port, None)
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            head = await client.head()
            assert b" 401 " in head
            assert b"connection: close" in head
            client.send(b"hello" + GET)
            assert await client.rest() == b"no"
            await client.close()

    run(test, loop)


def test_a_malformed_chunk_after_expect_is_rejected_once(loop: str, caplog: Any) -> None:
    async def test() -> None:
        async with serving(Page()) as served:
            client = await Client.connect(served.port, None)
            client.send(CHUNKED[:-2] + b"Expect: 100-continue\r\n\r\nzz\r\n")
            assert await problem(client) == (400, "bad-request")
            await client.close()
            await served.empty()
        assert not caplog.records

    run(test, loop)


def test_nothing_follows_a_response_whose_request_fails_later(loop: str) -> None:
    async def test() -> None:
        async with serving(Page(answer=b"no", reads=False, status=401)) as served:
            client = await Client.connect(served.port, None)
            client.send(CHUNKED + b"2\r\nhi\r\n")
            assert await answer(client) == (401, b"no")
            client.send(b"no size\r\n")
            assert await client.rest() == b""
            await client.close()

    run(test, loop)

"""Limits on the bytes that a connection keeps of requests and responses."""

import asyncio
from typing import Any

import pytest
from http_app import CHUNKED, GET, Page, answer, conversation
from protocol_app import Client, Receive, Send, eventually, run, serving

from chatkit.protocols.head import MAX_HEAD_BYTES
from chatkit.protocols.http import HttpConnection
from chatkit.protocols.response import PART_BYTES

pytest_plugins = ["loop_fixture"]

ONE_READ = 262_144  # the most that asyncio and uvloop read at once


def n_held(found: HttpConnection) -> int:
    """Return the bytes that a conversation keeps of what its client sent."""
    return len(found._unread) + (len(found.cycle.body) if found.cycle else 0)


def test_pipelined_requests_wait_unread_while_one_is_answered(loop: str) -> None:
    async def test() -> None:
        page = Page(answer=b"ok")
        page.may_answer.clear()
        async with serving(page) as served:
            client = await Client.connect(served.port, None)
            client.send(GET * 200_000)
            await eventually(lambda: page.scopes)
            found = conversation(served)
            await eventually(lambda: not found.transport.is_reading())
            assert len(page.scopes) == len(served.tasks) == 1
            assert not found.pipeline
            assert n_held(found) <= ONE_READ + MAX_HEAD_BYTES
            page.may_answer.set()
            for n in range(500):
                assert await answer(client) == (200, b"ok"), n
                assert len(served.tasks) <= 2  # one that ends, and the next
                assert n_held(found) <= ONE_READ + MAX_HEAD_BYTES
            client.cut()
            await served.empty()

    run(test, loop)


def test_a_disconnect_after_a_part_of_the_next_request_is_noticed(loop: str) -> None:
    async def test() -> None:
        page = Page()
        async with serving(page) as served:
            client = await Client.connect(served.port, None)
            client.send(CHUNKED + b"2\r\nhi\r\n")
            await eventually(lambda: page.scopes)
            client.cut()
            await served.empty()
            assert page.is_left

    run(test, loop)


def test_trailer_fields_reach_no_application(loop: str) -> None:
    async def test() -> None:
        page = Page()
        async with serving(page) as served:
            client = await Client.connect(served.port, None)
            client.send(CHUNKED + b"2\r\nhi\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\nCookie: a=b\r\n\r\n" + GET)
            assert await answer(client) == (200, b"hi")
            assert await answer(client) == (200, b"")
            assert [name for name, _ in page.scopes[0]["headers"]] == [b"host", b"transfer-encoding"]
            await client.close()

    run(test, loop)


@pytest.mark.parametrize(
    "endless",
    [
        b"2\r\nhi\r\n0\r\n" + b"a:\r\n" * 50_000,
        b"2;" + b"x" * 200_000,
        b"1;xxxxxxxxxxxxxxxxxxxxxx\r\nx\r\n" * 20_000,
        b"0" * 200_000,
    ],
)
def test_a_body_that_is_mostly_framing_is_rejected(loop: str, endless: bytes) -> None:
    async def test() -> None:
        page = Page()
        async with serving(page) as served:
            client = await Client.connect(served.port, None)
            client.send(CHUNKED + endless)
            assert (await client.head()).startswith(b"HTTP/1.1 400 ")
            assert len(page.scopes[0]["headers"]) == 2
            client.cut()
            await served.empty()

    run(test, loop)


@pytest.mark.parametrize("head", [b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5000000\r\n\r\n", CHUNKED])
def test_a_body_that_the_application_does_not_read_stays_with_the_client(loop: str, head: bytes) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async def test() -> None:
        async with serving(app) as served:
            client = await Client.connect(served.port, None)
            client.send(head + (b"10000\r\n" + bytes(65_536) + b"\r\n") * 75)
            await eventually(lambda: served.tasks)
            found = conversation(served)
            await eventually(lambda: found.flow.read_paused)
            await eventually(lambda: not found.transport.is_reading())
            assert n_held(found) <= 2 * PART_BYTES + ONE_READ
            client.cut()
            for task in served.tasks:
                task.cancel()

    run(test, loop)


def test_a_response_is_written_as_the_client_reads(loop: str) -> None:
    async def test() -> None:
        page = Page(answer=bytes(range(256)) * 40_000)
        async with serving(page) as served:
            client = await Client.connect(served.port, None)
            client.transport.pause_reading()
            client.send(GET)
            await eventually(lambda: served.connections)
            await eventually(lambda: isinstance(next(iter(served.connections)), HttpConnection))
            found = conversation(served)
            await eventually(lambda: found.flow is not None and found.flow.write_paused)
            assert 0 < found.transport.get_write_buffer_size() <= 3 * PART_BYTES
            assert not page.n_answers
            client.transport.resume_reading()
            assert await answer(client) == (200, page.answer)
            await client.close()

    run(test, loop)


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_body_of_any_length_arrives_whole(size: int, version: bytes, method: bytes) -> None:
    async def test() -> None:
        page = Page(answer=b"x" * size)
        async with serving(page) as served:
            client = await Client.connect(served.port, None)
            client.send(method + b" / HTTP/" + version + b"\r\nHost: test\r\nConnection: close\r\n\r\n")
            head, _, body = (await client.rest()).partition(b"\r\n\r\n")
            assert b"content-length: %d" % size in head
            assert body == (page.answer if method == b"GET" else b"")
            await client.close()

    run(test)


CHUNKS = {
    "chunks of a byte": b"1\r\nx\r\n" * 30_000,
    "trailer fields": b"2000\r\n" + b"x" * 8_192 + b"\r\n" + b"0\r\n" + b"a:\r\n" * 15_000,
}


@pytest.mark.parametrize("parts", CHUNKS)
def test_a_body_of_many_small_parts_is_parsed_in_turns(loop: str, parts: str) -> None:
    async def test() -> None:
        page = Page()
        async with serving(page) as served:
            client = await Client.connect(served.port, None)
            client.send(CHUNKED)
            await eventually(lambda: page.scopes)
            found, turns = conversation(served), []
            client.send(CHUNKS[parts])
            while not found._unread:  # noqa: ASYNC110  # `eventually` pauses, and misses turns
                await asyncio.sleep(0)
            while len(found._unread) > len(b"\r\n"):  # which the parser keeps until more follows
                turns.append(found._n_parts)
                await asyncio.sleep(0)
            assert max(turns) <= 400
            assert len(turns) > 20
            client.cut()
            await served.empty()

    run(test, loop)

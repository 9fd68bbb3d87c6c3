"""Limits on what one client can make the server keep: each part of a request has a size limit and a deadline."""

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from protocol_app import (
    HEAD,
    LOOPS,
    Client,
    Clock,
    Echo,
    Receive,
    Send,
    Serving,
    eventually,
    frame,
    run,
    run_on_clock,
    serving,
)

from chatkit.protocols.head import MAX_HEAD_BYTES, MAX_HEADERS
from chatkit.protocols.http import HttpConnection
from chatkit.protocols.response import PART_BYTES

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
ONE_READ = 262_144  # the most that asyncio and uvloop read at once


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Page:
    """Reads the body and answers with it; `may_answer` delays the answer, and without `reads` it reads nothing."""

    def __init__(self, *, answer: bytes | None = None, reads: bool = True, status: int = 200) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.answer = answer
        self.reads = reads
        self.status = status
        self.scopes: list[Any] = []
        self.n_answers = 0
        self.is_left = False

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await Echo()(scope, receive, send)
            return
        self.scopes.append(scope)
        body, more = b"", self.reads
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                self.is_left = True
                return
            body += event["body"]
            more = event["more_body"]
        await self.may_answer.wait()
        answer = body if self.answer is None else self.answer
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})
        self.n_answers += 1


def conversation(served: Serving) -> HttpConnection:
    (found,) = served.connections
    assert isinstance(found, HttpConnection)
    return found


def n_held(found: HttpConnection) -> int:
    """Return the bytes that a conversation keeps of what its client sent."""
    return len(found._unread) + (len(found.cycle.body) if found.cycle else 0)


async def answer(client: Client) -> tuple[int, bytes]:
    head = (await client.head()).decode().lower()
    length = next(line.split(": ")[1] for line in head.split("\r\n") if line.startswith("content-length"))
    return int(head[9:12]), await client.reader.readexactly(int(length))


async def problem(client: Client) -> tuple[int, str]:
    """Return the status and the code of a refusal, which has a sentence and ends the connection."""
    status, body = await answer(client)
    found = json.loads(body)
    assert found["status"] == status
    assert found["detail"]
    assert found["title"]
    assert await client.rest() == b""
    return status, found["code"]


# Bytes


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
            await eventually(lambda: found._unread)
            while len(found._unread) > len(b"\r\n"):  # which the parser keeps until more follows
                turns.append(found._n_parts)
                await asyncio.sleep(0)
            assert max(turns) <= 400
            assert len(turns) > 20
            client.cut()
            await served.empty()

    run(test, loop)


# Time


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


# The request's head


def test_an_upgrade_with_trailing_white_space_is_accepted(loop: str) -> None:
    async def test() -> None:
        async with serving(Echo()) as served:
            head = HEAD.replace(b"Upgrade: websocket", b"Upgrade: \twebsocket \t")
            client = await Client.connect(served.port, head + b"\r\n", early=frame(0x81, b"early"))
            assert await client.frame() == (0x81, b"early")
            await client.close()

    run(test, loop)


def test_the_body_of_a_request_with_a_declined_upgrade_is_read(loop: str) -> None:
    async def test() -> None:
        page = Page()
        async with serving(page) as served:
            client = await Client.connect(served.port, None)
            upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
            for _ in range(2):
                client.send(CHUNKED[:-2] + upgrade + b"\r\n2\r\nhi\r\n0\r\n\r\n")
                assert await answer(client) == (200, b"hi")
            assert (b"upgrade", b"h2c") in page.scopes[0]["headers"]
            await client.close()

    run(test, loop)


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_raw_bytes_in_a_target_are_percent_encoded(kind: str) -> None:
    async def test() -> None:
        page, app = Page(), Echo()
        async with serving(page if kind == "http" else app) as served:
            target = "/café?name=Zoë".encode()
            client = await Client.connect(served.port, None)
            client.send(
                (GET if kind == "http" else HEAD + b"\r\n").replace(b"/chat", b"/").replace(b"/ ", target + b" ")
            )
            assert (await client.head()).split(b" ")[1] in (b"200", b"101")
            scope = (page.scopes if kind == "http" else app.scopes)[0]
            assert scope["path"] == "/café"
            assert scope["query_string"] == b"name=Zo%C3%AB"
            assert (scope["raw_path"] or b"").isascii()
            client.cut()

    run(test)


def _n_steps(data: list[bytes]) -> int:
    """Return how many calls a connection costs that gets these bytes, by counting them."""
    n = 0

    def count(_: Any, event: str, __: Any) -> None:
        nonlocal n
        n += event in ("call", "c_call")

    async def test() -> None:
        async with serving(Page()) as served:
            client = await Client.connect(served.port, None)
            client.send(b"G")
            await eventually(lambda: any(isinstance(one, HttpConnection) for one in served.connections))
            found = conversation(served)
            sys.setprofile(count)
            try:
                for part in data:
                    found.data_received(part)
            finally:
                sys.setprofile(None)
            client.cut()

    run(test, "asyncio")
    return n


def _bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize(
    "make",
    [
        lambda n: _bytewise(b"ET / HTTP/1.1\r\nHost: test\r\nX: " + b"x" * (n * 8_000)),
        lambda n: [b"ET / HTTP/1.1\r\nHost: test\r\n" + b"X: \xe9\t \xff\r\n" * (n * (MAX_HEADERS // 2 - 1)) + b"\r\n"],
        lambda n: [b"ET /?" + b"\xff%;=&" * (n * 1_600) + b" HTTP/1.1\r\nHost: test\r\n\r\n"],
        lambda n: [b"ET" + CHUNKED[4:] + b"1\r\nx\r\n" * (n * 20_000)],
        lambda n: [b"ET" + CHUNKED[4:], *[b"4\r\n\r\n\r\n\r\n" * 50] * (n * 50)],
        lambda n: _bytewise(b"ET" + CHUNKED[4:] + b"1;xx\r\nx\r\n" * (n * 800)),
        lambda n: [b"\r\n" * (n * 60_000)],
    ],
)
def test_parsing_takes_linear_time(make: Any) -> None:
    once, twice = _n_steps(make(1)), _n_steps(make(2))
    assert twice <= 2.2 * once + 100


# Connections


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

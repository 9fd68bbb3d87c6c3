"""HTTP before the WebSocket: pipelined responses, invalid heads, and clients that stop halfway."""

import asyncio
import socket
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

from chatkit.protocols.http import HttpConnection
from chatkit.protocols.phase import TIMES_S, Phase
from chatkit.protocols.websocket import HttpProtocol

GET = b"GET /first HTTP/1.1\r\nHost: test\r\n\r\n"
POST = b"POST /first HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n"


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Site:
    """An application that takes the whole body and answers when it may; over WebSocket, it sends back what comes."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.body = b"answer"
        self.status = 200
        self.headers: list[tuple[bytes, bytes]] = []
        self.needs_body = True
        self.events: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await Echo()(scope, receive, send)
            return
        while self.needs_body:
            self.events.append(await receive())
            if self.events[-1]["type"] == "http.disconnect":
                return
            if not self.events[-1]["more_body"]:
                break
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        await send({"type": "http.response.body", "body": b"!"})


def only_one(served: Serving) -> HttpProtocol | HttpConnection:
    (connection,) = served.connections
    assert isinstance(connection, HttpProtocol | HttpConnection)
    return connection


def statuses(answers: bytes) -> list[int]:
    return [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]


# One answer after the other


def test_a_handshake_after_a_request_is_answered_after_its_response(loop: str) -> None:
    async def test() -> None:
        site = Site()
        site.may_answer.clear()
        async with serving(site) as served:
            client = await Client.connect(served.port, None)
            client.send(POST + b"0123456789" + GET + HEAD + b"\r\n" + frame(0x81, b"early"))
            await eventually(lambda: site.events)
            client.send(frame(0x81, b"later"))
            await asyncio.sleep(0.05)
            site.may_answer.set()
            for _ in range(2):
                assert (await client.head()).startswith(b"HTTP/1.1 200 ")
                assert await client.reader.readuntil(b"0\r\n\r\n") == b"6\r\nanswer\r\n1\r\n!\r\n0\r\n\r\n"
            assert (await client.head()).startswith(b"HTTP/1.1 101 ")
            assert await client.frame() == (0x81, b"early")
            assert await client.frame() == (0x81, b"later")
            await client.close()

    run(test, loop)


def test_a_handshake_after_the_last_request_is_ignored(loop: str) -> None:
    async def test() -> None:
        site = Site()
        site.may_answer.clear()
        async with serving(site) as served:
            client = await Client.connect(served.port, None)
            client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + HEAD + b"\r\n")
            await eventually(lambda: site.events)
            site.may_answer.set()
            assert statuses(await client.rest()) == [200]
            await served.empty()
            await client.close()

    run(test, loop)


@pytest.fixture
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests whose client reads until the server closes."""
    monkeypatch.setattr("chatkit.protocols.http.LINGER_S", 0.2)
    monkeypatch.setitem(TIMES_S, Phase.ENDING, 0.2)


@pytest.mark.usefixtures("short_linger")
def test_an_invalid_request_does_not_interrupt_the_response_before_it(loop: str) -> None:
    async def test() -> None:
        site = Site()
        site.may_answer.clear()
        async with serving(site) as served:
            client = await Client.connect(served.port, None)
            client.send(GET + b"\x00 no request\r\n\r\n")
            await eventually(lambda: site.events)
            site.may_answer.set()
            assert statuses(await client.rest()) == [200, 400]
            await served.empty()
            await client.close()

    run(test, loop)


def test_an_incomplete_body_is_reported_to_both_sides(loop: str) -> None:
    async def test() -> None:
        site = Site()
        async with serving(site) as served:
            client = await Client.connect(served.port, None)
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await eventually(lambda: site.events)
            client.send(b"no size\r\n")
            assert statuses(await client.rest()) == [400]
            await eventually(lambda: site.events[-1]["type"] == "http.disconnect")
            await client.close()
            await served.empty()

    run(test, loop)


@pytest.mark.parametrize(
    "broken",
    [
        POST + b"0123456789" + b"no request\r\n\r\n",
        POST.replace(b"Content-Length: 10", b"Transfer-Encoding: chunked") + b"x",
        GET.replace(b"/first", b"a://"),
    ],
)
@pytest.mark.usefixtures("short_linger")
def test_an_incomplete_request_does_not_affect_earlier_responses(loop: str, broken: bytes, caplog: Any) -> None:
    async def test() -> None:
        site = Site()
        site.may_answer.clear()
        async with serving(site) as served:
            client = await Client.connect(served.port, None)
            client.send(GET + GET + broken)
            await eventually(lambda: site.events)
            site.may_answer.set()
            assert statuses(await client.rest()) == [200] * (3 if b"no request" in broken else 2) + [400]
            await served.empty()
            await client.close()
        assert not caplog.records

    run(test, loop)


def test_a_client_that_disconnects_causes_no_error(loop: str, caplog: Any) -> None:
    async def test() -> None:
        site = Site()
        site.may_answer.clear()
        async with serving(site) as served:
            client = await Client.connect(served.port, None)
            client.send(GET * 3)
            await eventually(lambda: site.events)
            client.cut()
            await eventually(lambda: not served.connections)
            site.may_answer.set()
            await served.empty()
        assert not caplog.records

    run(test, loop)


@pytest.mark.parametrize("has_length", [True, False])
def test_a_response_to_http_1_0_has_no_chunks_and_ends_with_the_connection(loop: str, has_length: bool) -> None:
    async def test() -> None:
        site = Site()
        site.headers = [(b"content-length", b"7")] if has_length else []
        async with serving(site) as served:
            client = await Client.connect(served.port, None)
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            head, _, body = (await client.rest()).partition(b"\r\n\r\n")
            assert b"transfer-encoding" not in head
            assert body == b"answer!"
            await client.close()

    run(test, loop)


# Invalid heads


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: test\r\nHost: other\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n" + b"no request\r\n\r\n", 400),
        (HEAD + b"Host: other\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: test\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: test\r\n" + b"X: x\r\n" * 40_000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: test\r\nX: " + b"x" * 1_000_000, 431),
        (b'GET / HTTP/1.1\r\nHost: test\r\nCookie: a="' + b'\\"' * 2_000 + b'"\r\n\r\n', 431),
        (HEAD + b'Cookie: a="' + b'\\"' * 2_000 + b'"\r\n\r\n', 431),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: test\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: test\r\nX: " + b"x" * 16_000 + b"\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: test\r\nX: " + b"x" * 16_384 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: test\r\n" + b"X:\r\n" * 127 + b"\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: test\r\n" + b"X:\r\n" * 128 + b"\r\n", 431),
        (b"GET / HTTP/2.0\r\nHost: test\r\n\r\n", 505),
        (b"CONNECT test:80 HTTP/1.1\r\nHost: test:80\r\n\r\n", 400),
        (b"GET a:// HTTP/1.1\r\nHost: test\r\n\r\n", 400),
        (b"GET a://test HTTP/1.0\r\n\r\n", 400),
        (b"POST a:// HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
    ],
)
def test_an_invalid_head_is_answered_and_reaches_no_application(
    loop: str, head: bytes, status: int, caplog: Any
) -> None:
    async def test() -> None:
        site = Site()
        async with serving(site) as served:
            client = await Client.connect(served.port, None)
            client.send(head)
            assert statuses(await client.head()) == [status]
            assert bool(site.events) == (status == 200)
            client.cut()
            await served.empty()
        assert not [record for record in caplog.records if record.name == "asyncio"]

    run(test, loop)


def test_many_pipelined_requests_are_not_one_long_head(loop: str) -> None:
    async def test() -> None:
        site = Site()
        site.headers = [(b"content-length", b"7")]
        async with serving(site) as served:
            client = await Client.connect(served.port, None)
            client.send(GET * 3_000 + GET[:20])
            for _ in range(3_000):
                assert (await client.head()).startswith(b"HTTP/1.1 200 ")
                assert await client.reader.readexactly(7) == b"answer!"
            client.send(GET[20:])
            assert (await client.head()).startswith(b"HTTP/1.1 200 ")
            client.cut()
            await served.empty()

    run(test, loop)


# Clients that stop in the middle


def test_a_body_that_does_not_arrive_times_out() -> None:
    async def test(clock: Clock) -> None:
        site = Site()
        async with serving(site) as served:
            client = await Client.connect(served.port, None)
            client.send(POST + b"01234")
            await eventually(lambda: site.events)
            await clock.skip(20)
            client.send(b"5678")
            await eventually(lambda: len(site.events) == 2)
            assert served.connections
            await clock.skip(11)
            assert statuses(await client.rest()) == [408]
            await client.close()
            await served.empty()
            assert site.events[-1] == {"type": "http.disconnect"}

    run_on_clock(test)


@pytest.mark.parametrize("then", [b"01234", b"0123456789", b"0123456789\r\n"])
def test_a_client_that_stays_after_its_response_is_disconnected(then: bytes) -> None:
    async def test(clock: Clock) -> None:
        site = Site()
        site.needs_body = False
        async with serving(site) as served:
            client = await Client.connect(served.port, None)
            client.send(POST)
            assert statuses(await client.head()) == [200]
            client.send(then)
            connection = only_one(served)
            assert isinstance(connection, HttpConnection)
            await clock.skip(6)
            await clock.skip(3)
            await served.empty()
            await client.close()

    run_on_clock(test)


def test_a_slow_application_does_not_cost_the_client_its_time_limit() -> None:
    async def test(clock: Clock) -> None:
        may_read = asyncio.Event()
        site = Site()

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await may_read.wait()
            await site(scope, receive, send)

        async with serving(app) as served:
            much, waiting = await Client.connect(served.port, None), await Client.connect(served.port, None)
            much.send(POST.replace(b"10", b"1000000") + bytes(900_000))
            waiting.send(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
            await eventually(lambda: len(served.tasks) == 2)
            await clock.skip(100)
            may_read.set()
            assert statuses(await waiting.head()) == [100]
            waiting.send(b"0123456789")
            assert statuses(await waiting.head()) == [200]
            much.send(bytes(100_000))
            assert statuses(await much.head()) == [200]
            await much.close()
            await waiting.close()

    run_on_clock(test)


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
def test_a_client_that_does_not_read_its_response_is_disconnected(more: bytes) -> None:
    async def test(clock: Clock) -> None:
        site = Site()
        site.body = bytes(50_000_000)
        async with serving(site) as served:
            client = await Client.connect(served.port, None)
            client.transport.pause_reading()
            client.send(GET[:-2] + more + b"\r\n")
            await eventually(lambda: served.connections)
            await eventually(only_one(served).transport.get_write_buffer_size)
            await clock.skip(90)
            assert served.connections
            await clock.skip(153)
            await served.empty()
            client.cut()

    run_on_clock(test)


def test_a_client_that_reads_slowly_gets_the_whole_response() -> None:
    async def test(clock: Clock) -> None:
        site = Site()
        site.headers = [(b"content-length", b"30000001"), (b"connection", b"close")]
        site.body = bytes(30_000_000)
        async with serving(site) as served:
            with socket.socket() as client:
                client.setblocking(False)
                await clock.sock_connect(client, ("127.0.0.1", served.port))
                await eventually(lambda: served.connections)
                # So that the system tells the server of every bit that is taken, not of megabytes at once.
                ours = only_one(served).transport.get_extra_info("socket")
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
                await clock.sock_sendall(client, GET)
                n_bytes = n_rests = 0
                while taken := await clock.sock_recv(client, 65_536):
                    n_bytes += len(taken)
                    if n_bytes > 3_000_000 * (n_rests + 1):
                        n_rests += 1
                        await clock.skip(60)
            assert n_rests >= 10
            assert n_bytes > 30_000_001
            await served.empty()

    run_on_clock(test)

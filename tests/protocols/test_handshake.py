"""The opening handshake: valid, invalid, long, slow and early heads, and rejections."""

import asyncio
import logging
from typing import Any

import pytest
from protocol_app import (
    HEAD,
    LOOPS,
    Client,
    Clock,
    DirectEcho,
    Echo,
    Receive,
    Send,
    accepting,
    closing,
    eventually,
    frame,
    run,
    run_on_clock,
    serving,
    url,
)
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from chatkit.protocols.http import HttpConnection
from chatkit.protocols.shared import TimerWheel


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def answer_to(port: int, head: bytes) -> bytes:
    """Return all that the server answers to a head until it ends the connection."""
    client = await Client.connect(port, None)
    client.send(head)
    answer = await client.rest()
    await client.close()
    return answer


# Opening


def test_any_application_is_served(loop: str) -> None:
    async def test() -> None:
        app = Echo()
        async with serving(app) as served:
            for compression in (None, "deflate"):
                async with connect(url(served.port), compression=compression, ping_interval=None) as client:
                    for message in ("hi", "", "é" * 300, b"\x00\xff", "x" * 70_000, b"", b"y" * 200_000):
                        await client.send(message)
                        assert await client.recv() == message
                    await client.send(["in", "", "frag", "ments"])
                    assert await client.recv() == "infragments"
                    await (await client.ping())
                await served.empty()
                assert app.end == {"type": "websocket.disconnect", "code": 1000, "reason": ""}

    run(test, loop)


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_uvicorns_own_http_protocol_works(http: str) -> None:
    async def test() -> None:
        async with serving(Echo(), http=http) as served, connect(url(served.port)) as client:
            await client.send("hi")
            assert await client.recv() == "hi"

    run(test)


def test_the_scope_holds_the_clients_request(loop: str) -> None:
    async def test() -> None:
        app = Echo()
        async with serving(app, root_path="/r") as served:
            head = HEAD.replace(b"/chat", b"/a%20b?c=d%20") + b"X-One: \xe9\r\nSec-WebSocket-Protocol: a, b\r\n\r\n"
            client = await Client.connect(served.port, head)
            await client.close()
            await served.empty()
            scope = app.scopes[0]
            assert scope["path"] == "/r/a b"
            assert scope["raw_path"] == b"/r/a%20b"
            assert scope["query_string"] == b"c=d%20"
            assert scope["subprotocols"] == ["a", "b"]
            assert (b"x-one", b"\xe9") in scope["headers"]
            assert scope["client"][0] == scope["server"][0] == "127.0.0.1"
            assert scope["server"][1] == served.port
            assert scope["scheme"] == "ws"
            assert app.events[0] == {"type": "websocket.connect"}

    run(test, loop)


def test_an_accept_carries_headers_and_a_subprotocol() -> None:
    async def test() -> None:
        app = accepting(subprotocol="b", headers=[(b"x-one", b"1"), (b"set-cookie", b"a=b")])
        async with serving(app, headers=[("X-Two", "2")]) as served:
            client = await connect(url(served.port), subprotocols=[Subprotocol("a"), Subprotocol("b")])
            assert client.subprotocol == "b"
            assert client.response is not None
            headers = client.response.headers
            assert (headers["x-one"], headers["x-two"], headers["set-cookie"]) == ("1", "2", "a=b")
            assert headers["server"] == "uvicorn"
            assert "date" in headers
            await client.close()

    run(test)


@pytest.mark.parametrize("extra", [{"subprotocol": "none of yours"}, {"headers": [(b"x", b"1\r\nset-cookie: a=b")]}])
def test_an_invalid_accept_raises_in_the_handler(extra: Any, caplog: Any) -> None:
    async def test() -> None:
        async with serving(accepting(**extra)) as served:
            assert (await answer_to(served.port, HEAD + b"\r\n")).startswith(b"HTTP/1.1 500 ")
            await served.empty()

    run(test)
    assert "Exception in ASGI application" in caplog.text


@pytest.mark.parametrize(
    ("head", "status", "header"),
    [
        (HEAD.replace(b"Host: test\r\n", b""), 400, b""),
        (HEAD.replace(b"Host: test\r\n", b"Host:\r\n"), 400, b""),
        (HEAD + b"Host: other\r\n", 400, b""),
        (HEAD.replace(b"Version: 13", b"Version: 8"), 426, b"Sec-WebSocket-Version: 13\r\n"),
        (HEAD.replace(b"Version: 13", b"Version: 13, 8"), 426, b"Sec-WebSocket-Version: 13\r\n"),
        (HEAD.replace(b"Sec-WebSocket-Version: 13\r\n", b""), 426, b"Sec-WebSocket-Version: 13\r\n"),
        (HEAD.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"c2hvcnQ="), 400, b""),
        (HEAD.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"!"), 400, b""),
        (HEAD + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400, b""),
        (HEAD.replace(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""), 400, b""),
        (HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"), 505, b""),
        (HEAD.replace(b"GET", b"HEAD"), 405, b"Allow: GET\r\n"),
        (HEAD + b"Content-Length: 3\r\n", 400, b""),
        (HEAD + b"X: " + b"x" * 100_000 + b"\r\n", 431, b""),
        (b"nonsense\r\n", 400, b""),
    ],
)
def test_an_invalid_handshake_is_answered_and_closed(loop: str, head: bytes, status: int, header: bytes) -> None:
    async def test() -> None:
        async with serving(Echo()) as served:
            client = await Client.connect(served.port, None)
            for i in range(0, len(head), 30_000):  # what is too long need not be read to its end
                client.send(head[i : i + 30_000])
            client.send(b"\r\n")
            answer = await client.head()
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert header in answer
            await client.close()
            await served.empty()

    run(test, loop)


@pytest.mark.parametrize("target", [b"http://test/chat?a=b", b"//chat", b"/%ff%fe", b"http://test"])
def test_odd_targets_reach_the_handler(target: bytes) -> None:
    async def test() -> None:
        app = Echo()
        async with serving(app) as served:
            client = await Client.connect(served.port, HEAD.replace(b"/chat", target) + b"\r\n")
            await client.close()
            await served.empty()
            assert app.scopes[0]["path"].startswith("/")

    run(test)


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize(
    "head",
    [
        HEAD.replace(b"/chat", target)
        for target in (b"http://[::1/chat", b"http://[x]/chat", b"chat", b"*", b"test:80", b"?a=b")
    ]
    + [HEAD + b"Sec-WebSocket-Protocol:" + value + b"\r\n" for value in (b"", b" a b", b" a, b;c", b" \xff")],
)
def test_an_invalid_target_or_subprotocol_is_rejected(head: bytes, is_whole: bool) -> None:
    async def test() -> None:
        async with serving(Echo()) as served:
            client = await Client.connect(served.port, None)
            n_first = 0 if is_whole else 1
            client.send(head[:n_first])
            if n_first:  # then it is read as HTTP, whatever it is
                await eventually(lambda: any(isinstance(one, HttpConnection) for one in served.connections))
            client.send(head[n_first:] + b"\r\n")
            assert (await client.head()).startswith(b"HTTP/1.1 400 ")
            await client.close()
            await served.empty()

    run(test)


def test_a_long_header_is_accepted(loop: str) -> None:
    async def test() -> None:
        async with serving(Echo()) as served:
            client = await Client.connect(served.port, HEAD + b"Cookie: " + b"c" * 10_240 + b"\r\n\r\n")
            await client.close()

    run(test, loop)


def test_a_handshake_can_arrive_byte_by_byte_with_frames_after_it(loop: str) -> None:
    async def test() -> None:
        async with serving(Echo()) as served:
            client = await Client.connect(served.port, None)
            early = b"".join(frame(0x81, b"early %d" % i) for i in range(100))
            for byte in HEAD + b"\r\n" + early:
                client.send(bytes((byte,)))
                await asyncio.sleep(0)
            assert b" 101 " in await client.head()
            for i in range(100):
                assert await client.frame() == (0x81, b"early %d" % i)
            await client.close()

    run(test, loop)


@pytest.mark.parametrize("app", [Echo(), DirectEcho()])
def test_frames_in_the_same_segment_as_the_handshake_are_not_lost(loop: str, app: Any) -> None:
    async def test() -> None:
        async with serving(app) as served:
            early = b"".join(frame(0x81, b"%d" % i) for i in range(500)) + closing(4000)
            client = await Client.connect(served.port, early=early)
            for i in range(500 if app.__class__ is DirectEcho else 0):
                assert await client.frame() == (0x81, b"%d" % i)
            assert await client.close_code() == 4000
            await client.close()

    run(test, loop)


def test_data_received_before_accept_are_bounded() -> None:
    async def test() -> None:
        accept = asyncio.Event()
        texts: list[str] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await accept.wait()
            await send({"type": "websocket.accept"})
            while (event := await receive())["type"] == "websocket.receive":
                texts.append(event["text"])

        async with serving(app) as served:
            client = await Client.connect(served.port, None)
            much = frame(0x81, b"x" * 60_000) * 400
            client.send(HEAD + b"\r\n" + much + closing(1000))
            stuck = len(much) // 4
            await eventually(lambda: served.tasks)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.writer.drain(), 0.3)
            assert client.writer.transport.get_write_buffer_size() > stuck  # the server left it with the client
            accept.set()
            assert b" 101 " in await client.head()
            assert await client.close_code() == 1000
            await served.empty()
            assert len(texts) == 400
            await client.close()

    run(test)


# Refusing


def test_a_close_before_accept_is_a_403(loop: str) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4000})
        assert await receive() == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        with pytest.raises(RuntimeError):
            await send({"type": "websocket.accept"})

    async def test() -> None:
        async with serving(app) as served:
            assert (await answer_to(served.port, HEAD + b"\r\n")).startswith(b"HTTP/1.1 403 ")
            await served.empty()

    run(test, loop)


def test_a_denial_is_an_http_response(loop: str) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        assert "websocket.http.response" in scope["extensions"]
        await receive()
        headers = [(b"x-why", b"closed"), (b"connection", b"keep-alive")]
        await send({"type": "websocket.http.response.start", "status": 451, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"not here"})

    async def test() -> None:
        async with serving(app) as served:
            with pytest.raises(InvalidStatus) as refused:
                await connect(url(served.port))
            response = refused.value.response
            assert (response.status_code, response.body) == (451, b"not here")
            assert response.headers["x-why"] == "closed"
            assert response.headers.get_all("connection") == ["close"]
            assert response.headers["content-length"] == "8"
            await served.empty()

    run(test, loop)


def test_a_denial_can_be_sent_in_parts() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 200})
        for part in (b"a", b"b"):
            await send({"type": "websocket.http.response.body", "body": part * 200_000, "more_body": True})
        await send({"type": "websocket.http.response.body"})

    async def test() -> None:
        async with serving(app) as served:
            head, _, body = (await answer_to(served.port, HEAD + b"\r\n")).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"content-length" not in head.lower()
            assert body == b"a" * 200_000 + b"b" * 200_000
            await served.empty()

    run(test)


@pytest.mark.parametrize("does", ["raise", "return", "send", "deny", "half"])
def test_a_handler_that_fails_before_accept_causes_a_500(loop: str, does: str, caplog: Any) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        match does:
            case "raise":
                raise ValueError("on purpose")
            case "send":
                await send({"type": "websocket.send", "text": "too early"})
            case "deny":
                await send({"type": "websocket.http.response.start", "status": 101})
            case "half":
                await send({"type": "websocket.http.response.start", "status": 200})

    async def test() -> None:
        async with serving(app) as served:
            assert (await answer_to(served.port, HEAD + b"\r\n")).startswith(b"HTTP/1.1 500 ")
            await served.empty()

    run(test, loop)
    assert ("on purpose" in caplog.text) == (does == "raise")
    assert caplog.records


def test_connections_over_the_limit_get_a_503() -> None:
    async def test() -> None:
        async with serving(Echo(), limit_concurrency=2) as served:
            client = await Client.connect(served.port)
            assert (await answer_to(served.port, HEAD + b"\r\n")).startswith(b"HTTP/1.1 503 ")
            await client.close()

    run(test)


def test_accepted_and_rejected_handshakes_are_logged(caplog: Any) -> None:
    async def test() -> None:
        caplog.set_level(logging.INFO, "uvicorn.error")
        async with serving(Echo(), log_level="info") as served:
            await (await Client.connect(served.port)).close()
            await served.empty()

    run(test)
    assert any('"WebSocket /chat" [accepted]' in record.getMessage() for record in caplog.records)


# The clock that all connections share


class Alarm:
    """Records when its timer fires, and sets the timer again if `again_s` is given."""

    def __init__(self, wheel: TimerWheel, clock: Clock, *, again_s: float = 0) -> None:
        self.wheel = wheel
        self.clock = clock
        self.again_s = again_s
        self.due_tick = 0
        self.rang_at: list[float] = []

    def on_timer(self) -> None:
        self.rang_at.append(self.clock.time())
        if self.again_s:
            self.wheel.set(self, self.again_s)


def test_each_timer_of_the_wheel_fires_at_its_own_time() -> None:
    async def test(clock: Clock) -> None:
        wheel, began = TimerWheel(clock), clock.time()
        repeating, later, moved, cleared = (Alarm(wheel, clock, again_s=again) for again in (20, 0, 0, 0))
        wheel.set(later, 5)  # and behind it comes one that is set, and sets itself, for a later time
        wheel.set(repeating, 1)
        wheel.set(moved, 2)
        wheel.set(moved, 8)
        wheel.set(cleared, 3)
        wheel.clear(cleared)
        wheel.clear(cleared)
        await clock.skip(30)
        rang = [[moment - began for moment in alarm.rang_at] for alarm in (repeating, later, moved, cleared)]
        assert rang == [pytest.approx([1, 21], abs=0.3), pytest.approx([5], abs=0.3), pytest.approx([8], abs=0.3), []]
        assert not cleared.due_tick

    run_on_clock(test)

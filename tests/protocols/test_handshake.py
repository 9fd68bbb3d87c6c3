"""The opening handshake: valid, long, slow and early heads."""

import asyncio
import logging
from typing import Any

import pytest
from protocol_app import (
    HEAD,
    Client,
    DirectEcho,
    Echo,
    Receive,
    Send,
    accepting,
    closing,
    eventually,
    frame,
    run,
    serving,
    url,
)
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

pytest_plugins = ["loop_fixture"]


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


def test_accepted_and_rejected_handshakes_are_logged(caplog: Any) -> None:
    async def test() -> None:
        caplog.set_level(logging.INFO, "uvicorn.error")
        async with serving(Echo(), log_level="info") as served:
            await (await Client.connect(served.port)).close()
            await served.empty()

    run(test)
    assert any('"WebSocket /chat" [accepted]' in record.getMessage() for record in caplog.records)

"""An open WebSocket under stress: back-pressure in both directions, keepalive, and time limits."""

import asyncio
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
    closer,
    closing,
    eventually,
    frame,
    run,
    run_on_clock,
    serving,
)

from chatkit.protocols.websocket import WebSocketProtocol


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Back-pressure


def test_a_slow_handler_gets_everything_in_order(loop: str) -> None:
    async def test() -> None:
        go = asyncio.Event()
        texts: list[str] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            await go.wait()
            while (event := await receive())["type"] == "websocket.receive":
                texts.append(event["text"])
                await asyncio.sleep(0)

        async with serving(app) as served:
            client = await Client.connect(served.port)
            for i in range(5000):
                client.send(frame(0x81, b"%d" % i + b"x" * (i % 7) * 100))
            client.send(closing(1000))
            await asyncio.sleep(0.05)
            go.set()
            assert await client.close_code() == 1000
            await served.empty()
            assert [text.rstrip("x") for text in texts] == [str(i) for i in range(5000)]
            await client.close()

    run(test, loop)


@pytest.mark.parametrize("app", [Echo(), DirectEcho()], ids=["asgi", "direct"])
def test_a_flood_of_small_frames_is_read_in_turns_and_completely(loop: str, app: Any) -> None:
    async def test() -> None:
        async with serving(app) as served:
            client = await Client.connect(served.port)
            for i in range(20):
                client.send(frame(0x8A) * 5_000 + frame(0x89, b"%d" % i) + frame(0x81, b"%d" % i) * 50)
            received = [await client.frame() for _ in range(1_020)]
            assert [text for first, text in received if first == 0x81] == [b"%d" % (i // 50) for i in range(1_000)]
            assert [text for first, text in received if first == 0x8A] == [b"%d" % i for i in range(20)]
            await client.close()

    run(test, loop)


def test_a_client_of_a_busy_handler_is_not_disconnected(loop: str) -> None:
    async def test() -> None:
        go = asyncio.Event()

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            await go.wait()
            while (event := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": event["text"]})

        async with serving(app, ws_ping_interval=0.05, ws_ping_timeout=0.05) as served:
            client = await Client.connect(served.port)
            for i in range(1000):
                client.send(frame(0x81, b"%d" % i))
            for _ in range(8):  # as many intervals, in which our pongs lie unread behind the messages
                assert await client.frame() == (0x89, b"")
                client.send(frame(0x8A))
            go.set()
            texts: list[bytes] = []
            while len(texts) < 1000:
                first, payload = await client.frame()
                if first == 0x81:
                    texts.append(payload)
                else:
                    client.send(frame(0x8A))
            assert texts == [b"%d" % i for i in range(1000)]
            await client.close()

    run(test, loop)


def test_a_client_that_reads_nothing_is_disconnected_and_its_handler_ends(loop: str) -> None:
    ended: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "bytes": bytes(1 << 20)})
        except OSError:
            ended.append("told")

    async def test() -> None:
        async with serving(app, ws_ping_interval=0.1, ws_ping_timeout=0.1) as served:
            client = await Client.connect(served.port)
            client.transport.pause_reading()
            await eventually(lambda: served.tasks)
            await served.empty()
            client.cut()

    run(test, loop)
    assert ended == ["told"]


def test_pings_of_a_client_that_reads_nothing_are_not_buffered(loop: str) -> None:
    async def test() -> None:
        app = DirectEcho()
        async with serving(app) as served:
            client = await Client.connect(served.port)
            client.transport.pause_reading()
            await eventually(lambda: app.receivers)
            receiver = app.receivers[0]
            receiver.is_silent = True
            while receiver.socket.is_writable:
                receiver.socket.write(bytes(65_536))
                await asyncio.sleep(0)
            (connection,) = served.connections
            assert isinstance(connection, WebSocketProtocol)
            transport = connection._connection
            stuck = transport.get_write_buffer_size()
            client.send(frame(0x89, b"p" * 125) * 10_000 + frame(0x81, b"end"))
            await eventually(lambda: receiver.texts == [b"end"])
            assert transport.get_write_buffer_size() <= stuck
            client.cut()
            await served.empty()

    run(test, loop)


# Life


def test_a_silent_client_is_pinged_and_then_disconnected(loop: str) -> None:
    async def test() -> None:
        app = Echo()
        async with serving(app, ws_ping_interval=0.05, ws_ping_timeout=0.1) as served:
            client = await Client.connect(served.port)
            assert await client.frame() == (0x89, b"")
            first, payload = await client.frame()
            assert (first, payload[:2]) == (0x88, b"\x03\xf3")
            assert await client.rest() == b""  # it does not echo: the connection is cut
            await served.empty()
            assert app.end is not None
            assert app.end["code"] == 1011
            await client.close()

    run(test, loop)


@pytest.mark.parametrize("life", [frame(0x8A, b"unasked"), frame(0x81, b"hi"), b"\x81"])
def test_any_byte_keeps_a_connection_alive(life: bytes) -> None:
    async def test() -> None:
        async with serving(Echo(), ws_ping_interval=0.1, ws_ping_timeout=0.1) as served:
            client = await Client.connect(served.port)
            for i in range(6):
                while (await client.frame())[0] != 0x89:
                    pass
                client.send(life if len(life) > 1 else (b"\x81" + b"\xfe\xff\xff\x01\x02\x03")[i : i + 1])
            await client.close()

    run(test)


def test_a_client_that_answers_pings_stays_connected(loop: str) -> None:
    async def test() -> None:
        async with serving(Echo(), ws_ping_interval=0.1, ws_ping_timeout=0.05) as served:
            client = await Client.connect(served.port)
            for _ in range(5):
                assert await client.frame() == (0x89, b"")
                client.send(frame(0x8A))
            client.send(frame(0x81, b"still here"))
            assert await client.frame() == (0x81, b"still here")
            await client.close()

    run(test, loop)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: t\r\n", HEAD[:50]])
def test_a_head_that_does_not_arrive_times_out(sent: bytes) -> None:
    async def test(clock: Clock) -> None:
        async with serving(Echo()) as served:
            client = await Client.connect(served.port, None)
            client.send(sent)
            await eventually(lambda: served.connections)
            await clock.skip(9)
            assert served.connections
            await clock.skip(2)
            assert (await client.rest()).startswith(b"HTTP/1.1 408 ")
            await client.close()
            await served.empty()

    run_on_clock(test)


def test_a_close_that_is_not_answered_times_out() -> None:
    async def test(clock: Clock) -> None:
        async with serving(closer()) as served:
            client = await Client.connect(served.port)
            assert await client.close_code() == 4000
            await clock.skip(9)
            assert served.connections
            await clock.skip(2)
            await served.empty()
            client.cut()

    run_on_clock(test)


@pytest.mark.parametrize("end", [closing(1000), None, b"\xff"])
def test_a_connection_whose_buffer_never_drains_is_closed(end: bytes | None) -> None:
    async def test(clock: Clock) -> None:
        app = DirectEcho()
        async with serving(app, ws_ping_interval=None) as served:
            client = await Client.connect(served.port)
            client.transport.pause_reading()
            await eventually(lambda: app.receivers)
            for _ in range(100):
                app.receivers[0].socket.write(bytes(1 << 20))
            assert not app.receivers[0].socket.is_writable
            if end is None:
                client.writer.write_eof()
            else:
                client.send(end)
            await eventually(lambda: app.receivers[0].codes)
            assert served.connections
            await clock.skip(11)
            await served.empty()
            client.cut()

    run_on_clock(test)


def test_after_a_stall_clients_are_read_before_they_are_judged() -> None:
    async def test(clock: Clock) -> None:
        async with serving(Echo()) as served:
            client = await Client.connect(served.port)
            await clock.skip(21)
            assert await client.frame() == (0x89, b"")
            clock.skipped_s += 1000
            client.send(frame(0x8A))
            await clock.skip(5)
            client.send(frame(0x81, b"still here"))
            assert (await client.frame())[0] in (0x81, 0x89)
            assert served.connections
            await client.close()

    run_on_clock(test)

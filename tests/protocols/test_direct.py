"""The direct path between a socket and its handler."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from protocol_app import (
    LOOPS,
    Client,
    DirectEcho,
    EchoReceiver,
    Receive,
    Send,
    closing,
    eventually,
    frame,
    run,
    serving,
    url,
)
from websockets.asyncio.client import connect

from chatkit.protocols.websocket import DIRECT, text_frame
from chatkit.websocket.frames import TEXT, make_message


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# The direct path


def test_the_direct_path_delivers_and_ends(loop: str) -> None:
    async def test() -> None:
        app = DirectEcho()
        async with serving(app) as served:
            client = await Client.connect(served.port)
            await eventually(lambda: app.receivers)
            receiver = app.receivers[0]
            receiver.calls.clear()
            client.send(frame(0x81, b"one") + frame(0x01, b"t") + frame(0x80, b"wo"))
            assert [await client.frame() for _ in "12"] == [(0x81, b"one"), (0x81, b"two")]
            assert receiver.calls == [b"one", b"two"]
            receiver.socket.write(text_frame(b"a") + text_frame(b"b"))
            assert [await client.frame() for _ in "12"] == [(0x81, b"a"), (0x81, b"b")]
            client.send(frame(0x82, b"binary") + frame(0x81, b"unheard"))
            assert await client.close_code() == 1003
            receiver.socket.write(text_frame(b"dropped"))
            receiver.socket.send_text(b"dropped")
            receiver.socket.close(1000)
            client.send(closing(1003))
            assert await client.rest() == b""
            await client.close()
            await served.empty()
            assert (receiver.codes, receiver.texts) == ([1003], [b"one", b"two"])
            receiver.socket.pause_reading()
            receiver.socket.resume_reading()
            receiver.socket.write(b"dropped")

    run(test, loop)


def attaching_late(receivers: list[EchoReceiver], go: asyncio.Event) -> Callable[[Any, Receive, Send], Awaitable[None]]:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        socket = scope["extensions"][DIRECT]["socket"]
        receiver = EchoReceiver(socket)
        with pytest.raises(RuntimeError):
            socket.attach(receiver)
        await receive()
        await send({"type": "websocket.accept"})
        await go.wait()
        socket.attach(receiver)
        receivers.append(receiver)
        if not receiver.codes:
            with pytest.raises(RuntimeError):
                socket.attach(receiver)
        await receive()

    return app


@pytest.mark.parametrize("n", [3, 1000])
@pytest.mark.parametrize("is_closed", [False, True])
def test_messages_received_before_attaching_are_delivered_first(loop: str, n: int, is_closed: bool) -> None:
    async def test() -> None:
        receivers: list[EchoReceiver] = []
        go = asyncio.Event()
        async with serving(attaching_late(receivers, go)) as served:
            early = b"".join(frame(0x81, b"%d" % i) for i in range(n))
            client = await Client.connect(served.port, early=early + (closing(1000) if is_closed else b""))
            await asyncio.sleep(0.02)
            go.set()
            await eventually(lambda: receivers)
            if not is_closed:
                client.send(frame(0x81, b"%d" % n) + closing(1000))
            assert await client.close_code() == 1000
            await served.empty()
            assert receivers[0].texts == [b"%d" % i for i in range(n + (not is_closed))]
            assert receivers[0].codes == [1000]
            await client.close()

    run(test, loop)


def test_a_receiver_can_pause_reading(loop: str) -> None:
    async def test() -> None:
        app = DirectEcho()
        async with serving(app) as served:
            client = await Client.connect(served.port)
            await eventually(lambda: app.receivers)
            receiver = app.receivers[0]
            receiver.socket.pause_reading()
            for i in range(2000):
                client.send(frame(0x81, b"%d" % i))
                if i == 2:
                    client.send(frame(0x89, b"still answered"))
            assert await client.frame() == (0x8A, b"still answered")
            assert receiver.texts == []
            receiver.socket.resume_reading()
            receiver.socket.pause_reading()
            receiver.socket.resume_reading()
            client.send(closing(1000))
            assert await client.close_code() == 1000
            assert receiver.texts == [b"%d" % i for i in range(2000)]
            await client.close()

    run(test, loop)


def test_messages_of_a_paused_client_that_leaves_are_delivered(loop: str) -> None:
    async def test() -> None:
        app = DirectEcho()
        async with serving(app) as served:
            client = await Client.connect(served.port)
            await eventually(lambda: app.receivers)
            app.receivers[0].socket.pause_reading()
            client.send(b"".join(frame(0x81, b"%d" % i) for i in range(20)) + closing(1000))
            assert await client.close_code() == 1000
            await served.empty()
            receiver = app.receivers[0]
            assert (receiver.texts, receiver.codes) == ([b"%d" % i for i in range(20)], [1000])
            await client.close()

    run(test, loop)


def test_a_receiver_can_pause_during_a_delivery(loop: str) -> None:
    async def test() -> None:
        app = DirectEcho()
        async with serving(app) as served:
            client = await Client.connect(served.port)
            await eventually(lambda: app.receivers)
            receiver = app.receivers[0]
            each = iter(range(100))
            received = receiver.received_texts

            def one_at_a_time(texts: list[bytes]) -> int:
                received(texts[:1])
                receiver.socket.pause_reading()
                if next(each) % 2:
                    receiver.socket.resume_reading()
                else:
                    asyncio.get_running_loop().call_soon(receiver.socket.resume_reading)
                return 1

            receiver.received_texts = one_at_a_time  # type: ignore[method-assign]
            receiver.socket.pause_reading()
            receiver.socket.resume_reading()
            client.send(b"".join(frame(0x81, b"%d" % i) for i in range(100)))
            for i in range(100):
                assert await client.frame() == (0x81, b"%d" % i)
            await client.close()

    run(test, loop)


def test_a_full_buffer_and_its_draining_are_reported(loop: str) -> None:
    async def test() -> None:
        app = DirectEcho()
        async with serving(app) as served:
            client = await Client.connect(served.port)
            client.transport.pause_reading()
            await eventually(lambda: app.receivers)
            receiver = app.receivers[0]
            n_written = 0
            while receiver.socket.is_writable:
                receiver.socket.write(text_frame(b"x" * 65_000))
                n_written += 1
                await asyncio.sleep(0)
            assert "writable" not in receiver.calls
            client.transport.resume_reading()
            for _ in range(n_written):
                assert await client.frame() == (0x81, b"x" * 65_000)
            await eventually(lambda: "writable" in receiver.calls)
            await client.close()

    run(test, loop)


def test_one_compressed_frame_suits_all_clients_with_the_same_window(loop: str) -> None:
    async def test() -> None:
        app = DirectEcho()
        async with serving(app) as served:
            clients = [await connect(url(served.port), ping_interval=None) for _ in range(3)]
            plain = await connect(url(served.port), compression=None, ping_interval=None)
            await eventually(lambda: len(app.receivers) == 4)
            agreed = [one.socket for one in app.receivers if one.socket.deflate is not None]
            assert len(agreed) == 3
            assert len({socket.deflate for socket in agreed}) == 1
            for text in ("the same text " * 100, "and another " * 50):
                shared = make_message(TEXT, text.encode(), agreed[0].deflate)
                assert len(shared) < 100
                for socket in agreed:
                    socket.write(shared)
                for client in clients:
                    assert await client.recv() == text
            for client in (*clients, plain):
                await client.close()

    run(test, loop)


def test_a_connection_can_outlive_its_handler(loop: str) -> None:
    async def test() -> None:
        receivers: list[EchoReceiver] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            receivers.append(EchoReceiver(scope["extensions"][DIRECT]["socket"]))
            receivers[-1].socket.attach(receivers[-1], outlives_handler=True)

        async with serving(app) as served:
            client = await Client.connect(served.port)
            await eventually(lambda: receivers and not served.server.server_state.tasks)
            client.send(frame(0x81, b"still here"))
            assert await client.frame() == (0x81, b"still here")
            assert receivers[0].codes == []
            client.send(closing(1000))
            assert await client.close_code() == 1000
            await served.empty()
            assert receivers[0].codes == [1000]
            await client.close()

    run(test, loop)


def test_a_failed_handler_ends_the_connection(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        receivers: list[EchoReceiver] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            receivers.append(EchoReceiver(scope["extensions"][DIRECT]["socket"]))
            receivers[-1].socket.attach(receivers[-1], outlives_handler=True)
            raise LookupError

        async with serving(app) as served:
            client = await Client.connect(served.port)
            assert await client.close_code() == 1011
            client.send(closing(1011))
            await served.empty()
            assert receivers[0].codes == [1011]
            await client.close()

    run(test, loop)
    assert "Exception in ASGI application" in caplog.text

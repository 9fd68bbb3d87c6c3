"""The WebSocket protocol as an ASGI server, on both event loops: messages, closing, shutdown and leaks."""

import asyncio
import gc
import itertools
from typing import Any

import pytest
from protocol_app import (
    HEAD,
    LOOPS,
    Client,
    DirectEcho,
    Echo,
    EchoReceiver,
    Receive,
    Send,
    closer,
    closing,
    eventually,
    frame,
    run,
    serving,
    url,
)
from uvicorn.protocols.utils import ClientDisconnected
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from chatkit.protocols.http import HttpConnection
from chatkit.protocols.websocket import HttpProtocol, WebSocketProtocol
from chatkit.websocket.reader import FrameReader


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Talking


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x02hi", 1002),
        (frame(0x83), 1002),
        (frame(0x80), 1002),
        (frame(0xC1, b"x"), 1002),
        (closing(1005), 1002),
        (frame(0x88, b"\x03"), 1002),
        (frame(0x81, b"\xff"), 1007),
        (frame(0x81, b"x" * 2000), 1009),
        (frame(0x01, b"x" * 600) + frame(0x00, b"x" * 600), 1009),
    ],
)
@pytest.mark.parametrize("kind", [Echo, DirectEcho])
def test_a_protocol_error_is_reported_and_ends_the_connection(loop: str, kind: Any, data: bytes, code: int) -> None:
    async def test() -> None:
        app = kind()
        async with serving(app, ws_max_size=1000) as served:
            client = await Client.connect(served.port)
            client.send(data + frame(0x81, b"unheard") * 1000)
            assert await client.close_code() == code
            assert await client.rest() == b""
            await client.close()
            await served.empty()
            if kind is Echo:
                assert app.end["code"] == code
            else:
                assert app.receivers[0].codes == [code]
                assert app.receivers[0].texts == []

    run(test, loop)


def test_a_client_that_ignores_a_protocol_error_is_disconnected() -> None:
    async def test() -> None:
        async with serving(Echo()) as served:
            client = await Client.connect(served.port)
            client.send(frame(0x83))
            assert await client.close_code() == 1002
            while served.connections:  # it goes on sending, and does not close
                client.send(frame(0x81, b"la la la"))
                await asyncio.sleep(0.01)
            await served.empty()
            client.cut()

    run(test)


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1011, 3000, 4999, 1005])
def test_a_close_is_echoed_and_the_server_ends_the_connection(loop: str, code: int) -> None:
    async def test() -> None:
        app = Echo()
        async with serving(app) as served:
            client = await Client.connect(served.port)
            client.send(frame(0x81, b"last") + (frame(0x88) if code == 1005 else closing(code, b"bye")))
            assert await client.close_code() == code
            assert await client.rest() == b""
            await client.close()
            await served.empty()
            assert app.end == {"type": "websocket.disconnect", "code": code, "reason": "" if code == 1005 else "bye"}
            assert app.events[1]["text"] == "last"

    run(test, loop)


def test_pings_are_answered_in_the_middle_of_a_message(loop: str) -> None:
    async def test() -> None:
        async with serving(Echo()) as served:
            client = await Client.connect(served.port)
            client.send(frame(0x01, b"a") + frame(0x89, b"p1") + frame(0x89) + frame(0x80, b"b"))
            assert [await client.frame() for _ in range(3)] == [(0x8A, b"p1"), (0x8A, b""), (0x81, b"ab")]
            await client.close()

    run(test, loop)


def test_compression_is_negotiated_without_context_takeover(loop: str) -> None:
    async def test() -> None:
        async with serving(Echo()) as served:
            extension = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
            client = await Client.connect(served.port, None)
            client.send(HEAD + extension)
            answer = await client.head()
            for parameter in (
                b"server_no_context_takeover",
                b"client_no_context_takeover",
                b"client_max_window_bits=12",
            ):
                assert parameter in answer
            assert b"server_max_window_bits" not in answer
            await client.close()
        async with serving(Echo(), ws_per_message_deflate=False) as served:
            client = await Client.connect(served.port, None)
            client.send(HEAD + extension)
            assert b"Extensions" not in await client.head()
            await client.close()

    run(test, loop)


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        ("permessage-deflate", {}),
        ("permessage-deflate; client_max_window_bits", {"client_max_window_bits": "12"}),
        ("permessage-deflate; client_max_window_bits=10", {"client_max_window_bits": "10"}),
        ("permessage-deflate; client_max_window_bits=15", {"client_max_window_bits": "12"}),
        ("permessage-deflate; server_max_window_bits=15", {"server_max_window_bits": "12"}),
        ("permessage-deflate; server_max_window_bits=9", {"server_max_window_bits": "9"}),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", {}),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=010", None),
        ("permessage-deflate; no_such_parameter", None),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
        ("x-other, permessage-deflate; server_max_window_bits=11", {"server_max_window_bits": "11"}),
    ],
)
def test_a_window_is_negotiated_only_if_the_client_offers_it(offer: str, agreed: dict[str, str] | None) -> None:
    async def test() -> None:
        async with serving(Echo()) as served:
            client = await Client.connect(served.port, None)
            client.send(HEAD + f"Sec-WebSocket-Extensions: {offer}\r\n\r\n".encode())
            answer = (await client.head()).decode()
            assert answer.startswith("HTTP/1.1 101 ")
            found = [line.split(": ")[1] for line in answer.split("\r\n") if line.startswith("Sec-WebSocket-Ext")]
            parameters = [part.strip() for part in found[0].split(";")[1:]] if found else []
            assert {"server_no_context_takeover", "client_no_context_takeover"} <= set(parameters) or not found
            windows = dict(part.split("=") for part in parameters if "=" in part)
            assert (windows if found else None) == agreed
            await client.close()

    run(test)


# Ending


def test_a_handlers_close_waits_for_the_clients(loop: str, caplog: Any) -> None:
    async def test() -> None:
        async with serving(closer()) as served:
            client = await Client.connect(served.port)
            assert await client.frame() == (0x88, b"\x0f\xa0enough")
            client.send(frame(0x81, b"dropped") * 100 + frame(0x82, b"too"))
            await eventually(lambda: not served.tasks)
            assert len(served.connections) == 1
            client.send(closing(4000))
            assert await client.rest() == b""
            await client.close()
            await served.empty()

    run(test, loop)
    assert not caplog.records


def test_an_invalid_close_code_raises_in_the_handler(caplog: Any) -> None:
    async def test() -> None:
        async with serving(closer(1006)) as served, connect(url(served.port)) as client:
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1011

    run(test)
    assert "1006 is not a close code" in caplog.text


@pytest.mark.parametrize(
    ("error", "code"), [(None, 1000), (ValueError("on purpose"), 1011), (ClientDisconnected(), 1000)]
)
def test_the_connection_ends_with_its_handler(loop: str, error: Exception | None, code: int, caplog: Any) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        if error is not None:
            raise error

    async def test() -> None:
        async with serving(app) as served, connect(url(served.port)) as client:
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == code

    run(test, loop)
    assert ("on purpose" in caplog.text) == (code == 1011)


@pytest.mark.parametrize("how", ["cut", "half", "close"])
@pytest.mark.parametrize("kind", [Echo, DirectEcho])
def test_a_connection_that_ends_without_a_close_is_1006(loop: str, kind: Any, how: str) -> None:
    async def test() -> None:
        app = kind()
        async with serving(app) as served:
            client = await Client.connect(served.port)
            client.send(frame(0x81, b"last"))
            await client.frame()
            match how:
                case "cut":
                    client.cut()
                case "half":
                    client.writer.write_eof()
                    assert await client.rest() == b""
                case "close":
                    await client.close()
            await served.empty()
            if kind is Echo:
                assert app.end["code"] == 1006
            else:
                assert app.receivers[0].codes == [1006]
            client.cut()

    run(test, loop)


def test_send_raises_after_a_disconnect(loop: str) -> None:
    ended: list[BaseException] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "bytes": bytes(100_000)})
        except OSError as error:
            ended.append(error)
            raise

    async def test() -> None:
        async with serving(app) as served:
            client = await Client.connect(served.port)
            await client.frame()
            client.cut()
            await served.empty()

    run(test, loop)
    assert len(ended) == 1


# Shutdown


@pytest.mark.parametrize("kind", [Echo, DirectEcho])
def test_a_shutdown_closes_connections_with_1012(loop: str, kind: Any) -> None:
    async def test() -> None:
        app = kind()
        async with serving(app) as served:
            polite = await connect(url(served.port))
            await polite.send("hi")
            await polite.recv()
            deaf = await Client.connect(served.port)
            entering = await Client.connect(served.port, None)
            entering.send(HEAD)
            await eventually(lambda: len(served.connections) == 3)
        with pytest.raises(ConnectionClosed) as closed:
            await polite.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert await deaf.close_code() == 1012
        assert not served.connections
        assert not served.tasks
        codes = {app.end["code"]} if kind is Echo else {code for one in app.receivers for code in one.codes}
        assert codes == {1012}
        deaf.cut()
        entering.cut()

    run(test, loop)


def test_a_shutdown_rejects_pending_handshakes() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        assert (await receive())["type"] == "websocket.disconnect"

    async def test() -> None:
        async with serving(app) as served:
            client = await Client.connect(served.port, None)
            client.send(HEAD + b"\r\n")
            await eventually(lambda: served.tasks)
        assert (await client.rest()).startswith(b"HTTP/1.1 503 ")
        await client.close()

    run(test)


# Nothing stays behind


def living() -> int:
    gc.collect()
    return sum(
        isinstance(one, WebSocketProtocol | HttpProtocol | HttpConnection | FrameReader | EchoReceiver)
        for one in gc.get_objects()
    )


async def come_and_go(port: int, how: int) -> None:
    client = await Client.connect(port, None)
    if how == 0:
        client.cut()
        return
    client.send(HEAD[: how * 10] if how == 1 else HEAD + b"\r\n")
    if how == 1:
        client.cut()
        return
    if how > 2:
        await client.head()
    match how:
        case 3:
            client.send(frame(0x81, b"hi") + closing(1000))
            await client.close_code()
        case 4:
            client.send(frame(0x83))
            await client.rest()
        case 5:
            client.send(frame(0x81, b"hi")[:-1])
        case 6:
            client.writer.write_eof()
            await client.rest()
        case 7:
            client.send(frame(0x01, b"a fragment"))
    if how % 2:
        await client.close()
    else:
        client.cut()


@pytest.mark.parametrize(("name", "n"), [("uvloop", 5000), ("asyncio", 500)])
def test_thousands_of_connections_leak_nothing(name: str, n: int) -> None:
    async def test() -> None:
        before = living()
        for app in (Echo(), DirectEcho()):
            async with serving(app) as served:
                hows = itertools.cycle(range(8))
                for _ in range(n // 200):
                    await asyncio.gather(*(come_and_go(served.port, next(hows)) for _ in range(100)))
                await served.empty()
            assert served.server.server_state.total_requests == 0
            del served
            app.__dict__.clear()
        assert living() == before

    run(test, name)

"""Rejected handshakes: invalid ones, and those that the application or a limit rejects."""

from typing import Any

import pytest
from protocol_app import HEAD, Client, Echo, Receive, Send, accepting, eventually, run, serving, url
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from chatkit.protocols.http import HttpConnection

pytest_plugins = ["loop_fixture"]


async def answer_to(port: int, head: bytes) -> bytes:
    """Return all that the server answers to a head until it ends the connection."""
    client = await Client.connect(port, None)
    client.send(head)
    answer = await client.rest()
    await client.close()
    return answer


# By the server


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


def test_connections_over_the_limit_get_a_503() -> None:
    async def test() -> None:
        async with serving(Echo(), limit_concurrency=2) as served:
            client = await Client.connect(served.port)
            assert (await answer_to(served.port, HEAD + b"\r\n")).startswith(b"HTTP/1.1 503 ")
            await client.close()

    run(test)


# By the application


@pytest.mark.parametrize("extra", [{"subprotocol": "none of yours"}, {"headers": [(b"x", b"1\r\nset-cookie: a=b")]}])
def test_an_invalid_accept_raises_in_the_handler(extra: Any, caplog: Any) -> None:
    async def test() -> None:
        async with serving(accepting(**extra)) as served:
            assert (await answer_to(served.port, HEAD + b"\r\n")).startswith(b"HTTP/1.1 500 ")
            await served.empty()

    run(test)
    assert "Exception in ASGI application" in caplog.text


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

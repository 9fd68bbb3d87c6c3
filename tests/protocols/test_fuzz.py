"""Heads, bodies and handshakes that no client would send, in splits that no network would make.

Whatever comes, only one request is with the application, what a connection keeps stays under its bound, and nothing is
logged but that a request was malformed.
"""

import asyncio
import contextlib
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from protocol_app import HEAD, Client, Receive, Send, Serving, frame, run, serving

from chatkit.protocols.head import MAX_HEAD_BYTES
from chatkit.protocols.http import HttpConnection
from chatkit.protocols.response import PART_BYTES

ONE_READ = 262_144
MAX_HELD = ONE_READ + MAX_HEAD_BYTES + 2 * PART_BYTES  # unread bytes, and a body that waits for its application

tokens = st.sampled_from(
    [b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"PRI", b"get", b"", b"\x16\x03", b"G" * 99]
)
targets = st.sampled_from(
    [
        b"/",
        b"*",
        b"/a?b=%ff",
        b"/\xff?\x80",
        b"//x",
        b"http://test/x",
        b"http://[::1",
        b"a:1",
        b"",
        b"/" + b"x" * 17_000,
    ]
)
versions = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/9", b"", b"http/1.1"])
fields = st.sampled_from(
    [
        b"Host: test", b"Host: other", b"Host:", b"Content-Length: 3", b"Content-Length: 0", b"Content-Length: -1",
        b"Content-Length: 99999999999999999999", b"Content-Length: 18446744073709551615", b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked, chunked", b"Expect: 100-continue", b"Expect: x",
        b"Connection: close", b"Connection: keep-alive, Upgrade", b"Connection: upgrade", b"Upgrade: websocket",
        b"Upgrade: websocket \t", b"Upgrade: h2c", b"Upgrade: websocket, h2c", b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Protocol: a,,b", b"Sec-WebSocket-Extensions: ;",
        b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8", b"X: \xff\xfe", b"X: a\x00b",
        b" folded", b"no colon", b": no name", b"X" * 300 + b":", b"Cookie: " + b"a=\";" * 500,
    ]
)  # fmt: skip
bodies = st.sampled_from(
    [
        b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"3;x=\"\r\n\r\n\"\r\nabc\r\n", b"0\r\nX: y\r\n\r\n",
        b"0\r\n" + b"a:\r\n" * 9_000, b"zz\r\n", b"fffffffffffffffff\r\n", b"\r\n\r\n", b"1\r\nx\r\n" * 50,
        b"3\r\n\r\n\r\r\n", b"\n\n", b"\r\r\n\n",
    ]
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    line = b" ".join((draw(tokens), draw(targets), draw(versions)))
    lines = [line, *draw(st.lists(fields, max_size=8))]
    return draw(st.sampled_from([b"\r\n", b"\r\n", b"\n"])).join(lines) + b"\r\n\r\n" + draw(bodies)


good = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc",
        HEAD + b"\r\n" + frame(0x81, b"hi") + b"\x00 no frame",
    ]
)
streams = st.lists(good | requests() | st.binary(max_size=60), min_size=1, max_size=4).map(b"".join)
splits = st.lists(st.integers(0, 400), max_size=12)


class Curious:
    """An application that reads some bodies whole, some in part and some not at all, and sends texts back."""

    def __init__(self) -> None:
        self.n_now = 0
        self.n_most = 0
        self.n_calls = 0

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        self.n_calls += 1
        self.n_now += 1
        self.n_most = max(self.n_most, self.n_now)
        try:
            await (self._talk if scope["type"] == "websocket" else self._answer)(scope, receive, send)
        finally:
            self.n_now -= 1

    async def _talk(self, scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event.get("text") or ""})

    async def _answer(self, scope: Any, receive: Receive, send: Send) -> None:
        assert [name for name, _ in scope["headers"]] == [name.lower() for name, _ in scope["headers"]]
        for _ in range(self.n_calls % 3):
            event = await receive()
            if event["type"] == "http.disconnect" or not event["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


def check_bounds(served: Serving) -> None:
    for one in served.connections:
        if isinstance(one, HttpConnection):
            body = one.cycle.body if one.cycle else b""
            assert len(one._unread) + len(body) <= MAX_HELD
            assert len(one.headers or ()) <= MAX_HEAD_BYTES // 3
            assert not one.pipeline


async def send_split(served: Serving, stream: bytes, cuts: list[int]) -> None:
    client = await Client.connect(served.port, None)
    at = 0
    with contextlib.suppress(ConnectionError):
        for size in [*cuts, len(stream)]:
            if client.writer.is_closing():  # the server has closed it
                break
            client.send(stream[at : at + size])
            at += size
            await asyncio.sleep(0)
            check_bounds(served)
        if client.writer.can_write_eof() and not client.writer.is_closing():  # the server may have reset it
            client.writer.write_eof()
        async with asyncio.timeout(20):
            await client.rest()
    client.cut()
    await served.empty()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(st.tuples(streams, splits), min_size=1, max_size=5))
def test_no_input_raises_an_error_or_leaks(
    batch: list[tuple[bytes, list[int]]], caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        app = Curious()
        caplog.clear()
        async with serving(app, log_level="info") as served:
            for stream, cuts in batch:
                app.n_most = 0
                await send_split(served, stream, cuts)
                assert app.n_most <= 1
            client = await Client.connect(served.port, None)  # and others are served as before
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            assert (await client.rest()).startswith(b"HTTP/1.1 200 ")
            await client.close()
        wrong = [record for record in caplog.records if record.levelno > logging.WARNING or record.exc_info]
        assert not wrong, wrong

    run(test)

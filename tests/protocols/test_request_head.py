"""The head of a request: its upgrade and its target, and the linear time that parsing takes."""

import sys
from typing import Any

import pytest
from http_app import CHUNKED, GET, Page, answer, conversation
from protocol_app import HEAD, Client, Echo, eventually, frame, run, serving

from chatkit.protocols.head import MAX_HEADERS
from chatkit.protocols.http import HttpConnection

pytest_plugins = ["loop_fixture"]


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


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"gzip\r\nTransfer-Encoding: chunked"])
def test_an_unknown_transfer_coding_is_not_implemented(loop: str, coding: bytes) -> None:
    async def test() -> None:
        page = Page()
        async with serving(page) as served:
            client = await Client.connect(served.port, None)
            client.send(CHUNKED.replace(b": chunked", b": " + coding) + b"2\r\nhi\r\n0\r\n\r\n")
            status, _ = await answer(client)
            assert (status, page.scopes) == (501, [])
            client.cut()

    run(test, loop)


def test_a_client_of_an_old_version_gets_no_interim_response(loop: str) -> None:
    async def test() -> None:
        async with serving(Page()) as served:
            client = await Client.connect(served.port, None)
            client.send(b"POST / HTTP/1.0\r\nHost: test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi")
            assert await answer(client) == (200, b"hi")
            client.cut()

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

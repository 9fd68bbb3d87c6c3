"""The addresses and tokens that the asyncio client is given, also those that lead to no server."""

import asyncio
import socket
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from serving import ServerProcess, free_port, serve

from chatkit.client import (
    Client,
)
from chatkit.client.errors import refusal_of_response
from chatkit.errors import BadRequest, NotFound, Unauthorized, Unavailable

ValueT = TypeVar("ValueT")
PATIENCE_S = 60  # bounds a test that would hang; none waits for it


def run(test: Coroutine[Any, Any, ValueT]) -> ValueT:
    return asyncio.run(asyncio.wait_for(test, PATIENCE_S))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("server") / "rooms.db", "--rate-limit", "0") as process:
        yield process


def test_no_server_raises_unavailable_at_once() -> None:
    async def test() -> None:
        async with Client(f"http://127.0.0.1:{free_port()}") as client:
            with pytest.raises(Unavailable, match=r"no server answers at http://127\.0\.0\.1:\d+: Connection refused$"):
                await client.publish("ops", "hi")
            with pytest.raises(Unavailable):
                await anext(client.follow("ops"))
            with pytest.raises(Unavailable):
                await client.rooms()

    run(test())


def test_a_server_that_speaks_another_protocol_raises_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def test() -> None:
            async with Client(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
                task = asyncio.create_task(client.publish("ops", "hi"))
                loop = asyncio.get_running_loop()
                listener.setblocking(False)
                connection, _ = await loop.sock_accept(listener)
                with connection:
                    await loop.sock_sendall(connection, b"SSH-2.0-OpenSSH\r\n")
                with pytest.raises(Unavailable):
                    await task

        run(test())


def test_a_server_without_tls_is_named_as_the_cause(server: ServerProcess) -> None:
    async def test() -> None:
        async with Client(server.url.replace("http:", "https:")) as client:
            for call in (client.publish("ops", "hi"), client.rooms()):
                with pytest.raises(Unavailable, match="does not speak TLS: use http:// in place of https://"):
                    await call

    run(test())


def test_another_server_is_named_as_the_cause_of_a_404() -> None:
    error = refusal_of_response(404, b"<h1>Not Found</h1>")
    assert isinstance(error, Unavailable)
    assert str(error).startswith("the server answered 404: this is not the address of a chatkit server")


def test_a_bad_url_is_refused_before_a_connection_is_opened() -> None:
    label = "a" * 64  # one more than a name in the DNS may have
    for url in (
        "ftp://example.org",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://[",
        "http://a b",
        f"http://{label}.example",
    ):
        with pytest.raises(BadRequest, match="not a server's URL"):
            Client(url)
    with pytest.raises(BadRequest, match="a token is printable ASCII"):
        Client("http://127.0.0.1", token="a\nb")


def test_a_path_in_any_script_is_requested(server: ServerProcess) -> None:
    async def test() -> None:
        async with Client(f"{server.url}/a ch\u00e4t") as client:
            with pytest.raises(NotFound):
                await client.rooms()

    run(test())


def test_a_server_with_a_secret_needs_the_token(tmp_path: Path) -> None:
    async def test(server: ServerProcess) -> None:
        async with Client(server.url) as nobody:
            with pytest.raises(Unauthorized):
                await nobody.publish("ops", "hi")
            with pytest.raises(Unauthorized):
                await nobody.rooms()
        async with Client(server.url, token="right-token") as somebody:
            assert (await somebody.publish("ops", "hi")).message.seq == 1
            assert len(await somebody.rooms()) == 1
        async with Client(f"{server.url}/?token=right-token") as with_link:
            assert (await with_link.publish("ops", "hi")).message.seq == 2

    with serve(tmp_path / "rooms.db", "--secret", "right-token") as server:
        run(test(server))

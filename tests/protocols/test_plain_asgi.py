"""Sessions without the direct path: under uvicorn's own WebSockets, and in Litestar's test client."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from asgi_servers import SERVERS, cut
from litestar.testing import TestClient
from raw_client import Talk, open_socket, run
from websockets.exceptions import ConnectionClosed, InvalidStatus

from chatkit.backends import open_backend
from chatkit.core.hub import Hub
from chatkit.server.app import create_app, open_app
from chatkit.server.asgi_socket import AsgiSocket
from chatkit.server.settings import Settings


class Here(msgspec.Struct, frozen=True):
    """A server in this process, and what it counts."""

    url: str
    ws_url: str
    app: Any

    @property
    def n_connections(self) -> int:
        return int(self.app.state.admission.n_connections)

    @property
    def n_subscriptions(self) -> int:
        return int(self.app.state.admission.context.hub.counts["subscriptions"])


@asynccontextmanager
async def serving(server: str = "httptools, websockets-sansio", **given: Any) -> AsyncIterator[Here]:
    """Run the application under another server, by default uvicorn with its own protocol classes."""
    settings = Settings(backend="memory://", **{"rate_limit": 0, **given})
    async with open_app(settings) as app, SERVERS[server](app) as port:
        yield Here(f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}", app)


def open_sockets() -> list[AsgiSocket]:
    return [each for each in gc.get_objects() if type(each) is AsgiSocket]


async def nobody_is_left(here: Here) -> None:
    async with asyncio.timeout(20):
        while here.n_connections or here.n_subscriptions:  # noqa: ASYNC110 - it is the counting that is tested
            await asyncio.sleep(0.01)


def test_the_tutorials_page_and_every_format() -> None:
    async def test() -> None:
        async with serving() as here:
            async with (
                open_socket(here, "/ws?name=ann") as text,
                open_socket(here, "/ws?format=line") as line,
                open_socket(here, "/ws?format=json") as whole,
            ):
                for body in ("hello", "x" * 65_536, "\u00e9\n\U0001f600"):
                    await text.send(body)
                    assert await text.recv() == body
                    assert await line.recv() == f"ann: {body}".replace("\n", "\n  ")
                    assert json.loads(await whole.recv())["body"] == body
                await text.send("x" * 65_537)
                assert await text.recv() == "! a body holds at most 65536 bytes"
            await nobody_is_left(here)

    run(test())


def test_a_session_resumes_by_cursor() -> None:
    async def test() -> None:
        async with serving() as here:
            async with Talk.open(here, "/ws/ops?name=ann") as talk:
                assert [(await talk.receive())["type"] for _ in range(2)] == ["welcome", "joined"]
                acks = [await talk.ask(op="publish", body=f"m{number}") for number in range(1, 51)]
                assert [ack["seq"] for ack in acks] == list(range(1, 51))
                assert (await talk.ask(op="shout"))["code"] == "unknown-op"
            async with Talk.open(here, f"/ws/ops?after={acks[9]['cursor']}") as talk:
                assert await talk.bodies(40) == [f"m{number}" for number in range(11, 51)]
            async with Talk.open(here, "/ws/ops?after=other1:4") as talk:
                assert (await talk.until("gap"))["reason"] == "epoch"
            await nobody_is_left(here)

    run(test())


def test_a_burst_and_a_slow_reader_get_everything_in_order() -> None:
    async def test() -> None:
        async with (
            serving() as here,
            Talk.open(here, "/ws/burst?history=0") as talk,
            Talk.open(here, "/ws/burst?history=0", max_queue=1) as slow,
        ):
            await talk.until("joined")
            await slow.until("joined")
            for number in range(900):  # as many as memory:// keeps
                await talk.send(op="publish", body=f"{number}:" + "x" * 4_000)
            for reader in (talk, slow):
                bodies = await reader.bodies(900)
                assert [body.partition(":")[0] for body in bodies] == [str(number) for number in range(900)]

    run(test())


@pytest.mark.parametrize(
    ("path", "frame", "code"),
    [("/ws/ops", b"binary", 1003), ("/ws/a/b", None, 1008), ("/ws/ops?after=no", None, 1008)],
)
def test_a_close_has_the_right_code(path: str, frame: bytes | None, code: int) -> None:
    async def test() -> None:
        async with serving() as here:
            async with open_socket(here, path) as opened:
                if frame is not None:
                    await opened.send(frame)
                await opened.wait_closed()
                assert opened.close_code == code
            await nobody_is_left(here)

    run(test())


def test_connections_without_token_over_the_limit_or_of_another_origin_are_rejected() -> None:
    async def test() -> None:
        async with serving(secret="eight-or-more", max_connections=1) as here:
            async with open_socket(here, "/ws/ops") as opened:
                await opened.wait_closed()
                assert opened.close_code == 4401
            await nobody_is_left(here)
            async with open_socket(here, "/ws/ops?token=eight-or-more") as first:
                async with open_socket(here, "/ws/ops?token=eight-or-more") as opened:
                    await opened.wait_closed()
                    assert opened.close_code == 4508
                await first.send("undisturbed")
                assert await first.recv() == "undisturbed"
            with pytest.raises(InvalidStatus) as refused:
                async with open_socket(here, "/ws/ops", origin="https://evil.example"):
                    pass
            assert refused.value.response.status_code == 403
            assert b"forbidden" in refused.value.response.body
            await nobody_is_left(here)

    run(test())


def test_a_flood_is_slowed_and_answered_completely() -> None:
    async def test() -> None:
        async with serving() as here, Talk.open(here, "/ws") as talk:
            await talk.until("welcome")
            for number in range(2_000):
                await talk.send(op="publish", room="flood", body=str(number), ref=number)
            refs = [(await talk.until("ack"))["ref"] for _ in range(2_000)]
            assert refs == list(range(2_000))

    run(test())


@pytest.mark.parametrize("server", ["httptools, websockets-sansio", "h11, wsproto", "hypercorn"])
def test_a_client_that_reads_nothing_and_is_reset_leaks_nothing(server: str) -> None:
    async def test() -> None:
        async with serving(server) as here:
            async with Talk.open(here, "/ws/flood") as talk:
                for _ in range(100):
                    await talk.ask(op="publish", body="x" * 60_000)
            async with Talk.open(here, "/ws/flood?history=0", max_queue=1) as talk:
                await talk.until("joined")
                sockets = open_sockets()
                while not any(each._readable._waiters for each in sockets):  # no listener waits to read on
                    await talk.send(op="history", limit=100)
                    await asyncio.sleep(0)  # the server runs in this loop, too
                cut(talk.socket)
            await nobody_is_left(here)

    run(test())


def test_a_shutdown_closes_websockets() -> None:
    async def test() -> None:
        async with serving() as here:
            opening = open_socket(here, "/ws/ops")
            opened = await opening.__aenter__()
        with pytest.raises(ConnectionClosed):
            await opened.recv()
        assert opened.close_code == 1012
        await opening.__aexit__(None, None, None)

    run(test())


def test_the_application_works_in_litestars_test_client(tmp_path: Path) -> None:
    backend = open_backend(f"sqlite:///{tmp_path}/rooms.db")
    hub = Hub(backend)
    app = create_app(Settings(), hub)
    stack = AsyncExitStack()

    async def start() -> None:  # in the test client's own event loop
        await stack.enter_async_context(backend)
        await stack.enter_async_context(hub)

    app.on_startup.append(start)
    app.on_shutdown.append(stack.aclose)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        assert client.post("/rooms/ops/messages", json={"body": "hi"}).status_code == 201
        with client.websocket_connect("/ws/ops", subprotocols=["chatkit.v1"]) as opened:
            types = [opened.receive_json()["type"] for _ in range(3)]
            assert types == ["welcome", "joined", "message"]
            opened.send_json({"op": "publish", "body": "there", "ref": 1})
            assert {opened.receive_json()["type"] for _ in range(2)} == {"message", "ack"}
        page = client.get("/rooms/ops/messages").json()
        assert [message["body"] for message in page["messages"]] == ["hi", "there"]

"""Every refusal of a WebSocket with its code, beside another client that none of them disturbs."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
from raw_client import Talk, bystander, call, eventually, health, open_socket, publish, run
from serving import ServerProcess, serve
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("sockets") / "rooms.db", "--rate-limit", "0") as started:
        yield started
        assert "Traceback" not in started.log, started.log


async def read_close(socket: ClientConnection) -> tuple[int, str]:
    """Receive until the connection ends; return the close code and the reason."""
    with suppress(ConnectionClosed):
        async with asyncio.timeout(20):
            while True:
                await socket.recv()
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or ""


REFUSALS: list[tuple[Any, str]] = [
    ("{", "bad-request"),
    ("", "bad-request"),
    ("[1]", "bad-request"),
    ("null", "bad-request"),
    ('"text"', "bad-request"),
    ("[" * 50_000, "bad-request"),
    ('{"a":' * 20_000 + "1" + "}" * 20_000, "bad-request"),
    ({}, "bad-request"),
    ({"op": 7}, "bad-request"),
    ({"op": "shout", "ref": 1}, "unknown-op"),
    ({"op": "publish", "room": "r"}, "bad-request"),
    ({"op": "publish", "room": "r", "body": 7}, "bad-request"),
    ({"op": "publish", "body": "no room"}, "bad-request"),
    ({"op": "publish", "room": "a/b", "body": "x"}, "bad-room"),
    ({"op": "publish", "room": "\x1b[31m", "body": "x"}, "bad-room"),
    ({"op": "publish", "room": "r" * 65, "body": "x"}, "bad-room"),
    ({"op": "publish", "room": "r", "body": "x" * 65_537}, "body-too-large"),
    ({"op": "publish", "room": "r", "body": "\u00e9" * 32_769}, "body-too-large"),
    ({"op": "publish", "room": "r", "body": "x", "data": "y" * 65_536}, "data-too-large"),
    ({"op": "publish", "room": "r", "body": "x", "key": ""}, "bad-key"),
    ({"op": "join", "room": "r", "after": "garbage"}, "bad-cursor"),
    ({"op": "join", "room": "a b"}, "bad-room"),
    ({"op": "history", "room": "r", "limit": 0}, "bad-request"),
    ({"op": "history", "room": "r", "before": "x"}, "bad-cursor"),
    ({"op": "join", "room": "r", "history": "ten"}, "bad-request"),
]


def test_every_refusal_has_its_code_and_disturbs_no_other_client(server: ServerProcess) -> None:
    async def test() -> None:
        async with bystander(server), Talk.open(server, "/ws?name=clumsy") as talk:
            await talk.until("welcome")
            for command, code in REFUSALS:
                await talk.socket.send(command if isinstance(command, str) else json.dumps(command))
                error = await talk.receive()
                assert (error["type"], error["code"]) == ("error", code), (str(command)[:80], error)
                assert error["message"]
            assert (await talk.ask(op="shout"))["code"] == "unknown-op"
            assert (await talk.ask(op="publish", body="x"))["code"] == "bad-request"
            assert (await talk.ask(op="publish", room="r", body="fine", unknown="field"))["type"] == "ack"
        assert call(server, "GET", "/rooms/r").json["last"] == 1

    run(test())


@pytest.mark.parametrize("number", [-1, 0, 2**63, 10**30, -(10**30)])
def test_a_number_out_of_the_range_of_stores_is_answered(server: ServerProcess, number: int) -> None:
    publish(server, "numbers", "x")

    async def test() -> None:
        async with bystander(server, "numbers"), Talk.open(server, "/ws/numbers") as talk:
            for field in ("before", "after", "limit"):
                answer = await talk.ask(op="history", **{field: number})
                assert answer["type"] in {"history", "error"}, answer
            answer = await talk.ask(op="join", room="numbers", history=number)
            assert answer["type"] in {"joined", "error"}, answer

    run(test())


def test_escape_sequences_are_kept_in_a_body_and_refused_in_a_name(server: ServerProcess) -> None:
    body = "\x1b[2J\x07\u202e<script>"

    async def test() -> None:
        async with Talk.open(server, "/ws/escapes") as talk:
            await talk.ask(op="publish", body=body)
        async with Talk.open(server, "/ws/escapes") as talk:
            assert await talk.bodies(1) == [body]
        for name in ("\x1b[31mred", "bi\u202edi", "zero\u200bwidth", "n" * 33, "  ", "line\nline"):
            async with open_socket(server, f"/ws/escapes?name={quote(name)}") as socket:
                assert (await read_close(socket))[0] == 1008

    run(test())


@pytest.mark.parametrize("subprotocol", [None, "chatkit.v1"])
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/ws/a/b", 1008),
        ("/ws/a%2Fb", 1008),
        ("/ws/.hidden", 4404),
        ("/ws/a%20b", 1008),
        (f"/ws/{'r' * 65}", 1008),
        ("/ws/ops?after=garbage", 1008),
        ("/ws/ops?history=-1", 1008),
        ("/ws/ops?name=%00", 1008),
    ],
)
def test_a_path_without_a_valid_room_closes_with_the_reason(
    server: ServerProcess, subprotocol: Any, path: str, code: int
) -> None:
    async def test() -> None:
        options = {} if subprotocol is None else {"subprotocols": [subprotocol]}
        async with bystander(server), open_socket(server, path, **options) as socket:
            closed_with, reason = await read_close(socket)
            assert closed_with == code
            assert reason

    run(test())


@pytest.mark.parametrize("subprotocol", [None, "chatkit.v1"])
@pytest.mark.parametrize("path", ["/", "/nothing", "/wsx", "/rooms", "/rooms/ops/events"])
def test_a_path_without_a_websocket_closes_with_4404(server: ServerProcess, path: str, subprotocol: Any) -> None:
    async def test() -> None:
        options = {} if subprotocol is None else {"subprotocols": [subprotocol]}
        async with bystander(server), open_socket(server, path, **options) as socket:
            assert socket.subprotocol == subprotocol
            assert await read_close(socket) == (4404, "there is no WebSocket at this address: rooms are at /ws/ROOM")

    run(test())
    assert call(server, "GET", "/nothing").problem == (404, "not-found")


def test_an_unknown_format_closes_with_the_reason(server: ServerProcess) -> None:
    async def test() -> None:
        async with open_socket(server, "/ws/ops?format=xml") as socket:
            assert await read_close(socket) == (1008, "format is one of text, line, json")

    run(test())


@pytest.mark.parametrize("path", ["/ws/closes", "/ws"])
@pytest.mark.parametrize("subprotocol", [None, "chatkit.v1"])
def test_invalid_frames_close_with_their_codes(server: ServerProcess, path: str, subprotocol: Any) -> None:
    options: Any = {} if subprotocol is None else {"subprotocols": [subprotocol]}

    async def test() -> None:
        async with bystander(server):
            async with open_socket(server, path, **options) as socket:
                await socket.send(b"binary")
                assert (await read_close(socket))[0] == 1003
            async with open_socket(server, path, **options) as socket:
                await socket.send(b"\xff\xfe", text=True)
                assert (await read_close(socket))[0] == 1007
            async with open_socket(server, path, **options) as socket:
                with suppress(ConnectionClosed):  # the close frame may arrive while it still sends
                    await socket.send("x" * 2_000_000)
                assert (await read_close(socket))[0] == 1009

    run(test())
    eventually(lambda: health(server)["connections"] == 0)


def test_a_connection_over_the_limit_is_closed_with_4508(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def test(server: ServerProcess) -> None:
        async with open_socket(server, "/ws/full") as one, open_socket(server, "/ws/full") as two:
            async with open_socket(server, "/ws/full") as three:
                code, reason = await read_close(three)
                assert (code, reason) == (4508, "this server takes at most 2 connections")
            await one.send("undisturbed")
            assert await one.recv() == await two.recv() == "undisturbed"

    with serve(tmp_path_factory.mktemp("full") / "rooms.db", "--max-connections", "2") as server:
        run(test(server))
        eventually(lambda: health(server)["connections"] == 0)
        run(_publish_hello(server))


async def _publish_hello(server: ServerProcess) -> None:
    async with open_socket(server, "/ws/full?history=0") as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"

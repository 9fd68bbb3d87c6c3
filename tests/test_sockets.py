"""WebSockets against a real server: both protocols, every refusal, and a bystander whom none of it disturbs."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

import pytest
from rawsocket import Talk, call, eventually, health, open_socket, publish, run
from serving import ServerProcess, serve
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("sockets") / "rooms.db", "--rate-limit", "0") as started:
        yield started
        assert "Traceback" not in started.log, started.log


@asynccontextmanager
async def bystander(server: ServerProcess, room: str = "square") -> AsyncIterator[None]:
    """Have somebody in a room who, after whatever happened, still speaks and hears, each message once."""
    async with Talk.open(server, f"/ws/{room}?name=bystander&history=0") as talk:
        before = (await talk.until("joined"))["last"]
        yield
        answer = await talk.ask(op="history", limit=1)
        last = answer["messages"][-1]["seq"] if answer["messages"] else before
        await talk.say(op="publish", body="still here")
        assert (await talk.until("message", body="still here"))["seq"] == last + 1


async def closing(socket: ClientConnection) -> tuple[int, str]:
    """Hear on to the end; return the close code and the reason."""
    with suppress(ConnectionClosed):
        async with asyncio.timeout(20):
            while True:
                await socket.recv()
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or ""


# Plain text


def test_the_page_of_litestars_tutorial_works_unchanged(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def test(server: ServerProcess) -> None:
        async with open_socket(server, "/ws") as socket:
            assert [await socket.recv() for _ in range(10)] == [f"m{number}" for number in range(3, 13)]
            await socket.send("hello")
            assert await socket.recv() == "hello"
            async with open_socket(server, "/ws?history=1") as other:
                assert await other.recv() == "hello"
                await other.send("<b>hi</b>")
                assert await socket.recv() == await other.recv() == "<b>hi</b>"
        assert call(server, "GET", "/rooms/chat").json["last"] == 14

    with serve(tmp_path_factory.mktemp("tutorial") / "rooms.db") as server:
        for number in range(1, 13):
            publish(server, "chat", f"m{number}")
        run(test(server))


def test_plain_text_comes_in_the_form_asked_for(server: ServerProcess) -> None:
    async def test() -> None:
        async with (
            open_socket(server, "/ws/forms?name=ann") as text,
            open_socket(server, "/ws/forms?format=line&name=bob") as line,
            open_socket(server, "/ws/forms?format=json") as whole,
        ):
            await text.send("hi: \u00e9\n2")
            assert await text.recv() == "hi: \u00e9\n2"
            assert await line.recv() == "ann: hi: \u00e9\n2"
            message = json.loads(await whole.recv())
            assert (message["seq"], message["sender"], message["body"]) == (1, "ann", "hi: \u00e9\n2")
            assert "type" not in message

    run(test())


def test_plain_text_resumes_by_cursor(server: ServerProcess) -> None:
    cursors = [publish(server, "text-resume", f"m{number}") for number in range(1, 6)]
    assert cursors[-1].json["seq"] == 5
    cursor = call(server, "GET", "/rooms/text-resume/messages?after=0&limit=2").json["cursor"]

    async def test() -> None:
        async with open_socket(server, f"/ws/text-resume?after={cursor}") as socket:
            assert [await socket.recv() for _ in range(3)] == ["m3", "m4", "m5"]
        async with open_socket(server, "/ws/text-resume?after=other1:7") as socket:
            assert await socket.recv() == "! the room's log began anew"
            assert await socket.recv() == "m1"

    run(test())


def test_an_error_in_plain_text_is_a_sentence_and_the_socket_stays(server: ServerProcess) -> None:
    async def test() -> None:
        async with bystander(server), open_socket(server, "/ws/text-big") as socket:
            await socket.send("x" * 65_537)
            assert await socket.recv() == "! a body holds at most 65536 bytes"
            await socket.send("x" * 65_536)
            assert len(await socket.recv()) == 65_536

    run(test())


# chatkit.v1


def test_what_comes_first_is_welcome_then_joined_then_messages_in_order(server: ServerProcess) -> None:
    for number in range(1, 4):
        publish(server, "order", f"m{number}")

    async def test() -> None:
        async with Talk.open(server, "/ws/order?name=ann&history=2") as talk:
            assert talk.socket.subprotocol == "chatkit.v1"
            welcome, joined = await talk.hear(), await talk.hear()
            assert (welcome["type"], welcome["name"]) == ("welcome", "ann")
            assert welcome["server"].startswith("chatkit/")
            assert welcome["limits"]["body"] == 65_536
            assert (joined["type"], joined["room"], joined["first"], joined["last"]) == ("joined", "order", 1, 3)
            assert joined["cursor"].endswith(":1")
            assert (joined["count"], [member["name"] for member in joined["members"]]) == (1, ["ann"])
            assert await talk.bodies(2) == ["m2", "m3"]

    run(test())


def test_an_acknowledged_message_has_a_cursor_and_a_repeat_says_so(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws") as talk:
            first = await talk.ask(op="publish", room="acks", body="a", key="k")
            again = await talk.ask(op="publish", room="acks", body="b", key="k")
            assert (first["type"], first["seq"], first["repeat"]) == ("ack", 1, False)
            assert (again["seq"], again["repeat"], again["cursor"]) == (1, True, first["cursor"])
            assert first["cursor"] == call(server, "GET", "/rooms/acks").json["cursor"]

    run(test())


def test_one_connection_is_in_many_rooms_and_leaves_them(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws?name=ann") as talk:
            for number in range(64):
                assert (await talk.ask(op="join", room=f"many-{number}"))["type"] == "joined"
            assert (await talk.ask(op="join", room="one-too-many"))["code"] == "too-many-rooms"
            assert (await talk.ask(op="leave", room="many-0"))["type"] == "left"
            assert (await talk.ask(op="join", room="one-too-many"))["type"] == "joined"
            await talk.ask(op="publish", room="many-0", body="not heard")
            await talk.say(op="publish", room="many-1", body="heard")
            assert (await talk.until("message"))["body"] == "heard"

    run(test())
    eventually(lambda: health(server)["rooms"] == 0)


def test_joining_with_a_cursor_goes_on_behind_it(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws") as talk:
            acks = [await talk.ask(op="publish", room="again", body=f"m{number}") for number in range(1, 8)]
            joined = await talk.ask(op="join", room="again", after=acks[3]["cursor"])
            assert joined["cursor"] == acks[3]["cursor"]
            assert await talk.bodies(3) == ["m5", "m6", "m7"]
            joined = await talk.ask(op="join", room="again", after=acks[5]["cursor"])
            assert await talk.bodies(1) == ["m7"]

    run(test())


@pytest.mark.parametrize("ahead", ["epoch", "future"])
def test_a_cursor_that_is_not_of_this_log_gives_a_gap_first(server: ServerProcess, ahead: str) -> None:
    room = f"gap-{ahead}"
    publish(server, room, "m1")
    cursor = call(server, "GET", f"/rooms/{room}").json["cursor"]
    after = "other1:41" if ahead == "epoch" else cursor.replace(":1", ":41")

    async def test() -> None:
        async with Talk.open(server, f"/ws/{room}?after={after}") as talk:
            joined = await talk.until("joined")
            assert joined["cursor"].split(":") == [cursor.split(":")[0], "0"]
            gap = await talk.hear()
            assert gap == {"type": "gap", "room": room, "after": 41, "before": 1, "reason": "epoch"}
            assert await talk.bodies(1) == ["m1"]

    run(test())


def test_history_members_typing_presence_and_redaction(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws/people?name=ann") as ann, Talk.open(server, "/ws/people?name=bob") as bob:
            while "bob" not in (await ann.until("presence"))["joined"]:
                pass
            await bob.until("joined")
            await bob.say(op="typing")
            assert (await ann.until("typing"))["sender"] == "bob"
            await bob.ask(op="publish", body="one")
            await bob.ask(op="publish", body="two")
            members = await ann.ask(op="members")
            assert ([member["name"] for member in members["members"]], members["count"]) == (["ann", "bob"], 2)
            page = await ann.ask(op="history", search="TWO")
            assert [message["body"] for message in page["messages"]] == ["two"]
            page = await ann.ask(op="history", before=2)
            assert ([message["seq"] for message in page["messages"]], page["complete"]) == ([1], True)
            await asyncio.to_thread(call, server, "DELETE", "/rooms/people/messages/1")
            assert await ann.until("redacted") == {"type": "redacted", "room": "people", "seq": 1}
            await bob.socket.close()
            assert (await ann.until("presence", left=["bob"]))["count"] == 1

    run(test())


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
    ({"op": "join", "room": ".r"}, "bad-room"),
    ({"op": "history", "room": "r", "limit": 0}, "bad-request"),
    ({"op": "history", "room": "r", "before": "x"}, "bad-cursor"),
    ({"op": "join", "room": "r", "history": "ten"}, "bad-request"),
]


def test_every_refusal_has_its_code_and_disturbs_nobody(server: ServerProcess) -> None:
    async def test() -> None:
        async with bystander(server), Talk.open(server, "/ws?name=clumsy") as talk:
            await talk.until("welcome")
            for command, code in REFUSALS:
                await talk.socket.send(command if isinstance(command, str) else json.dumps(command))
                error = await talk.hear()
                assert (error["type"], error["code"]) == ("error", code), (str(command)[:80], error)
                assert error["message"]
            assert (await talk.ask(op="shout"))["code"] == "unknown-op"
            assert (await talk.ask(op="publish", body="x"))["code"] == "bad-request"
            assert (await talk.ask(op="publish", room="r", body="fine", unknown="field"))["type"] == "ack"
        assert call(server, "GET", "/rooms/r").json["last"] == 1

    run(test())


@pytest.mark.parametrize("number", [-1, 0, 2**63, 10**30, -(10**30)])
def test_a_number_no_store_holds_is_answered(server: ServerProcess, number: int) -> None:
    publish(server, "numbers", "x")

    async def test() -> None:
        async with bystander(server, "numbers"), Talk.open(server, "/ws/numbers") as talk:
            for field in ("before", "after", "limit"):
                answer = await talk.ask(op="history", **{field: number})
                assert answer["type"] in {"history", "error"}, answer
            answer = await talk.ask(op="join", room="numbers", history=number)
            assert answer["type"] in {"joined", "error"}, answer

    run(test())


def test_escape_sequences_are_text_in_a_body_and_refused_in_a_name(server: ServerProcess) -> None:
    body = "\x1b[2J\x07\u202e<script>"

    async def test() -> None:
        async with Talk.open(server, "/ws/escapes") as talk:
            await talk.ask(op="publish", body=body)
        async with Talk.open(server, "/ws/escapes") as talk:
            assert await talk.bodies(1) == [body]
        for name in ("\x1b[31mred", "bi\u202edi", "zero\u200bwidth", "n" * 33, "  ", "line\nline"):
            async with open_socket(server, f"/ws/escapes?name={quote(name)}") as socket:
                assert (await closing(socket))[0] == 1008

    run(test())


@pytest.mark.parametrize("subprotocol", [None, "chatkit.v1"])
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/ws/a/b", 1008),
        ("/ws/a%2Fb", 1008),
        ("/ws/.hidden", 1008),
        ("/ws/a%20b", 1008),
        (f"/ws/{'r' * 65}", 1008),
        ("/ws/ops?after=garbage", 1008),
        ("/ws/ops?history=-1", 1008),
        ("/ws/ops?name=%00", 1008),
    ],
)
def test_an_address_that_names_no_room_closes_with_the_reason(
    server: ServerProcess, subprotocol: Any, path: str, code: int
) -> None:
    async def test() -> None:
        options = {} if subprotocol is None else {"subprotocols": [subprotocol]}
        async with bystander(server), open_socket(server, path, **options) as socket:
            closed_with, reason = await closing(socket)
            assert closed_with == code
            assert reason

    run(test())


def test_an_unknown_format_closes_with_the_reason(server: ServerProcess) -> None:
    async def test() -> None:
        async with open_socket(server, "/ws/ops?format=xml") as socket:
            assert await closing(socket) == (1008, "format is one of text, line, json")

    run(test())


@pytest.mark.parametrize("path", ["/ws/closes", "/ws"])
@pytest.mark.parametrize("subprotocol", [None, "chatkit.v1"])
def test_frames_that_are_no_text_close_with_their_codes(server: ServerProcess, path: str, subprotocol: Any) -> None:
    options: Any = {} if subprotocol is None else {"subprotocols": [subprotocol]}

    async def test() -> None:
        async with bystander(server):
            async with open_socket(server, path, **options) as socket:
                await socket.send(b"binary")
                assert (await closing(socket))[0] == 1003
            async with open_socket(server, path, **options) as socket:
                await socket.send(b"\xff\xfe", text=True)
                assert (await closing(socket))[0] == 1007
            async with open_socket(server, path, **options) as socket:
                with suppress(ConnectionClosed):  # it may be told while it still sends
                    await socket.send("x" * 2_000_000)
                assert (await closing(socket))[0] == 1009

    run(test())
    eventually(lambda: health(server)["connections"] == 0)


def test_a_connection_too_many_is_told_to_come_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def test(server: ServerProcess) -> None:
        async with open_socket(server, "/ws/full") as one, open_socket(server, "/ws/full") as two:
            async with open_socket(server, "/ws/full") as three:
                code, reason = await closing(three)
                assert (code, reason) == (4508, "this server takes at most 2 connections")
            await one.send("undisturbed")
            assert await one.recv() == await two.recv() == "undisturbed"

    with serve(tmp_path_factory.mktemp("full") / "rooms.db", "--max-connections", "2") as server:
        run(test(server))
        eventually(lambda: health(server)["connections"] == 0)
        run(_says_hello(server))


async def _says_hello(server: ServerProcess) -> None:
    async with open_socket(server, "/ws/full?history=0") as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"


def test_rooms_are_heard_over_every_way_in(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws/ways") as talk, open_socket(server, "/ws/ways") as text:
            await talk.until("joined")
            await talk.say(op="publish", body="by command")
            assert await text.recv() == "by command"
            await text.send("by text")
            assert await text.recv() == "by text"
            await asyncio.to_thread(publish, server, "ways", "by call")
            assert await text.recv() == "by call"
            assert await talk.bodies(3) == ["by command", "by text", "by call"]

    run(test())


def test_rooms_that_differ_in_case_are_two_and_forms_of_one_letter_are_one(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws") as talk:
            assert (await talk.ask(op="publish", room="Case", body="a"))["seq"] == 1
            assert (await talk.ask(op="publish", room="case", body="b"))["seq"] == 1
            assert (await talk.ask(op="publish", room="caf\u00e9", body="a"))["seq"] == 1
            assert (await talk.ask(op="publish", room="cafe\u0301", body="b"))["seq"] == 2

    run(test())


def test_a_burst_behind_one_ack_arrives_whole_and_in_order(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws/burst?history=0") as talk:
            await talk.until("joined")
            for number in range(3_000):
                await talk.say(op="publish", body=str(number))
            assert await talk.bodies(3_000) == [str(number) for number in range(3_000)]

    run(test())

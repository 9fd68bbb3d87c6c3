"""WebSockets of a real server: plain text and `chatkit.v1`, as clients see them."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from raw_client import Talk, bystander, call, eventually, health, open_socket, publish, run
from serving import ServerProcess, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("sockets") / "rooms.db", "--rate-limit", "0") as started:
        yield started
        assert "Traceback" not in started.log, started.log


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


def test_plain_text_arrives_in_the_requested_format(server: ServerProcess) -> None:
    async def test() -> None:
        async with (
            open_socket(server, "/ws/forms?name=ann") as text,
            open_socket(server, "/ws/forms?format=line&name=bob") as line,
            open_socket(server, "/ws/forms?format=json") as whole,
        ):
            await text.send("hi: \u00e9\n2")
            assert await text.recv() == "hi: \u00e9\n2"
            assert await line.recv() == "ann: hi: \u00e9\n  2"
            message = json.loads(await whole.recv())
            assert (message["seq"], message["sender"], message["body"]) == (1, "ann", "hi: \u00e9\n2")
            assert "type" not in message

    run(test())


def test_plain_text_resumes_from_a_cursor(server: ServerProcess) -> None:
    cursors = [publish(server, "text-resume", f"m{number}") for number in range(1, 6)]
    assert cursors[-1].json["seq"] == 5
    cursor = call(server, "GET", "/rooms/text-resume/messages?after=0&limit=2").json["cursor"]

    async def test() -> None:
        async with open_socket(server, f"/ws/text-resume?after={cursor}") as socket:
            assert [await socket.recv() for _ in range(3)] == ["m3", "m4", "m5"]
        async with open_socket(server, "/ws/text-resume?after=other1:7") as socket:
            assert await socket.recv() == "! the room's log started again"
            assert await socket.recv() == "m1"

    run(test())


def test_an_error_in_plain_text_is_a_sentence_and_the_socket_stays_open(server: ServerProcess) -> None:
    async def test() -> None:
        async with bystander(server), open_socket(server, "/ws/text-big") as socket:
            await socket.send("x" * 65_537)
            assert await socket.recv() == "! a body holds at most 65536 bytes"
            await socket.send("x" * 65_536)
            assert len(await socket.recv()) == 65_536

    run(test())


# chatkit.v1


def test_a_conversation_starts_with_welcome_then_joined_then_messages_in_order(server: ServerProcess) -> None:
    for number in range(1, 4):
        publish(server, "order", f"m{number}")

    async def test() -> None:
        async with Talk.open(server, "/ws/order?name=ann&history=2") as talk:
            assert talk.socket.subprotocol == "chatkit.v1"
            welcome, joined = await talk.receive(), await talk.receive()
            assert (welcome["type"], welcome["name"]) == ("welcome", "ann")
            assert welcome["server"].startswith("chatkit/")
            assert welcome["limits"]["body"] == 65_536
            assert (joined["type"], joined["room"], joined["first"], joined["last"]) == ("joined", "order", 1, 3)
            assert joined["cursor"].endswith(":1")
            assert (joined["count"], [member["name"] for member in joined["members"]]) == (1, ["ann"])
            assert await talk.bodies(2) == ["m2", "m3"]

    run(test())


@pytest.mark.parametrize("path", ["/ws", "/ws/ops"])
def test_a_ping_is_answered_whether_or_not_a_room_is_joined(server: ServerProcess, path: str) -> None:
    async def test() -> None:
        async with Talk.open(server, path) as talk:
            assert await talk.ask(op="ping") == {"type": "pong", "ref": 1}
            await talk.send(op="ping")
            assert await talk.until("pong") == {"type": "pong"}

    run(test())


def test_an_ack_has_a_cursor_and_marks_a_repeat(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws") as talk:
            first = await talk.ask(op="publish", room="acks", body="a", key="k")
            again = await talk.ask(op="publish", room="acks", body="a", key="k")
            assert (first["type"], first["seq"], first["repeat"]) == ("ack", 1, False)
            assert (again["seq"], again["repeat"], again["cursor"]) == (1, True, first["cursor"])
            assert first["cursor"] == call(server, "GET", "/rooms/acks").json["cursor"]

    run(test())


def test_one_connection_joins_and_leaves_many_rooms(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws?name=ann") as talk:
            for number in range(64):
                assert (await talk.ask(op="join", room=f"many-{number}"))["type"] == "joined"
            assert (await talk.ask(op="join", room="one-too-many"))["code"] == "too-many-rooms"
            assert (await talk.ask(op="leave", room="many-0"))["type"] == "left"
            assert (await talk.ask(op="join", room="one-too-many"))["type"] == "joined"
            await talk.ask(op="publish", room="many-0", body="not delivered")
            await talk.send(op="publish", room="many-1", body="delivered")
            assert (await talk.until("message"))["body"] == "delivered"

    run(test())
    eventually(lambda: health(server)["rooms"] == 0)


def test_joining_with_a_cursor_resumes_after_it(server: ServerProcess) -> None:
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
            gap = await talk.receive()
            assert gap == {"type": "gap", "room": room, "after": 41, "before": 1, "reason": "epoch"}
            assert await talk.bodies(1) == ["m1"]

    run(test())


@pytest.mark.parametrize("after", ["other1:41", "trimmed"])
def test_a_page_of_history_reports_the_gap_before_it(tmp_path_factory: pytest.TempPathFactory, after: str) -> None:
    async def test(server: ServerProcess) -> None:
        async with Talk.open(server, "/ws/past") as talk:
            gap = {"after": 41, "before": 4, "reason": "epoch"}
            if after == "trimmed":
                gap = {"after": 1, "before": 4, "reason": "trimmed"}
            history = await talk.ask(op="history", after=1 if after == "trimmed" else after)
            assert history["gap"] == gap
            assert [message["seq"] for message in history["messages"]] == [4, 5]
            assert "gap" not in await talk.ask(op="history", after=3)

    with serve(tmp_path_factory.mktemp("past") / "rooms.db") as server:
        for number in range(1, 6):
            publish(server, "past", f"m{number}")
        server.stop()
        server._options = ("--keep", "2")
        server.start()
        eventually(lambda: call(server, "GET", "/rooms/past").json["first"] == 4)
        run(test(server))


def test_messages_removed_by_retention_are_a_gap_in_both_protocols(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def test(server: ServerProcess) -> None:
        async with Talk.open(server, f"/ws/trim?after={epoch}:2") as talk:
            assert (await talk.until("joined"))["first"] == 8
            gap = await talk.receive()
            assert gap == {"type": "gap", "room": "trim", "after": 2, "before": 8, "reason": "trimmed"}
            assert await talk.bodies(5) == [f"m{number}" for number in range(8, 13)]
        async with open_socket(server, f"/ws/trim?after={epoch}:2") as socket:
            assert await socket.recv() == "! messages 3 to 7 are no longer kept"
            assert await socket.recv() == "m8"

    with serve("memory://?keep=5", folder=tmp_path_factory.mktemp("trim")) as server:
        for number in range(1, 13):
            publish(server, "trim", f"m{number}")
        epoch = call(server, "GET", "/rooms/trim").json["cursor"].partition(":")[0]
        run(test(server))


@pytest.mark.parametrize("path", ["/ws/deflated?history=0", "/ws/deflated?history=0&format=json"])
def test_a_client_with_compression_can_send_and_receive(server: ServerProcess, path: str) -> None:
    async def test() -> None:
        async with (
            open_socket(server, path, compression="deflate") as socket,
            open_socket(server, "/ws/deflated?history=0") as plain,
        ):
            for body in ("a" * 60_000, "b", "\u00e9" * 30_000, ""):
                await socket.send(body)
                assert await plain.recv() == body
                got = await socket.recv()
                assert (json.loads(got)["body"] if "format" in path else got) == body

    run(test())


def test_history_members_typing_presence_and_redaction(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws/people?name=ann") as ann, Talk.open(server, "/ws/people?name=bob") as bob:
            while "bob" not in (await ann.until("presence"))["joined"]:
                pass
            await bob.until("joined")
            await bob.send(op="typing")
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


def test_messages_reach_readers_whichever_way_they_are_published(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws/ways") as talk, open_socket(server, "/ws/ways") as text:
            await talk.until("joined")
            await talk.send(op="publish", body="by command")
            assert await text.recv() == "by command"
            await text.send("by text")
            assert await text.recv() == "by text"
            await asyncio.to_thread(publish, server, "ways", "by call")
            assert await text.recv() == "by call"
            assert await talk.bodies(3) == ["by command", "by text", "by call"]

    run(test())


def test_room_names_are_case_sensitive_and_unicode_normalised(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws") as talk:
            assert (await talk.ask(op="publish", room="Case", body="a"))["seq"] == 1
            assert (await talk.ask(op="publish", room="case", body="b"))["seq"] == 1
            assert (await talk.ask(op="publish", room="caf\u00e9", body="a"))["seq"] == 1
            assert (await talk.ask(op="publish", room="cafe\u0301", body="b"))["seq"] == 2

    run(test())


def test_a_burst_of_publishes_arrives_complete_and_in_order(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws/burst?history=0") as talk:
            await talk.until("joined")
            for number in range(3_000):
                await talk.send(op="publish", body=str(number))
            assert await talk.bodies(3_000) == [str(number) for number in range(3_000)]

    run(test())

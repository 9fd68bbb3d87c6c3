"""Renamed rooms: readers follow over every door without loss or repetition, and the old name says where the room is."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from access_server import ROOT, AccessServer, access_server, grant, json_of, problem, within
from raw_client import run

from chatkit.backends import open_backend
from chatkit.client import Client
from chatkit.core.hub import Hub
from chatkit.core.model import Draft, Message
from chatkit.core.signals import RoomChanged, Signal
from chatkit.errors import RoomRenamed

SERVER: dict[str, Any] = {"host": "localhost", "secret": "not-used-here"}
EVENTS, LINES = "text/event-stream", "application/x-ndjson"
SOON_S = 5.0


async def rename(server: AccessServer, room: str, new: str) -> None:
    admin = await server.token("boss", grant("*", "admin"))
    answer = await server.call("POST", f"/rooms/{room}/rename", admin, {"name": new})
    assert (answer.status_code, answer.json()["room"]) == (200, new), answer.text


def test_a_session_gets_the_new_name_and_its_cursor_is_valid_there() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            ann = await server.token("ann", grant("*", "read", "write"))
            async with server.talk("/ws/ops", ann.secret) as talk:
                acked = await talk.ask(op="publish", room="ops", body="one", key="k")
                await rename(server, "ops", "dev")
                left = await talk.until("left")
                assert {name: left[name] for name in ("room", "reason", "renamed_to")} == {
                    "room": "ops", "reason": "room-renamed", "renamed_to": "dev",
                }  # fmt: skip
                await server.hub.publish(Draft("dev", "bob", "two"))
                joined = await talk.ask(op="join", room="dev", after=acked["cursor"])
                assert (joined["cursor"], joined["last"]) == (acked["cursor"], 2)
                assert (await talk.until("message"))["body"] == "two"
                assert (await talk.ask(op="publish", room="dev", body="one", key="k"))["repeat"] is True
                for command in ({"op": "join"}, {"op": "publish", "body": "x"}, {"op": "history"}, {"op": "members"}):
                    refused = await talk.ask(**command, room="ops")
                    assert (refused["code"], refused["value"]) == ("room-renamed", "dev")

    run(test())


def test_the_python_client_follows_without_loss_repetition_or_gap() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            ann = await server.token("ann", grant("*", "read", "write"))
            async with Client(server.url, token=ann.secret) as client:
                follow = client.follow("ops", history=10)
                async with aclosing(follow):
                    got: list[object] = []
                    for room, new in (("ops", "dev"), ("dev", "ops"), ("ops", "x")):
                        for _ in range(3):
                            await client.publish(room, str(len(got)))
                            got.append(await within(SOON_S, anext(follow)))
                        await rename_by_moderation(server, room, new)
                    await server.hub.publish(Draft("x", "bob", "last"))
                    got.append(await within(SOON_S, anext(follow)))
                assert [item.body if isinstance(item, Message) else item for item in got] == [*"012345678", "last"]
                assert [item.room for item in got if isinstance(item, Message)][::3] == ["ops", "dev", "ops", "x"]
                with pytest.raises(RoomRenamed) as refused:
                    await client.publish("ops", "x")
                assert refused.value.renamed_to == "x"
                late = client.follow("ops", history=1)
                async with aclosing(late):
                    assert (await within(SOON_S, anext(late))).body == "last"

    run(test())


def test_submitted_messages_follow_to_the_new_name_in_order_and_are_stored_once() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            ann = await server.token("ann", grant("*", "read", "write"))
            async with Client(server.url, token=ann.secret) as client:
                await client.publish("ops", "0", key="k0")
                renaming = asyncio.create_task(rename_by_moderation(server, "ops", "dev"))
                answers = []
                for number in range(40):  # before, while and after the room moves
                    answers.append(await client.submit("ops", f"{number}", key=f"k{number}", follow_rename=True))
                    if number == 20:
                        await renaming
                refused = await client.submit("ops", "not followed")
                await within(SOON_S, asyncio.gather(*answers))
                assert {answer.result().message.room for answer in answers[21:]} == {"dev"}
                with pytest.raises(RoomRenamed):
                    await refused
                page = await client.history("dev")
                assert [message.body for message in page.messages] == [f"{number}" for number in range(40)]

    run(test())


async def rename_by_moderation(server: AccessServer, room: str, new: str) -> None:
    await server.moderation.rename_room(ROOT, room, new)


def test_streams_and_plain_text_end_with_the_new_name() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            ann = await server.token("ann", grant("*", "read", "write"))
            await server.hub.publish(Draft("ops", "bob", "one"))
            async with (
                server.text("/ws/ops", ann.secret) as text,
                server.lines("/rooms/ops/events", ann.secret, EVENTS) as events,
                server.lines("/rooms/ops/events", ann.secret, LINES) as lines,
            ):
                assert json_of(await anext(lines))["type"] == "ping"
                await rename(server, "ops", "dev")
                last = json_of([line async for line in lines][-1])
                assert (last["type"], last["code"], last["value"]) == ("error", "room-renamed", "dev")
                assert "event: room-renamed" in [line async for line in events]
                received = await within(SOON_S, text.recv())
                while not received.startswith("!"):
                    received = await within(SOON_S, text.recv())
                assert received == "! the room 'ops' was renamed to 'dev'"
                await within(SOON_S, text.wait_closed())
                assert text.close_code == 4404
            answer = await server.call("POST", "/rooms/ops/messages", ann, {"body": "x"})
            assert problem(answer) == (409, "room-renamed")
            assert answer.json()["value"] == "dev"

    run(test())


def test_the_new_name_is_hidden_from_those_who_may_not_read_it() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            ann = await server.token("ann", grant("ops", "read", "write"))
            await server.hub.publish(Draft("ops", "bob", "one"))
            async with server.talk("/ws/ops", ann.secret) as talk:
                await rename(server, "ops", "secret")
                left = await talk.until("left")
                assert left["reason"] == "not-found"
                assert "secret" not in str(left)
                assert (await talk.ask(op="history", room="ops"))["code"] == "not-found"

    run(test())


def test_deleting_the_old_name_frees_it() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin = await server.token("boss", grant("*", "admin"))
            await server.hub.publish(Draft("ops", "bob", "one"))
            await server.call("PATCH", "/rooms/ops", admin, {"topic": "on call"})
            await rename(server, "ops", "dev")
            assert (await server.call("GET", "/rooms/dev", admin)).json()["topic"] == "on call"
            assert problem(await server.call("POST", "/rooms/ops/rename", admin, {"name": "x"}))[1] == "room-renamed"
            assert problem(await server.call("POST", "/rooms/none/rename", admin, {"name": "x"}))[1] == "not-found"
            assert (await server.call("DELETE", "/rooms/ops", admin)).status_code == 204
            assert (await server.call("POST", "/rooms/ops/messages", admin, {"body": "new"})).status_code == 201
            refused = await server.call("POST", "/rooms/dev/rename", admin, {"name": "ops"})
            assert problem(refused) == (400, "bad-request")
            assert (await server.call("GET", "/rooms/dev", admin)).json()["last"] == 1
            entry = (await server.call("GET", "/rooms/.audit/messages", admin)).json()["messages"]
            assert "room-renamed" in [message["data"]["event"] for message in entry]

    run(test())


def test_readers_of_another_process_leave_before_they_get_a_gap(tmp_path: Path) -> None:
    async def test() -> None:
        url = f"sqlite:///{tmp_path}/rooms.db"
        async with open_backend(url) as here, open_backend(url) as there, Hub(here) as one, Hub(there) as two:
            await one.publish(Draft("ops", "bob", "one"))
            left = asyncio.Event()
            seen: list[tuple[str | None, bool]] = []

            def on_signal(signal: Signal) -> None:
                if isinstance(signal, RoomChanged):
                    settings = two.access.room_settings("ops")
                    seen.append((settings.renamed_to, settings.is_moving))
                    if not settings.is_moving:
                        reader.close()
                        left.set()

            reader = await two.subscribe("ops", on_signal=on_signal)
            cursor = reader.cursor
            await one.moderation.rename_room(ROOT, "ops", "dev")
            await within(SOON_S, left.wait())
            assert reader.cursor == cursor
            assert seen == [("dev", True), ("dev", False)]
            await one.publish(Draft("dev", "bob", "two"))
            with await two.subscribe("dev", after=cursor) as resumed:
                (item,) = await within(SOON_S, resumed.read())
                assert isinstance(item, Message)
                assert (item.body, item.seq) == ("two", 2)

    run(test())

"""What is open when access changes: revocation, expiry, bans, settings of rooms, and who comes back afterwards."""

from collections.abc import Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from access_server import FOREIGN, ROOT, AccessServer, access_server, grant, json_of, within
from harness import until
from raw_client import run
from websockets.exceptions import ConnectionClosed

from chatkit.client import Client
from chatkit.core import record_watcher
from chatkit.core.access import Ban, RoomSettings
from chatkit.core.administration import NewToken
from chatkit.core.model import Draft
from chatkit.errors import Banned, Unauthorized

SERVER: dict[str, Any] = {"host": "localhost", "secret": "not-used-here"}  # nobody gets in without a token
SOON_S = 5.0  # far more than a change takes here, where no other process makes it
EVENTS, LINES = "text/event-stream", "application/x-ndjson"

Change = Callable[[AccessServer, NewToken], Coroutine[Any, Any, Any]]


async def revoke(server: AccessServer, ann: NewToken) -> None:
    await server.hub.administration.revoke(ROOT, ann.token.id)


async def rotate(server: AccessServer, ann: NewToken) -> None:
    await server.hub.administration.rotate(ROOT, ann.token.id)


async def ban_name(server: AccessServer, _: NewToken) -> Ban:
    return await server.moderation.ban(ROOT, "ann", reason="spam")


async def ban_network(server: AccessServer, _: NewToken) -> Ban:
    return await server.moderation.ban(ROOT, "127.0.0.0/8", reason="spam")


ENDS: dict[str, tuple[Change, int, str]] = {
    "revoked": (revoke, 4401, "unauthorized"),
    "rotated": (rotate, 4401, "unauthorized"),
    "banned by name": (ban_name, 4403, "banned"),
    "banned by network": (ban_network, 4403, "banned"),
}


@pytest.mark.parametrize("name", ENDS)
def test_everything_that_is_open_ends_with_the_reason(name: str) -> None:
    change, close_code, code = ENDS[name]

    async def test() -> None:
        async with access_server(**SERVER) as server:
            ann = await server.token("ann", grant("ops", "read", "write"))
            async with (
                server.talk("/ws/ops", ann.secret) as talk,
                server.text("/ws/ops", ann.secret) as text,
                server.lines("/rooms/ops/events", ann.secret, EVENTS) as events,
                server.lines("/rooms/ops/events", ann.secret, LINES) as lines,
            ):
                await talk.until("joined")
                assert json_of(await anext(lines))["type"] == "ping"
                await change(server, ann)
                assert (await talk.until("error"))["code"] == code
                with pytest.raises(ConnectionClosed):
                    await talk.receive()
                assert talk.socket.close_code == close_code
                assert str(await within(SOON_S, text.recv())).startswith("! ")
                await within(SOON_S, text.wait_closed())
                assert text.close_code == close_code
                assert json_of([line async for line in lines if line][-1])["code"] == code
                assert f"event: {code}" in [line async for line in events]
            assert await server.code("GET", "/rooms/ops", ann.secret) == code
            await until(lambda: not server.hub.counts["subscriptions"])
            assert not len(server.hub.access.watchers)

    run(test())


def test_it_also_ends_under_other_protocol_classes() -> None:
    async def test() -> None:
        async with access_server(FOREIGN, **SERVER) as server:
            ann = await server.token("ann", grant("ops", "read"))
            async with (
                server.talk("/ws/ops", ann.secret) as talk,
                server.lines("/rooms/ops/events", ann.secret, LINES) as lines,
            ):
                await talk.until("joined")
                await revoke(server, ann)
                assert (await talk.until("error"))["code"] == "unauthorized"
                await within(SOON_S, talk.socket.wait_closed())
                assert talk.socket.close_code == 4401
                assert json_of([line async for line in lines if line][-1])["code"] == "unauthorized"

    run(test())


def test_those_who_are_not_concerned_go_on() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            ann = await server.token("ann", grant("*", "read"))
            bob = await server.token("bob", grant("*", "read", "write"))
            async with server.talk("/ws/ops", bob.secret) as talk, server.talk("/ws/ops", ann.secret) as ended:
                await talk.until("joined")
                await ended.until("joined")
                await revoke(server, ann)
                await within(SOON_S, ended.socket.wait_closed())
                assert (await talk.ask(op="members", room="ops"))["count"] == 1
                assert (await talk.ask(op="publish", room="ops", body="still here"))["type"] == "ack"

    run(test())


def test_a_ban_from_one_room_ends_that_room_only() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            ann = await server.token("ann", grant("*", "read", "write"))
            async with (
                server.talk("/ws/ops", ann.secret) as talk,
                server.text("/ws/ops", ann.secret) as text,
                server.lines("/rooms/ops/events", ann.secret, EVENTS) as events,
                server.lines("/rooms/dev/events", ann.secret, LINES) as other_room,
            ):
                await talk.ask(op="join", room="dev")
                ban = await server.moderation.kick(ROOT, "ann", "ops", "spam")
                left = await talk.until("left", room="ops", reason="banned")
                assert left["message"].startswith("banned: spam, until 20")
                await within(SOON_S, text.wait_closed())
                assert text.close_code == 4403
                assert "event: banned" in [line async for line in events]
                for command in ({"op": "join"}, {"op": "publish", "body": "x"}, {"op": "history"}, {"op": "members"}):
                    assert (await talk.ask(**command, room="ops"))["code"] == "banned"
                await server.hub.publish(Draft("ops", "bob", "not for ann"))
                await server.hub.publish(Draft("dev", "bob", "for ann"))
                assert (await talk.until("message"))["body"] == "for ann"
                assert json_of(await anext(other_room))["type"] == "ping"
                assert json_of(await anext(other_room))["body"] == "for ann"
                await server.moderation.unban(ROOT, ban.id)
                assert (await talk.ask(op="join", room="ops"))["type"] == "joined"

    run(test())


def test_the_python_client_gets_the_reason_and_goes_on_with_other_rooms() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            ann = await server.token("ann", grant("*", "read", "write"))
            async with Client(server.url, token=ann.secret) as client:
                ops, dev = client.follow("ops"), client.follow("dev")
                async with aclosing(ops), aclosing(dev):
                    for room, messages in (("ops", ops), ("dev", dev)):
                        await server.hub.publish(Draft(room, "bob", "one"))
                        assert (await anext(messages)).verified is False  # type: ignore[union-attr]
                    await server.moderation.kick(ROOT, "ann", "ops", "spam")
                    with pytest.raises(Banned, match="spam"):
                        await within(SOON_S, anext(ops))
                    await client.publish("dev", "two")
                    assert (await within(SOON_S, anext(dev))).verified is True
                    await revoke(server, ann)
                    with pytest.raises(Unauthorized):
                        await within(SOON_S, anext(dev))

    run(test())


def test_a_mute_leaves_reading() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            ann = await server.token("ann", grant("ops", "read", "write"))
            async with server.talk("/ws/ops", ann.secret) as talk:
                assert (await talk.until("joined"))["rights"] == ["read", "write"]
                await server.moderation.ban(ROOT, "ann", room="ops", is_mute=True)
                assert (await talk.until("room"))["rights"] == ["read"]
                assert (await talk.ask(op="publish", body="x"))["code"] == "banned"
                await server.hub.publish(Draft("ops", "bob", "hello"))
                assert (await talk.until("message"))["body"] == "hello"
            assert await server.code("POST", "/rooms/ops/messages", ann.secret, content="x") == "banned"
            assert await server.code("DELETE", "/rooms/ops/messages/1", ann.secret) == "banned"

    run(test())


def test_a_revoked_token_does_not_resume_by_cursor() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            ann = await server.token("ann", grant("ops", "read", "write"))
            cursor = str((await server.hub.publish(Draft("ops", "bob", "one"))).message.cursor)
            await revoke(server, ann)
            await server.hub.publish(Draft("ops", "bob", "two"))
            async with server.talk(f"/ws/ops?after={cursor}", ann.secret) as talk:
                with pytest.raises(ConnectionClosed):
                    await talk.receive()
                assert talk.socket.close_code == 4401
            for path in (f"/rooms/ops/events?after={cursor}", f"/rooms/ops/messages?after={cursor}"):
                assert await server.code("GET", path, ann.secret, headers={"last-event-id": cursor}) == "unauthorized"

    run(test())


@pytest.mark.parametrize("subject", ["eve", "127.0.0.1"])
def test_a_new_connection_does_not_evade_a_ban(subject: str) -> None:
    async def test() -> None:
        async with access_server(open_grants=(grant("*", "read", "write"),)) as server:
            await server.moderation.ban(ROOT, subject)
            names = ["eve", "EVE", "\u0435v\u0435", "e\u200bve"[:1] + "ve"] + ["other"] * (subject != "eve")
            for name in names:
                assert await server.code("POST", "/rooms/ops/messages", params={"name": name}, content="x") == "banned"
                for path in (f"/ws/ops?name={name}", f"/ws?name={name}"):
                    async with server.text(path, None) as text:
                        await within(SOON_S, text.wait_closed())
                        assert text.close_code == 4403
                    async with server.talk(path, None) as talk:
                        await within(SOON_S, talk.socket.wait_closed())
                        assert talk.socket.close_code == 4403

    run(test())


def test_a_reserved_name_is_refused_to_others_everywhere() -> None:
    async def test() -> None:
        async with access_server(open_grants=(grant("*", "read", "write"),)) as server:
            await server.token("ann", grant("*", "read", "write"))
            for name in ("ann", "Ann", "\u0430nn", "admin", "chatkit"):
                answer = await server.code("POST", "/rooms/ops/messages", params={"name": name}, content="x")
                assert answer == "name-taken", name
                assert await server.code("GET", "/rooms/ops/events", params={"name": name}) == "name-taken"
                for opened in (server.text(f"/ws/ops?name={name}", None), server.talk(f"/ws/ops?name={name}", None)):
                    async with opened as client:
                        socket = getattr(client, "socket", client)
                        await within(SOON_S, socket.wait_closed())
                        assert socket.close_code == 4403
            assert await server.code("POST", "/rooms/ops/messages", params={"name": "bob"}, content="x") == "ok"

    run(test())


def test_a_guest_whose_name_is_given_to_a_token_is_disconnected() -> None:
    async def test() -> None:
        async with (
            access_server(open_grants=(grant("*", "read", "write"),)) as server,
            server.talk("/ws/ops?name=ann", None) as guest,
            server.talk("/ws/ops?name=bob", None) as other,
        ):
            await guest.until("joined")
            await other.until("joined")
            await server.token("ann", grant("*", "read"))
            assert (await guest.until("error"))["code"] == "name-taken"
            await within(SOON_S, guest.socket.wait_closed())
            assert guest.socket.close_code == 4403
            assert (await other.ask(op="publish", room="ops", body="x"))["type"] == "ack"

    run(test())


def test_the_first_token_closes_an_open_server_to_others() -> None:
    async def test() -> None:
        async with access_server() as server:
            async with (
                server.talk("/ws/ops?name=bob", None) as guest,
                server.text("/ws/ops", None) as text,
                server.lines("/rooms/ops/events", None, LINES) as lines,
            ):
                assert "rights" not in await guest.until("joined")
                assert (await guest.ask(op="publish", body="x"))["type"] == "ack"
                await server.token("ann", grant("*", "read"))
                for socket in (guest.socket, text):
                    await within(SOON_S, socket.wait_closed())
                    assert socket.close_code == 4401
                assert json_of([line async for line in lines if line][-1])["code"] == "unauthorized"
            async with server.talk("/ws/ops", None) as guest:
                await within(SOON_S, guest.socket.wait_closed())
                assert guest.socket.close_code == 4401
            assert await server.code("GET", "/rooms") == "unauthorized"

    run(test())


def test_the_settings_of_a_room_reach_its_readers() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            ann = await server.token("ann", grant("ops", "read", "write"))
            async with server.talk("/ws/ops", ann.secret) as talk:
                joined = await talk.until("joined")
                assert not {"topic", "archived"} & joined.keys()
                settings = RoomSettings(topic="the plan", archived=True)
                await server.moderation.set_room(ROOT, "ops", lambda _: settings)
                changed = await talk.until("room", archived=True)
                assert changed == {
                    "type": "room", "room": "ops", "topic": "the plan", "archived": True, "rights": ["read"],
                }  # fmt: skip
                assert (await talk.ask(op="publish", body="x"))["code"] == "forbidden"
                joined = await talk.ask(op="join", room="ops")
                assert (joined["topic"], joined["archived"], joined["rights"]) == ("the plan", True, ["read"])

    run(test())


def test_a_change_in_another_process_applies_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_watcher, "POLL_S", 0.01)

    async def test() -> None:
        store = f"sqlite:///{tmp_path}/rooms.db"
        async with (
            access_server(**SERVER, backend=store) as server,
            access_server(**SERVER, backend=store) as elsewhere,
        ):
            ann = await elsewhere.token("ann", grant("ops", "read", "write"))
            await server.hub.refresh_access()
            async with (
                server.talk("/ws/ops", ann.secret) as talk,
                server.lines("/rooms/ops/events", ann.secret, EVENTS) as events,
            ):
                await talk.until("joined")
                await revoke(elsewhere, ann)
                await within(SOON_S, talk.socket.wait_closed())
                assert talk.socket.close_code == 4401
                assert "event: unauthorized" in [line async for line in events]

    run(test())

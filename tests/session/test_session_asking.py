"""Requests of a client and signals to it: history, members, typing, redactions."""

import asyncio
from collections.abc import Sequence  # noqa: TC003  # a cheap import is no reason to hide it
from typing import Any

import pytest
from harness import publish_all, until
from session_host import Allowance, Host, hosted

from chatkit.session.json_session import JsonSession

pytestmark = pytest.mark.usefixtures("no_pauses")


def test_history_by_page_search_and_position() -> None:
    async def test(host: Host) -> None:
        await publish_all(host.hub, *(f"message {n}" for n in range(1, 61)))
        epoch = (await host.hub.history("ops")).head.epoch
        client = await host.json("ops")
        asked: list[tuple[dict[str, Any], Sequence[int], bool]] = [
            ({}, range(11, 61), False),
            ({"limit": 3}, range(58, 61), False),
            ({"limit": 1000}, range(1, 61), True),
            ({"before": 3}, range(1, 3), True),
            ({"before": "3"}, range(1, 3), True),
            ({"before": f"{epoch}:10", "limit": 2}, range(8, 10), False),
            ({"after": 58}, range(59, 61), True),
            ({"after": "other:58", "limit": 2}, range(1, 3), False),
            ({"after": 5, "before": 9}, range(6, 9), True),
            ({"search": "MESSAGE 60"}, range(60, 61), True),
            ({"search": "nothing like it"}, (), True),
            ({"search": ""}, range(11, 61), False),
        ]
        for fields, expected, complete in asked:
            answer = await client.ask("history", **fields)
            assert [message["seq"] for message in answer["messages"]] == list(expected), fields
            assert answer["complete"] is complete, fields
            assert answer["room"] == "ops"
            client.socket.pop_events()

    hosted(test)


def test_members_and_their_changes() -> None:
    async def test(host: Host) -> None:
        ann = await host.json("ops")
        bob = await host.json("ops", "bob")
        await until(lambda: ann.socket.of_type("presence"))
        (change,) = ann.socket.of_type("presence")
        assert (change["count"], set(change["joined"]) >= {"bob"}, change["left"]) == (2, True, [])
        members = await ann.ask("members")
        assert [member["name"] for member in members["members"]] == ["ann", "bob"]
        assert members["count"] == 2
        bob.session.closed(1001)
        await until(lambda: len(ann.socket.of_type("presence")) == 2)
        assert ann.socket.of_type("presence")[1]["left"] == ["bob"]

    hosted(test)


def test_a_presence_change_while_the_socket_was_full_is_sent_as_a_list() -> None:
    async def test(host: Host) -> None:
        ann = await host.json("ops")
        await asyncio.sleep(0.02)
        ann.socket.pop_events()
        ann.socket.is_writable = False
        await host.json("ops", "bob")
        await until(lambda: isinstance(ann.session, JsonSession) and ann.session._stale_rooms)
        assert ann.socket.texts == []
        ann.socket.is_writable = True
        ann.session.writable_again()
        (members,) = ann.socket.pop_events()
        assert (members["type"], members["count"]) == ("members", 2)
        ann.session.writable_again()
        assert ann.socket.texts == []

    hosted(test)


def test_typing_is_sent_to_the_others() -> None:
    async def test(host: Host) -> None:
        ann, bob = await host.json("ops"), await host.json("ops", "bob")
        plain = await host.text("ops", "cat")
        full = await host.json("ops", "dan")
        full.socket.is_writable = False
        ann.send("typing")
        assert bob.socket.of_type("typing") == [{"type": "typing", "room": "ops", "sender": "ann"}]
        assert not ann.socket.of_type("typing")
        assert not full.socket.of_type("typing")
        assert not plain.socket.texts
        poor = await host.json("ops", "eve", limiter=Allowance(-1))
        poor.send("typing")
        assert len(bob.socket.of_type("typing")) == 1

    hosted(test)


def test_a_redaction_is_sent() -> None:
    async def test(host: Host) -> None:
        await publish_all(host.hub, "secret")
        client = await host.json("ops")
        await host.hub.redact("ops", 1)
        await until(lambda: client.socket.of_type("redacted"))
        assert client.socket.of_type("redacted") == [{"type": "redacted", "room": "ops", "seq": 1}]
        late = await host.json("ops", "bob")
        (message,) = late.socket.of_type("message")
        assert (message["body"], message["redacted"]) == ("", True)

    hosted(test)

"""Sessions: replies and changes, and history in its current state."""

from typing import Any

import pytest
from harness import publish_all, until
from session_host import Host, hosted

from chatkit.core.access import Identity
from chatkit.core.message_state import Act
from chatkit.core.model import Draft, Limits
from chatkit.session.drafting import draft_of
from chatkit.wire.protocol import PublishCommand

pytestmark = pytest.mark.usefixtures("no_pauses")

THUMB = "👍"


def test_replies_and_changes_are_published_delivered_and_folded() -> None:
    async def test(host: Host) -> None:
        await host.hub.publish(Draft("ops", "ann", "one"))
        ann = await host.json("ops")
        bob = await host.json("ops", "bob")
        acks = [
            await bob.ask("publish", body="a reply", of=1),
            await bob.ask("publish", body=THUMB, of=1, act="react"),
            await bob.ask("publish", body=THUMB, of=1, act="react"),
            await ann.ask("publish", body="uno @bob", of=1, act="edit"),
            await bob.ask("publish", of=1, act="pin"),
        ]
        assert [(ack["type"], ack["seq"], ack["repeat"]) for ack in acks] == [
            ("ack", 2, False),
            ("ack", 3, False),
            ("ack", 1, True),
            ("ack", 4, False),
            ("ack", 5, False),
        ]
        await until(lambda: len(ann.socket.of_type("message")) == 5)
        parts = [
            {key: event[key] for key in ("seq", "body", "of", "act", "mentions") if key in event}
            for event in ann.socket.of_type("message")
        ]
        assert parts == [
            {"seq": 1, "body": "one"},
            {"seq": 2, "body": "a reply", "of": 1},
            {"seq": 3, "body": THUMB, "of": 1, "act": "react"},
            {"seq": 4, "body": "uno @bob", "of": 1, "act": "edit", "mentions": ["bob"]},
            {"seq": 5, "body": "", "of": 1, "act": "pin"},
        ]
        folded = await ann.ask("history")
        assert (folded["last"], folded["complete"]) == (5, True)
        one, reply = folded["messages"]
        assert one["edited"]["seq"] == 4
        assert {key: one[key] for key in ("body", "mentions", "reactions", "replies", "pinned")} == {
            "body": "uno @bob",
            "mentions": ["bob"],
            "reactions": {THUMB: {"count": 1, "by": ["bob"]}},
            "replies": 1,
            "pinned": True,
        }
        assert (reply["of"], set(reply) & {"edited", "reactions", "replies", "pinned"}) == (1, set())
        raw = await ann.ask("history", raw=True)
        assert [message.get("act") for message in raw["messages"]] == [None, None, "react", "edit", "pin"]
        assert raw["messages"][0]["body"] == "one"
        replies = await ann.ask("history", of=1)
        assert [message["seq"] for message in replies["messages"]] == [2]

    hosted(test)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"body": "x", "of": 9}, "bad-reference"),
        ({"body": "x", "of": 2}, "bad-reference"),  # a reaction
        ({"body": "x", "of": 3}, "bad-reference"),  # redacted
        ({"body": "x", "of": 1, "act": "edit"}, "forbidden"),
        ({"body": "x", "of": 1, "act": "react"}, "bad-request"),
        ({"body": "x", "act": "edit"}, "bad-request"),
        ({"of": 1}, None),  # a reply without text is as empty as a message may be
        ({"of": 1, "act": "edit"}, "bad-request"),
        ({"body": "x", "of": 1, "act": "erase"}, "bad-request"),
        ({"body": "x", "of": "1"}, "bad-request"),
        ({"of": 9, "act": "redact"}, "not-found"),
        ({"of": 2, "act": "redact"}, "bad-reference"),
    ],
)
def test_what_may_not_refer_to_a_message_is_refused_with_a_code(fields: dict[str, Any], code: str | None) -> None:
    async def test(host: Host) -> None:
        await host.hub.publish(Draft("ops", "cat", "one"))
        client = await host.json("ops")
        await client.ask("publish", body=THUMB, of=1, act="react")
        await publish_all(host.hub, "three")
        await host.hub.redact("ops", 3)
        answer = await client.ask("publish", **fields)
        assert answer.get("code") == code, answer
        assert (await host.hub.history("ops")).head.last == (3 if code else 4)

    hosted(test)


def test_a_redaction_is_acknowledged_and_leaves_an_entry() -> None:
    async def test(host: Host) -> None:
        await publish_all(host.hub, "one")
        client = await host.json("ops")
        ack = await client.ask("publish", of=1, act="redact")
        assert (ack["type"], ack["seq"], ack["repeat"]) == ("ack", 1, False)
        again = await client.ask("publish", of=1, act="redact")
        assert (again["type"], again["seq"], again["repeat"]) == ("ack", 1, True)
        await until(lambda: len(client.socket.of_type("message")) == 2)
        entry = client.socket.of_type("message")[-1]
        assert (entry["seq"], entry["sender"], entry["of"], entry["act"]) == (2, "ann", 1, "redact")
        assert [event["seq"] for event in client.socket.of_type("redacted")] == [1]

    hosted(test)


def test_messages_after_one_that_waits_for_its_check_do_not_overtake_it() -> None:
    async def test(host: Host) -> None:
        await publish_all(host.hub, "one")
        client = await host.json("ops")
        for n in range(20):
            client.send("publish", body=f"reply {n}", of=1)
            client.send("publish", body=f"text {n}")
        await until(lambda: len(client.socket.of_type("message")) == 41)
        bodies = [event["body"] for event in client.socket.of_type("message")[1:]]
        assert bodies == [text for n in range(20) for text in (f"reply {n}", f"text {n}")]

    hosted(test)


@pytest.mark.parametrize(
    ("form", "lines"),
    [("text", ["one", "* uno", "a reply"]), ("line", ["ann: one", "ann: * uno", "bob: a reply"])],
)
def test_plain_text_shows_edits_as_corrections_and_no_other_change(form: str, lines: list[str]) -> None:
    async def test(host: Host) -> None:
        await host.hub.publish(Draft("ops", "ann", "one"))
        ann = await host.json("ops")
        bob = await host.json("ops", "bob")
        await ann.ask("publish", body="uno", of=1, act="edit")
        await bob.ask("publish", body=THUMB, of=1, act="react")
        await bob.ask("publish", of=1, act="pin")
        await bob.ask("publish", body="a reply", of=1)
        reader = await host.text("ops", form=form)
        await until(lambda: len(reader.socket.texts) >= 3)
        assert [text.decode() for text in reader.socket.texts] == lines

    hosted(test)


def test_markers_are_moved_and_reported_to_the_other_sessions_of_a_name() -> None:
    async def test(host: Host) -> None:
        await publish_all(host.hub, "one", "two", "three")
        desk, phone, cat = await host.json("ops", "bob"), await host.json(None, "bob"), await host.json("ops", "cat")
        await desk.ask("publish", body="hi @cat")
        before = [await client.ask("unread") for client in (phone, cat)]
        assert [answer["rooms"] for answer in before] == [
            [],
            [{"room": "ops", "marker": 0, "last": 4, "unread": 4, "mentions": 1}],
        ]
        marked = await desk.ask("mark", seq=2)
        assert (marked["type"], marked["room"], marked["seq"]) == ("marked", "ops", 2)
        await until(lambda: phone.socket.of_type("marked"))
        assert [(event["room"], event["seq"]) for event in phone.socket.of_type("marked")] == [("ops", 2)]
        assert len(desk.socket.of_type("marked")) == 1
        assert cat.socket.of_type("marked") == []
        after = await phone.ask("unread")
        assert after["rooms"] == [{"room": "ops", "marker": 2, "last": 4, "unread": 1, "mentions": 0}]
        stranger = await host.json("ops", "anonymous")
        for op, fields in (("unread", {}), ("mark", {"seq": 1})):
            assert (await stranger.ask(op, **fields))["code"] == "forbidden"

    hosted(test)


def test_a_reaction_is_drafted_in_its_usual_form() -> None:
    command = PublishCommand(body="\u2764", of=1, act=Act.REACT)
    assert draft_of(command, "ops", "ann", Identity("ann"), Limits()).body == "\u2764\ufe0f"

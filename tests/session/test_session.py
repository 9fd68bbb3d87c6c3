"""Sessions in `chatkit.v1`: commands, errors, and the order of events."""

from collections.abc import Sequence  # noqa: TC003  # a cheap import is no reason to hide it
from typing import Any

import msgspec
import pytest
from harness import publish_all, turns, until
from hypothesis import given, settings
from hypothesis import strategies as st
from session_host import Allowance, Host, hosted

from chatkit.core.model import Cursor, Limits, parse_time
from chatkit.errors import Unavailable
from chatkit.session.context import StartPosition

pytestmark = pytest.mark.usefixtures("no_pauses")


# Joining


def test_welcome_then_joined_then_messages() -> None:
    async def test(host: Host) -> None:
        await publish_all(host.hub, *range(3))
        client = await host.json("ops")
        await publish_all(host.hub, "live")
        await until(lambda: len(client.socket.texts) == 6)
        welcome, joined, *messages = client.socket.events
        assert welcome == {
            "type": "welcome",
            "name": "ann",
            "server": "chatkit/test",
            "limits": {"body": 1000, "history": 100},
        }
        epoch = (await host.hub.history("ops")).head.epoch
        members = joined.pop("members")
        assert joined == {
            "type": "joined", "room": "ops", "cursor": f"{epoch}:0", "seq": 0, "first": 1, "last": 3, "count": 1,
        }  # fmt: skip
        assert [member["name"] for member in members] == ["ann"]
        assert [(event["type"], event["seq"]) for event in messages] == [("message", n) for n in range(1, 5)]

    hosted(test)


def test_without_a_room_in_the_path_nothing_is_joined() -> None:
    async def test(host: Host) -> None:
        client = await host.json()
        assert [event["type"] for event in client.socket.events] == ["welcome"]
        error = await client.ask("publish", body="hi")
        assert (error["type"], error["code"]) == ("error", "bad-request")
        assert "room" in error["message"]

    hosted(test)


def test_a_join_starts_at_the_given_position() -> None:
    async def test(host: Host) -> None:
        await publish_all(host.hub, *range(30))
        epoch = (await host.hub.history("ops")).head.epoch
        client = await host.json()
        asked: list[tuple[dict[str, Any], Sequence[int]]] = [
            ({}, range(21, 31)),
            ({"history": 3}, range(28, 31)),
            ({"history": 0}, ()),
            ({"history": -7}, ()),
            ({"history": 2**70}, range(1, 31)),
            ({"after": f"{epoch}:25"}, range(26, 31)),
            ({"after": f"{epoch}:30"}, ()),
        ]
        for fields, expected in asked:
            joined = await client.ask("join", room="ops", **fields)
            assert joined["type"] == "joined"
            await turns()
            events = client.socket.pop_events()
            assert [event["type"] for event in events[:2]] in (["welcome", "joined"], ["joined"], ["joined", "message"])
            assert [event["seq"] for event in events if event["type"] == "message"] == list(expected)
        assert host.hub.counts == {"rooms": 1, "subscriptions": 1}

    hosted(test)


@pytest.mark.parametrize("after", ["other:7", "{epoch}:3", "{epoch}:99"])
def test_joined_then_the_gap_then_messages(after: str) -> None:
    async def test(host: Host) -> None:
        await publish_all(host.hub, *range(10))
        epoch = (await host.hub.history("ops")).head.epoch
        await host.backend.trim(keep=2)
        cursor = Cursor.parse(after.format(epoch=epoch))
        client = await host.json("ops", start=StartPosition(after=cursor))
        await until(lambda: len(client.socket.texts) == 5)
        events = client.socket.events[1:]
        assert [event["type"] for event in events] == ["joined", "gap", "message", "message"]
        reason = "trimmed" if after == "{epoch}:3" else "epoch"
        assert events[1] == {"type": "gap", "room": "ops", "after": cursor.seq, "before": 9, "reason": reason}
        assert events[0]["cursor"] == (str(cursor) if reason == "trimmed" else f"{epoch}:8")

    hosted(test)


def test_a_client_gets_a_second_joined_when_a_log_starts_again() -> None:
    async def test(host: Host) -> None:
        await publish_all(host.hub, *range(10))
        client = await host.json("ops")
        await until(lambda: len(client.bodies()) == 10)
        client.socket.pop_events()
        host.backend.wipe()
        await publish_all(host.hub, "new")
        await until(client.bodies)
        epoch = (await host.hub.history("ops")).head.epoch
        events = client.socket.events
        assert [event["type"] for event in events] == ["joined", "gap", "message"]
        assert events[0]["cursor"] == f"{epoch}:0"
        assert events[1] == {"type": "gap", "room": "ops", "after": 10, "before": 1, "reason": "epoch"}

    hosted(test)


def test_joining_again_restarts_the_delivery_and_leaving_ends_it() -> None:
    async def test(host: Host) -> None:
        await publish_all(host.hub, *range(5))
        client = await host.json("ops")
        await client.ask("join", room="ops", history=2)
        await turns()
        assert client.bodies() == [*"01234", *"34"]
        assert host.hub.counts["subscriptions"] == 1
        assert (await client.ask("leave"))["type"] == "left"
        assert (await client.ask("leave"))["type"] == "left"
        client.socket.pop_events()
        await publish_all(host.hub, "unheard")
        await turns()
        assert client.socket.texts == []
        await until(lambda: host.hub.counts["rooms"] == 0)

    hosted(test)


@pytest.mark.parametrize("history", [60, 90])
@pytest.mark.parametrize("op", ["leave", "join"])
def test_messages_that_were_being_loaded_are_not_written_after_left_or_joined(op: str, history: int) -> None:
    async def test(host: Host) -> None:
        await publish_all(host.hub, *range(900))
        await host.hub.subscribe("ops")
        host.limits = Limits(history=1000)
        host.context = msgspec.structs.replace(host.context, limits=host.limits)
        client = await host.json(None)
        release = host.backend.hold("read", old_answer=True)
        await client.ask("join", room="ops", history=history * 10)
        await turns()
        client.socket.pop_events()
        await client.ask(op, room="ops", **({"history": 3} if op == "join" else {}))
        release.set()
        await turns(60)
        kinds = [event["type"] for event in client.socket.events]
        assert kinds == (["left"] if op == "leave" else ["joined", "message", "message", "message"])
        host.hub.close_readers()

    hosted(test)


def test_the_rooms_of_a_connection_are_bounded_and_independent() -> None:
    async def test(host: Host) -> None:
        client = await host.json()
        for room in "abcd":
            assert (await client.ask("join", room=room))["type"] == "joined"
        error = await client.ask("join", room="e")
        assert error["code"] == "too-many-rooms"
        assert (await client.ask("join", room="a"))["type"] == "joined"
        await client.ask("leave", room="b")
        assert (await client.ask("join", room="e"))["type"] == "joined"
        for room in "abe":
            await publish_all(host.hub, f"in {room}", room=room)
        await until(lambda: len(client.socket.of_type("message")) == 2)
        assert {event["room"]: event["body"] for event in client.socket.of_type("message")} == {
            "a": "in a",
            "e": "in e",
        }

    hosted(test)


def test_equivalent_names_are_one_room() -> None:
    async def test(host: Host) -> None:
        client = await host.json()
        assert (await client.ask("join", room="cafe\u0301"))["room"] == "caf\u00e9"
        await client.ask("publish", room="caf\u00e9", body="hi")
        await until(lambda: client.bodies("caf\u00e9") == ["hi"])

    hosted(test)


# Publishing


def test_a_publish_is_acknowledged_when_it_is_committed() -> None:
    async def test(host: Host) -> None:
        client = await host.json("ops")
        epoch = (await host.hub.history("ops")).head.epoch
        release = host.backend.hold("append")
        client.send("publish", body="hi", data={"n": [1, None]}, key="k", ref=7)
        await turns()
        assert not client.socket.of_type("ack")
        release.set()
        ack = await client.answer(7)
        assert parse_time(ack.pop("time")) > 0
        assert ack == {
            "type": "ack", "room": "ops", "seq": 1, "cursor": f"{epoch}:1", "repeat": False, "ref": 7,
        }  # fmt: skip
        assert (await client.ask("publish", body="hi", data={"n": [1, None]}, key="k"))["repeat"] is True
        assert (await client.ask("publish", body="hi", key="k"))["code"] == "key-conflict"
        (message,) = client.socket.of_type("message")
        message.pop("time")
        assert message == {
            "type": "message", "room": "ops", "seq": 1, "sender": "ann", "body": "hi",
            "data": {"n": [1, None]}, "key": "k",
        }  # fmt: skip
        client.socket.pop_events()
        client.send("publish", body="without a ref")
        client.send("publish", data=5, room="elsewhere")
        await until(lambda: client.bodies() == ["without a ref"])
        assert len(client.socket.texts) == 1
        assert (await host.hub.history("elsewhere")).messages[0].data == 5

    hosted(test)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"op": "publish"}, "bad-request"),
    ({"op": "publish", "body": 5}, "bad-request"),
    ({"op": "publish", "body": "x" * 1001}, "body-too-large"),
    ({"op": "publish", "body": "é" * 501}, "body-too-large"),
    ({"op": "publish", "body": "", "data": "x" * 1000}, "data-too-large"),
    ({"op": "publish", "body": "", "key": ""}, "bad-key"),
    ({"op": "publish", "body": "", "key": "\x00"}, "bad-key"),
    ({"op": "publish", "body": "", "key": "é"}, "bad-key"),
    ({"op": "publish", "body": "", "room": ""}, "bad-room"),
    ({"op": "publish", "body": "", "room": "\x00"}, "bad-room"),
    ({"op": "publish", "body": "", "room": "a/b"}, "bad-room"),
    ({"op": "join", "room": "a b"}, "bad-room"),
    ({"op": "join", "room": "x" * 65}, "bad-room"),
    ({"op": "join", "after": "nonsense"}, "bad-cursor"),
    ({"op": "join", "after": 5}, "bad-request"),
    ({"op": "join", "history": "all"}, "bad-request"),
    ({"op": "history", "limit": 0}, "bad-request"),
    ({"op": "history", "limit": -(2**70)}, "bad-request"),
    ({"op": "history", "after": "nonsense"}, "bad-cursor"),
    ({"op": "history", "before": []}, "bad-request"),
    ({"op": "leave", "room": "."}, "bad-room"),
    ({"op": "members", "room": "."}, "bad-room"),
    ({"op": "typing", "room": "."}, "bad-room"),
    ({"op": "sing"}, "unknown-op"),
    ({"op": 5}, "bad-request"),
    ({}, "bad-request"),
]


@pytest.mark.parametrize("ref", [7, "r", 2**70, None])
def test_a_refused_command_is_answered_with_code_and_ref(ref: int | str | None) -> None:
    async def test(host: Host) -> None:
        client = await host.json("ops")
        for command, code in REFUSED:
            client.socket.pop_events()
            client.session.received_text(msgspec.json.encode({**command, "ref": ref}))
            await until(lambda: client.socket.texts)
            (error,) = client.socket.events
            assert (error["type"], error["code"], error.get("ref")) == ("error", code, ref), command
            assert 0 < len(error["message"]) < 400
        await client.ask("publish", body="still here")
        await until(lambda: client.bodies() == ["still here"])

    hosted(test)


DEEP = b"[" * 100_000 + b"]" * 100_000
HOSTILE = [
    b"", b"{", b"[]", b"null", b"\x00", DEEP, b'{"op":"publish","body":"\\ud800"}', b'{"op":"publish","data":NaN}',
    b'{"op":"publish","data":["\\udfff"]}', b'{"op":"publish","body":"","key":"\\ud800"}',
    b'{"op":"join","room":"\\ud800"}', b'{"op":"publish","body":"","ref":"\\ud800"}', b'{"op":"\\ud800"}',
    b'{"op":"publish","data":' + DEEP + b"}", b'{"op":"publish","body":"","x":' + DEEP + b"}",
    b'{"op":"publish","data":' + b"9" * 5000 + b"}", b'{"op":"publish","data":1e999}',
    b'{"op":"publish","ref":' + b"9" * 5000 + b',"body":""}', b'{"op":"publish","ref":true,"body":""}',
    *(b'{"op":"publish","data":' + b"[" * depth + b"]" * depth + b"}" for depth in (65, 200, 490)),
]  # fmt: skip


def test_hostile_commands_are_refused_without_effect_on_others() -> None:
    async def test(host: Host) -> None:
        client = await host.json("ops")
        other = await host.json("ops", "bob")
        for frame in HOSTILE:
            client.socket.pop_events()
            client.session.received_text(frame)
            await turns()
            (error,) = [event for event in client.socket.events if event["type"] != "presence"]
            assert error["type"] == "error", frame[:80]
        client.send("publish", body="a\x00b\n\x1b[31m\u202e", data={"\x00": "\x00"})
        await until(lambda: other.bodies() == ["a\x00b\n\x1b[31m\u202e"])
        assert other.socket.of_type("message")[0]["data"] == {"\x00": "\x00"}

    hosted(test)


def test_data_of_any_depth_do_not_stop_other_clients() -> None:
    async def test(host: Host) -> None:
        client = await host.json("ops")
        for depth in range(1, 490, 3):
            client.session.received_text(b'{"op":"publish","data":' + b"[" * depth + b"]" * depth + b"}")
        await turns()
        await client.ask("publish", body="received")
        await until(lambda: client.bodies()[-1:] == ["received"])

    hosted(test)


@pytest.mark.parametrize("at", [0, -1, -(2**70), 2**53, 2**63 - 1, 2**63, 2**64, 2**70])
@pytest.mark.parametrize("field", ["after", "before", "limit"])
def test_every_number_in_a_command_is_answered(at: int, field: str) -> None:
    async def test(host: Host) -> None:
        await publish_all(host.hub, *range(5))
        client = await host.json("ops")
        answer = await client.ask("history", **{field: at})
        assert answer["type"] == "history" or answer["code"] == "bad-request"
        assert (await client.ask("members"))["type"] == "members"

    hosted(test)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "op": st.sampled_from(["join", "leave", "publish", "history", "members", "typing", "sing"])
                | st.integers()
            },
            optional={
                name: st.none() | st.integers(-5, 2**70) | st.text(max_size=5) | st.sampled_from(["a", "b", "e:1"])
                for name in ("room", "ref", "body", "key", "after", "before", "limit", "history", "search", "data")
            },
        ),
        max_size=12,
    )
)
def test_any_sequence_of_commands_is_answered_in_order(commands: list[dict[str, Any]]) -> None:
    async def test(host: Host) -> None:
        client = await host.json()
        await client.ask("join", room="b")
        for command in commands:
            client.session.received_text(msgspec.json.encode(command))
        answer = await client.ask("history", room="b", ref="the end")
        assert answer["type"] == "history"

    hosted(test)


@pytest.mark.parametrize("failure", [Unavailable("away"), OSError("a bug")])
def test_a_publish_that_cannot_be_committed_is_answered_with_an_error(failure: Exception) -> None:
    async def test(host: Host) -> None:
        client = await host.json("ops")
        host.backend.failures["append"] = failure
        error = await client.ask("publish", body="hi")
        assert (error["type"], error["code"]) == ("error", "unavailable")
        client.socket.pop_events()
        client.send("publish", body="without a ref")
        await until(lambda: client.socket.texts)
        assert client.socket.events[0]["code"] == "unavailable"
        host.backend.failures.clear()
        assert (await client.ask("publish", body="hi"))["seq"] == 1

    hosted(test)


def test_rates_count_received_bytes_and_tell_when_to_retry() -> None:
    async def test(host: Host) -> None:
        for fields in ({"body": "x" * 300}, {"body": "é" * 150}, {"body": "", "data": "x" * 300}):
            client = await host.json("ops", limiter=Allowance(900))
            answers = [await client.ask("publish", ref=n, **fields) for n in range(4)]
            assert [answer["type"] for answer in answers] == ["ack", "ack", "error", "error"]
            assert answers[2]["code"] == "rate-limited"
            assert answers[2]["retry_after_s"] == 1.5
            client.session.closed(1000)

    hosted(test)

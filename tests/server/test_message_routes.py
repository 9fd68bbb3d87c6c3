"""Single messages over HTTP: show, reply, edit, react, redact; pages in their current state or as written."""

import json
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

import pytest
from harness import run
from in_process import InProcess, serve_in_process
from raw_client import Answer

from chatkit.client import Client
from chatkit.core import slices
from chatkit.core.backend import MentionPosition
from chatkit.core.message_state import Act, Edit, MessageState, Reaction
from chatkit.core.model import Message
from chatkit.errors import BadReference, Forbidden
from chatkit.server.read_routes import list_messages

JSON = "application/json"
THUMB = quote("👍")


async def post(server: InProcess, name: str, **fields: Any) -> Answer:
    """Publish as somebody."""
    return await server.call("POST", f"/rooms/ops/messages?name={name}", json.dumps(fields), Content_Type=JSON)


def test_messages_are_replied_to_edited_reacted_to_and_redacted() -> None:
    async def go() -> None:
        async with serve_in_process() as server:
            await post(server, "ann", body="one")
            reply = await post(server, "bob", body="a reply", of=1)
            assert (reply.status, reply.json["of"]) == (201, 1)
            edit = await server.call("PATCH", "/rooms/ops/messages/1?name=ann", '{"body":"uno"}', Content_Type=JSON)
            assert (edit.status, edit.json["act"], edit.json["of"], edit.json["seq"]) == (200, "edit", 1, 3)
            added = [await server.call("PUT", f"/rooms/ops/messages/1/reactions/{THUMB}?name=bob") for _ in range(2)]
            assert [(answer.status, answer.json["seq"]) for answer in added] == [(201, 4), (200, 1)]
            shown = (await server.call("GET", "/rooms/ops/messages/1")).json
            assert shown["edited"].pop("time") == edit.json["time"]
            assert {key: value for key, value in shown.items() if key != "time"} == {
                "room": "ops", "seq": 1, "sender": "ann", "body": "uno", "edited": {"seq": 3},
                "reactions": {"👍": {"count": 1, "by": ["bob"]}}, "replies": 1,
            }  # fmt: skip
            taken = [await server.call("DELETE", f"/rooms/ops/messages/1/reactions/{THUMB}?name=bob") for _ in "ab"]
            assert [(answer.status, answer.json["seq"]) for answer in taken] == [(200, 5), (200, 1)]
            pages = [
                (await server.call("GET", f"/rooms/ops/messages?{query}")).json
                for query in ("", "raw=true", "of=1", "of=1&raw=true", "search=uno", "search=one", "pinned=true")
            ]
            numbers = [[message["seq"] for message in page["messages"]] for page in pages]
            assert numbers == [[1, 2], [1, 2, 3, 4, 5], [2], [2, 3, 4, 5], [1], [], []]
            assert {page["last"] for page in pages} == {5}
            gone = await server.call("DELETE", "/rooms/ops/messages/1?name=ann")
            assert (gone.status, gone.json["redacted"]) == (200, True)
            log = (await server.call("GET", "/rooms/ops/messages?raw=true")).json["messages"]
            assert [(entry["body"], entry.get("act")) for entry in log] == [
                ("", None), ("a reply", None), ("", "edit"), ("👍", "react"), ("👍", "unreact"), ("", "redact"),
            ]  # fmt: skip
            assert "uno" not in json.dumps(log)
            assert log[-1]["sender"] == "ann"

    run(go())


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/rooms/ops/messages/9", None, 404, "not-found"),
        ("GET", "/rooms/ops/messages/0", None, 404, "not-found"),
        ("GET", f"/rooms/ops/messages/{10**30}", None, 404, "not-found"),
        ("GET", "/rooms/ops/messages/2", None, 404, "not-found"),  # a change, which has no state
        ("PATCH", "/rooms/ops/messages/1?name=bob", '{"body":"x"}', 403, "forbidden"),
        ("PATCH", "/rooms/ops/messages/9?name=ann", '{"body":"x"}', 422, "bad-reference"),
        ("PATCH", "/rooms/ops/messages/1?name=ann", '{"body":""}', 400, "bad-request"),
        ("PATCH", "/rooms/ops/messages/1?name=ann", "{}", 400, "bad-request"),
        ("PATCH", "/rooms/ops/messages/1?name=ann", '{"body":1}', 400, "bad-request"),
        ("PUT", "/rooms/ops/messages/1/reactions/ok", None, 400, "bad-request"),
        ("PUT", f"/rooms/ops/messages/2/reactions/{THUMB}", None, 422, "bad-reference"),
        ("DELETE", "/rooms/ops/messages/2", None, 422, "bad-reference"),
        ("POST", "/rooms/ops/messages", '{"body":"x","of":9}', 422, "bad-reference"),
        ("POST", "/rooms/ops/messages", '{"body":"x","of":1.5}', 400, "bad-request"),
        ("POST", "/rooms/ops/messages", '{"of":1,"act":"redact"}', 400, "bad-request"),
        ("POST", "/rooms/ops/messages", '{"body":"x","act":"pin"}', 400, "bad-request"),
    ],
)
def test_what_is_not_possible_is_answered_with_a_problem(
    method: str, path: str, body: str | None, status: int, code: str
) -> None:
    async def go() -> None:
        async with serve_in_process() as server:
            await post(server, "ann", body="one")
            await post(server, "ann", body="👍", of=1, act="react")
            headers = {"Content_Type": JSON} if body else {}
            answer = await server.call(method, path, body, **headers)
            assert (answer.status, answer.json["code"]) == (status, code), answer.json

    run(go())


@pytest.mark.parametrize("number", ["1_0", "+1", "%201", "1%0A", "%D9%A1", "01", "1.0", "one"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_the_number_of_a_message_is_written_in_digits(method: str, number: str) -> None:
    async def go() -> None:
        async with serve_in_process() as server:
            for _ in range(10):
                await post(server, "ann", body="one")
            answer = await server.call(method, f"/rooms/ops/messages/{number}?name=ann", '{"body":"x"}')
            assert (answer.status, answer.json["code"]) == (404, "not-found")

    run(go())


def test_a_key_that_was_used_for_another_reference_is_a_conflict() -> None:
    async def go() -> None:
        async with serve_in_process() as server:
            for body in ("one", "two"):
                await post(server, "ann", body=body)
            answers = [
                await post(server, "ann", body="x", key="k", **fields)
                for fields in ({"of": 1}, {"of": 1}, {"of": 2}, {}, {"of": 1, "act": "edit"})
            ]
            assert [answer.status for answer in answers] == [201, 200, 409, 409, 409]

    run(go())


def test_the_python_client_has_calls_for_replies_and_changes() -> None:
    async def go() -> None:
        async with serve_in_process() as server, Client(server.url, "ann") as ann, Client(server.url, "bob") as bob:
            await ann.publish("ops", "one")
            reply = await bob.reply("ops", 1, "a reply", data={"n": 1})
            receipts = [
                await ann.edit("ops", 1, "uno"),
                await bob.react("ops", 1, "👍"),
                await bob.react("ops", 1, "👍"),
                await bob.pin("ops", 1),
                await bob.react("ops", 2, ":tada:"),
                await bob.unreact("ops", 2, ":tada:"),
                await bob.pin("ops", 2),
                await bob.unpin("ops", 2),
            ]
            assert (reply.message.of, reply.message.act) == (1, None)
            assert [(receipt.message.seq, receipt.repeat) for receipt in receipts] == [
                (3, False), (4, False), (1, True), (5, False), (6, False), (7, False), (8, False), (9, False),
            ]  # fmt: skip
            page = await ann.history("ops")
            one, two = page.messages
            edit = receipts[0].message
            assert (one.body, one.state) == (
                "uno",
                MessageState(Edit(3, edit.time_ms), (Reaction("👍", 1, ("bob",)),), 1, is_pinned=True),
            )
            assert (two.of, two.state) == (1, None)
            assert [message.act for message in (await ann.history("ops", raw=True)).messages][2:4] == [
                Act.EDIT, Act.REACT,
            ]  # fmt: skip
            assert [message.seq for message in (await ann.history("ops", pinned=True)).messages] == [1]
            assert [message.seq for message in (await ann.history("ops", of=1)).messages] == [2]
            with pytest.raises(Forbidden):
                await bob.edit("ops", 1, "no")
            with pytest.raises(BadReference):
                await bob.reply("ops", 99, "no")
            items = [item async for item in _first(ann.follow("ops", history=9), 9)]
            assert [getattr(item, "act", None) for item in items][2] is Act.EDIT

    run(go())


async def _first(items: Any, count: int) -> Any:
    async for item in items:
        yield item
        count -= 1
        if not count:
            await items.aclose()
            return


def test_markers_unread_mentions_and_the_search_in_all_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SEARCH_S", 60.0)  # rooms that are not searched in time come in another order

    async def go() -> None:
        async with serve_in_process() as server, Client(server.url, "ann") as ann, Client(server.url, "bob") as bob:
            await ann.publish("ops", "one")
            await bob.publish("dev", "deploy one")
            async with aclosing(bob.follow("ops")) as following:
                await anext(following)  # so that bob is a name that can be mentioned here
                await ann.publish("ops", "deploy two @bob")
            assert await bob.mark("dev", 1) == 1
            found = await bob.unread()
            assert [(each.room, each.marker, each.n_unread, each.n_mentions) for each in found] == [
                ("dev", 1, 0, 0), ("ops", 0, 2, 1),
            ]  # fmt: skip
            listing = await bob.mentions()
            assert [(message.room, message.seq) for message in listing.messages] == [("ops", 2)]
            assert listing.cursor is None
            first = await bob.search("DEPLOY", limit=1)
            second = await bob.search("DEPLOY", limit=1, before=first.cursor)
            assert [message.body for page in (first, second) for message in page.messages] == [
                "deploy two @bob", "deploy one",
            ]  # fmt: skip
            assert second.cursor is None
            marker = await server.call("GET", "/rooms/dev/marker?name=bob")
            assert marker.json == {"room": "dev", "seq": 1}

    run(go())


def test_a_list_without_what_may_not_be_read_any_more_still_leads_to_the_older_messages() -> None:
    found = [Message(room, "e", 1, n, "ann", "one") for n, room in ((3, "secret"), (2, "ops"), (1, "dev"))]
    listing = list_messages(found, 2, lambda room: room != "secret")
    assert ([each.room for each in listing.messages], listing.complete) == (["ops"], False)
    assert listing.cursor == str(MentionPosition(2, "ops", 1))


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/unread", None, 403, "forbidden"),
        ("GET", "/mentions", None, 403, "forbidden"),
        ("PUT", "/rooms/ops/marker", '{"seq":1}', 403, "forbidden"),
        ("PUT", "/rooms/ops/marker?name=ann", "{}", 400, "bad-request"),
        ("PUT", "/rooms/ops/marker?name=ann", '{"seq":"x"}', 400, "bad-request"),
        ("PUT", "/rooms/none/marker?name=ann", '{"seq":1}', 404, "not-found"),
        ("GET", "/mentions?name=ann&before=x", None, 400, "bad-cursor"),
        ("GET", "/mentions?name=ann&limit=0", None, 400, "bad-request"),
        ("GET", "/search", None, 400, "bad-request"),
        ("GET", "/search?q=", None, 400, "bad-request"),
        ("GET", "/search?q=x&before=1", None, 400, "bad-cursor"),
        ("GET", "/search?q=x&limit=1000", None, 400, "bad-request"),
        ("GET", f"/search?q={'x' * 201}", None, 400, "bad-request"),
    ],
)
def test_bad_questions_about_what_was_read_are_answered_with_a_problem(
    method: str, path: str, body: str | None, status: int, code: str
) -> None:
    async def go() -> None:
        async with serve_in_process() as server:
            await post(server, "ann", body="one")
            headers = {"Content_Type": JSON} if body else {}
            answer = await server.call(method, path, body, **headers)
            assert (answer.status, answer.json["code"]) == (status, code), answer.json

    run(go())

"""The client's calls of administration: what they send, which of them are repeated, and what they do not accept."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from raw_server import RawServer, answer

from chatkit.client.admin import AdminClient
from chatkit.client.endpoint import Endpoint
from chatkit.core.access import Grant, Right
from chatkit.errors import Forbidden, Unavailable
from chatkit.wire.access import RoomSettingsChange

TIME = "2026-11-20T11:47:21.123Z"
TOKEN = {"id": "abcdefghij", "name": "ann", "kind": "person", "grants": [], "created": TIME, "made_by": "root"}
SECRET = {**TOKEN, "secret": "ck_abcdefghij_" + "x" * 43}
BAN = {"id": "b1", "kind": "name", "subject": "bob", "room": "*", "created": TIME, "made_by": "root"}
ROOM = {"room": "ops", "first": 1, "last": 1, "cursor": "e:1", "members": 0}
GRANTS = [Grant("ops", (Right.READ,))]

Call = Callable[[AdminClient], Any]

CHANGES: list[tuple[Call, str, Any]] = [
    (lambda client: client.add_token("ann", GRANTS), "POST /tokens", SECRET),
    (lambda client: client.make_invite(GRANTS), "POST /invites", SECRET),
    (lambda client: client.redeem("ck_a", "ann"), "POST /invites/redeem", SECRET),
    (lambda client: client.rotate("a/b"), "POST /tokens/a%2Fb/rotate", SECRET),
    (lambda client: client.revoke("abcdefghij"), "DELETE /tokens/abcdefghij", TOKEN),
    (lambda client: client.remove("a/b"), "POST /tokens/a%2Fb/remove", TOKEN),
    (lambda client: client.ban("bob"), "POST /bans", BAN),
    (lambda client: client.unban("b1"), "DELETE /bans/b1", BAN),
    (lambda client: client.rename_room("ops", "dev"), "POST /rooms/ops/rename", ROOM),
    (lambda client: client.delete_room("ops"), "DELETE /rooms/ops", {}),
]
READS: list[tuple[Call, str, Any]] = [
    (lambda client: client.tokens(), "GET /tokens", {"tokens": [TOKEN]}),
    (lambda client: client.bans(), "GET /bans", {"bans": [BAN]}),
    (lambda client: client.set_room("ops", RoomSettingsChange(topic="x")), "PATCH /rooms/ops", ROOM),
]


def requests_of(call: Call, reply: bytes, error: type[Exception] | None = None) -> list[str]:
    """Make a call to a server that answers with `reply`, and return the methods and targets that it received."""

    async def test() -> list[str]:
        async with RawServer(lambda _: reply).running() as server:
            endpoint = Endpoint.parse(server.url, "ann", "a-token")
            with AdminClient(endpoint) as client, nullcontext() if error is None else pytest.raises(error):
                await asyncio.to_thread(call, client)
            assert all("\r\nAuthorization: Bearer a-token\r\n" in head for head in server.heads)
            return [head.split(" HTTP/", 1)[0] for head in server.heads]

    return asyncio.run(asyncio.wait_for(test(), 60))


@pytest.mark.parametrize(("call", "target", "body"), [*CHANGES, *READS])
def test_a_call_is_one_request(call: Call, target: str, body: Any) -> None:
    assert requests_of(call, answer(200, body)) == [target]


@pytest.mark.parametrize(("call", "target", "body"), CHANGES)
def test_a_call_that_makes_or_removes_something_is_not_made_again(call: Call, target: str, body: Any) -> None:
    assert requests_of(call, b"", Unavailable) == [target]


@pytest.mark.parametrize(("call", "target", "body"), READS)
def test_other_calls_are_made_again_if_the_connection_breaks(call: Call, target: str, body: Any) -> None:
    assert requests_of(call, b"", Unavailable) == [target] * 3


def test_a_refusal_is_raised_as_the_error_that_the_server_names() -> None:
    problem = {"code": "forbidden", "title": "Forbidden", "status": 403, "detail": "no"}
    requests_of(lambda client: client.tokens(), answer(403, problem), Forbidden)


@pytest.mark.parametrize(
    "change",
    [
        {"secret": "two words"},
        {"secret": "x" * 200},
        {"secret": "\x1b[2J"},
        {"secret": None},
        {"name": "x" * 5_000},
        {"created": "nonsense"},
        {"expires": "9999-12-31T23:59:59Z"},
        {"previous_until": "nonsense"},
        {"uses_left": -1},
        {"uses_left": 2**63},
        {"kind": "king"},
        {"grants": [{"rooms": "*", "rights": ["rule"]}]},
    ],
)
def test_a_token_that_cannot_be_right_is_an_error(change: dict[str, Any]) -> None:
    requests_of(lambda client: client.add_token("ann", GRANTS), answer(201, {**SECRET, **change}), Unavailable)


@pytest.mark.parametrize(
    "change", [{"subject": "x" * 5_000}, {"reason": "x" * 5_000}, {"until": "soon"}, {"kind": "x"}]
)
def test_a_ban_that_cannot_be_right_is_an_error(change: dict[str, Any]) -> None:
    requests_of(lambda client: client.bans(), answer(200, {"bans": [{**BAN, **change}]}), Unavailable)

"""The calls that administer access: what each answers, who may make it, and which bodies are refused."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from access_server import AccessServer, access_server, grant, problem
from raw_client import run

from chatkit.core.access import Grant
from chatkit.core.administration import NewToken
from chatkit.core.model import Draft
from chatkit.server.request_body import MAX_BYTES

SERVER: dict[str, Any] = {"host": "localhost", "secret": "not-used-here"}  # which nobody uses without a token
ADMIN = grant("*", "admin")
GRANTS = [{"rooms": "ops*", "rights": ["read", "write"]}]


# Who may make each call


class Call(NamedTuple):
    """A call. Its path may hold the ids of somebody else's `{token}`, of one's `{own}` and of a `{ban}`."""

    method: str
    path: str
    body: Any = None


CALLS = {
    "GET me": Call("GET", "/me"),
    "GET tokens": Call("GET", "/tokens"),
    "POST token": Call("POST", "/tokens", {"name": "zoe", "grants": GRANTS}),
    "rotate": Call("POST", "/tokens/{token}/rotate", {"overlap_s": 60}),
    "DELETE token": Call("DELETE", "/tokens/{token}"),
    "rotate one's own": Call("POST", "/tokens/{own}/rotate", {"overlap_s": 60}),
    "POST invite": Call("POST", "/invites", {"grants": GRANTS}),
    "remove": Call("POST", "/tokens/{ended}/remove"),
    "GET bans": Call("GET", "/bans"),
    "ban in the room": Call("POST", "/bans", {"subject": "eve", "room": "ops"}),
    "ban everywhere": Call("POST", "/bans", {"subject": "eve"}),
    "unban": Call("DELETE", "/bans/{ban}"),
    "kick": Call("POST", "/rooms/ops/kick", {"name": "eve"}),
    "topic": Call("PATCH", "/rooms/ops", {"topic": "new"}),
    "retention": Call("PATCH", "/rooms/ops", {"keep": 10}),
    "rename": Call("POST", "/rooms/ops/rename", {"name": "operations"}),
    "DELETE room": Call("DELETE", "/rooms/ops"),
    "GET audit": Call("GET", "/rooms/.audit/messages"),
    "DELETE one's own token": Call("DELETE", "/tokens/{own}"),
}
WHO: dict[str, tuple[Grant, ...]] = {
    "nothing": (),
    "reader": (grant("ops", "read", "write"),),
    "stranger": (grant("dev", "admin"),),
    "moderator": (grant("ops", "moderate"),),
    "admin of the room": (grant("ops", "admin"),),
    "moderator of all": (grant("*", "moderate"),),
    "admin": (ADMIN,),
}
OF_SELF = {"GET me", "rotate one's own", "DELETE one's own token"}
OF_MODERATORS = {"ban in the room", "unban", "kick", "topic"}
OF_ROOM_ADMINS = {"retention", "DELETE room"}


def expected(who: str, call: str) -> str:
    """Return what a call answers: the rules of the documentation, written down once more."""
    if call in OF_SELF or who == "admin":
        return "ok"
    is_moderator = who in {"moderator", "admin of the room", "moderator of all"}
    if call == "GET audit":
        return "not-found"
    if call == "GET bans":
        return "ok" if is_moderator or who == "stranger" else "forbidden"
    if call == "rename":  # it needs `admin` also on the new name, which otherwise does not exist
        return "forbidden" if who in {"moderator", "moderator of all", "reader"} else "not-found"
    if call in OF_MODERATORS | OF_ROOM_ADMINS:
        if who in {"nothing", "stranger"}:
            return "forbidden" if (who, call) == ("nothing", "unban") else "not-found"
        is_allowed = is_moderator if call in OF_MODERATORS else who == "admin of the room"
        return "ok" if is_allowed else "forbidden"
    return "forbidden"


@pytest.mark.parametrize("who", WHO)
def test_each_call_is_allowed_to_those_with_the_right(who: str) -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin, other = await server.token("boss", ADMIN), await server.token("bob", *WHO["reader"])
            own = await server.token("ann", *WHO[who])
            await server.hub.publish(Draft("ops", "bob", "hello"))
            ban = (await server.call("POST", "/bans", admin, {"subject": "dan", "room": "ops"})).json()["id"]
            ended = (await server.token("ted", *WHO["reader"])).token.id
            await server.call("DELETE", f"/tokens/{ended}", admin)
            ids = {"ended": ended, "token": other.token.id, "own": own.token.id, "ban": ban}
            secret, wrong = own.secret, []
            for name, call in CALLS.items():
                answer = await server.call(call.method, call.path.format(**ids), secret, call.body)
                found = "ok" if answer.is_success else problem(answer)[1]
                if found != expected(who, name):
                    wrong.append(f"{name}: {found} in place of {expected(who, name)}")
                assert answer.headers["cache-control"] == "no-store"
            assert not wrong, wrong
            assert problem(await server.call("GET", "/me", secret)) == (401, "unauthorized")  # it revoked itself

    run(test())


def test_nobody_administers_without_a_token() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            for method, path, body in CALLS.values():
                found = problem(await server.call(method, path, None, body))
                assert found == (401, "unauthorized"), path
            forbidden = {"GET tokens", "POST token", "POST invite", "ban everywhere", "retention", "DELETE room"}
            for name in forbidden:  # the server's secret has every right but to administer
                method, path, body = CALLS[name]
                assert problem(await server.call(method, path, SERVER["secret"], body)) == (403, "forbidden"), name
            assert (await server.call("PATCH", "/rooms/ops", SERVER["secret"], {"topic": "x"})).status_code == 200

    run(test())


def test_on_an_open_server_everybody_moderates_and_nobody_administers() -> None:
    async def test() -> None:
        async with access_server() as server:
            me = (await server.call("GET", "/me?name=ann")).json()
            assert me == {"name": "ann", "grants": [{"rooms": "*", "rights": ["moderate"]}], "open": True}
            assert problem(await server.call("POST", "/tokens", None, CALLS["POST token"].body)) == (403, "forbidden")
            assert (await server.call("PATCH", "/rooms/ops", None, {"topic": "x"})).json()["topic"] == "x"
            assert (await server.call("POST", "/rooms/ops/kick", None, {"name": "eve"})).status_code == 201

    run(test())


# Bodies


BAD_BODIES: list[tuple[str, str, Any]] = [
    ("POST", "/tokens", {}),
    ("POST", "/tokens", {"name": "", "grants": []}),
    ("POST", "/tokens", {"name": "a\u200bb\n", "grants": []}),
    ("POST", "/tokens", {"name": "x" * 33, "grants": []}),
    ("POST", "/tokens", {"name": "zoe", "grants": [{"rooms": "ops", "rights": ["rule"]}]}),
    ("POST", "/tokens", {"name": "zoe", "grants": [{"rooms": "ops", "rights": []}]}),
    ("POST", "/tokens", {"name": "zoe", "grants": [{"rooms": ".audit", "rights": ["read"]}]}),
    ("POST", "/tokens", {"name": "zoe", "grants": [{"rooms": "a*b", "rights": ["read"]}]}),
    ("POST", "/tokens", {"name": "zoe", "grants": GRANTS * 33}),
    ("POST", "/tokens", {"name": "zoe", "grants": [], "kind": "king"}),
    ("POST", "/tokens", {"name": "zoe", "grants": [], "kind": "invite"}),
    ("POST", "/tokens", {"name": "zoe", "grants": [], "expires": "soon"}),
    ("POST", "/tokens", {"name": "zoe", "grants": [], "expires": "2001-01-01T00:00:00Z"}),
    ("POST", "/tokens", {"name": "zoe", "grants": [], "expire": "2099-01-01T00:00:00Z"}),
    ("POST", "/tokens", [1]),
    ("POST", "/tokens/{own}/rotate", {"overlap_s": -1}),
    ("POST", "/tokens/{own}/rotate", {"overlap_s": 10**9}),
    ("POST", "/tokens/{own}/rotate", {"overlap_s": "1"}),
    ("POST", "/invites", {"grants": GRANTS, "uses": 0}),
    ("POST", "/invites", {"grants": GRANTS, "uses": 10**6}),
    ("POST", "/invites", {"grants": GRANTS, "expires": "2001-01-01T00:00:00Z"}),
    ("POST", "/invites/redeem", {"secret": "x"}),
    ("POST", "/session", {"secret": "x"}),
    ("POST", "/bans", {}),
    ("POST", "/bans", {"subject": ""}),
    ("POST", "/bans", {"subject": "eve", "kind": "person"}),
    ("POST", "/bans", {"subject": "eve", "kind": "network"}),
    ("POST", "/bans", {"subject": "eve", "room": "no room"}),
    ("POST", "/bans", {"subject": "eve", "until": "2001-01-01T00:00:00Z"}),
    ("POST", "/bans", {"subject": "eve", "reason": "two\nlines"}),
    ("POST", "/bans", {"subject": "eve", "reason": "x" * 201}),
    ("POST", "/bans", {"subject": "boss"}),
    ("POST", "/bans", {"subject": "127.0.0.1"}),
    ("POST", "/rooms/ops/kick", {}),
    ("POST", "/rooms/.audit/kick", {"name": "eve"}),
    ("POST", "/rooms/ops/rename", {}),
    ("POST", "/rooms/ops/rename", {"name": "no room"}),
    ("POST", "/rooms/ops/rename", {"name": ".audit"}),
    ("POST", "/rooms/.audit/rename", {"name": "x"}),
    ("POST", "/rooms/ops/rename", {"name": "ops"}),
    ("PATCH", "/rooms/ops", {}),
    ("PATCH", "/rooms/ops", {"archive": True}),
    ("PATCH", "/rooms/ops", {"topic": None}),
    ("PATCH", "/rooms/ops", {"topic": "x" * 251}),
    ("PATCH", "/rooms/ops", {"keep": 0}),
    ("PATCH", "/rooms/ops", {"keep_for_s": 2**60}),
    ("PATCH", "/rooms/.audit", {"keep": 1}),
    ("DELETE", "/rooms/.audit", None),
]  # fmt: skip


def test_bodies_that_are_not_valid_are_refused_and_change_nothing() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin = await server.token("boss", ADMIN)
            before = await state(server, admin)
            for method, path, body in BAD_BODIES:
                answer = await server.call(method, path.format(own=admin.token.id), admin, body)
                assert problem(answer)[0] == 400, (path, body, answer.text)
            assert await state(server, admin) == before

    run(test())


async def state(server: AccessServer, admin: NewToken) -> list[Any]:
    paths = ("/tokens", "/bans", "/rooms", "/rooms/.audit/messages")
    return [(await server.call("GET", path, admin)).json() for path in paths]


def test_a_body_is_json_with_its_type_and_of_bounded_size() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin = await server.token("boss", ADMIN)
            named = {"authorization": f"Bearer {admin.secret}"}
            for media_type in ("text/plain", "application/x-www-form-urlencoded"):  # which another site's form can send
                headers = named | {"content-type": media_type}
                answer = await server.http.post("/bans", content='{"subject":"eve"}', headers=headers)
                assert problem(answer) == (400, "bad-request")
            headers = named | {"content-type": "application/json"}
            for content in (b"{", b"\xff\xfe", b"[" * 60_000, b'{"subject":"\\ud800"}'):
                assert problem(await server.http.post("/bans", content=content, headers=headers))[0] == 400
            content = b'{"subject":"%s"}' % (b"x" * MAX_BYTES)
            assert problem(await server.http.post("/bans", content=content, headers=headers)) == (413, "body-too-large")
            empty = await server.http.post(f"/tokens/{admin.token.id}/rotate", headers=named)
            assert empty.status_code == 200

    run(test())


def test_calls_of_another_site_are_refused() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin = await server.token("boss", ADMIN)
            for method, path, body in (*CALLS.values(), Call("POST", "/session"), Call("POST", "/invites/redeem")):
                answer = await server.call(method, path, admin, body, Origin="https://evil.example")
                assert answer.is_success if method == "GET" else problem(answer) == (403, "forbidden"), path
                answer = await server.call(method, path, admin, body, Host="rebind.evil")
                assert problem(answer) == (403, "forbidden"), path

    run(test())


@pytest.mark.parametrize("make", [lambda s, a: s.call("GET", "/tokens", a), lambda s, a: s.call("GET", "/me", a)])
def test_answers_hold_no_more_than_they_should(make: Callable[[AccessServer, NewToken], Any]) -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin = await server.token("boss", ADMIN)
            text = (await make(server, admin)).text
            assert admin.token.digest not in text
            assert admin.secret not in text

    run(test())


def test_calls_are_counted_against_the_rate_like_messages() -> None:
    async def test() -> None:
        async with access_server(**SERVER | {"rate_limit": 0.1}) as server:  # one message at a time
            ann = await server.token("ann", grant("ops", "moderate"))
            assert (await server.call("PATCH", "/rooms/ops", ann, {"topic": "a"})).status_code == 200
            refused = await server.call("PATCH", "/rooms/ops", ann, {"topic": "b"})
            assert problem(refused) == (429, "rate-limited")
            assert int(refused.headers["retry-after"]) >= 1
            for _ in range(2):
                found = problem(await server.call("POST", "/invites/redeem", None, {"secret": "x", "name": "eve"}))
            assert found == (429, "rate-limited")

    run(test())

"""Signing in and out, and redeeming an invite: what a browser gets, and what guessing gains."""

import asyncio
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
from access_server import ROOT, AccessServer, access_server, grant, problem
from raw_client import run

from chatkit.core.administration import NewToken
from chatkit.server.token_attempts import BURST

SERVER: dict[str, Any] = {"host": "localhost", "secret": "not-used-here"}  # which nobody uses without a token
ADMIN = grant("*", "admin")
GRANTS = [{"rooms": "ops", "rights": ["read"]}]
WRONG = "ck_abcdefghij_" + "A" * 43


def cookie_of(answer: httpx.Response) -> dict[str, str]:
    """Return the header with the cookie that an answer sets."""
    (morsel,) = SimpleCookie(answer.headers["set-cookie"]).values()
    assert morsel["httponly"]
    assert morsel["samesite"] == "Strict"
    return {"cookie": f"{morsel.key}={morsel.value}"}


async def invite(server: AccessServer, admin: NewToken, **fields: Any) -> str:
    made = await server.call("POST", "/invites", admin, {"grants": GRANTS, **fields})
    assert made.status_code == 201, made.text
    return str(made.json()["secret"])


def redeem(server: AccessServer, secret: str, name: str) -> Any:
    return server.call("POST", "/invites/redeem", None, {"secret": secret, "name": name})


# Sessions


def test_signing_in_sets_a_cookie_without_the_secret_and_signing_out_removes_it() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            ann = await server.token("ann", grant("ops", "read", "write"))
            signed_in = await server.call("POST", "/session", None, {"token": ann.secret})
            assert signed_in.json() == {
                "name": "ann", "grants": [{"rooms": "ops", "rights": ["read", "write"]}], "verified": True,
                "token": ann.token.id,
            }  # fmt: skip
            assert ann.secret.split("_", 2)[2] not in str(signed_in.headers)
            cookie = cookie_of(signed_in)
            assert (await server.call("GET", "/me", **cookie)).json() == signed_in.json()
            signed_out = await server.call("DELETE", "/session", **cookie)
            assert signed_out.status_code == 204
            assert "Max-Age=0" in signed_out.headers["set-cookie"]

    run(test())


def test_the_servers_secret_signs_in_and_an_open_server_needs_no_cookie() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            signed_in = await server.call("POST", "/session", None, {"token": SERVER["secret"]})
            assert signed_in.json()["grants"] == [{"rooms": "*", "rights": ["moderate"]}]
            assert (await server.call("GET", "/me?name=bob", **cookie_of(signed_in))).json()["name"] == "bob"
        async with access_server() as server:
            signed_in = await server.call("POST", "/session", None, {"token": "whatever"})
            assert signed_in.json()["open"] is True
            assert "set-cookie" not in signed_in.headers

    run(test())


def test_a_stale_cookie_keeps_nobody_from_signing_in_or_out() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            ann = await server.token("ann", grant("ops", "read"))
            cookie = cookie_of(await server.call("POST", "/session", None, {"token": ann.secret}))
            rotated = await server.call("POST", f"/tokens/{ann.token.id}/rotate", ann)
            assert problem(await server.call("GET", "/me", **cookie)) == (401, "unauthorized")
            again = await server.call("POST", "/session", None, {"token": rotated.json()["secret"]}, **cookie)
            assert again.status_code == 200
            assert (await server.call("DELETE", "/session", **cookie)).status_code == 204

    run(test())


def test_wrong_tokens_and_secrets_of_invites_are_slowed_down_together() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            secret = (await server.hub.administration.make_invite(ROOT, [grant("ops", "read")])).secret
            for number in range(BURST // 2):
                guess = {"token": WRONG} if number % 2 else {"token": secret}  # an invite is no token to sign in with
                assert problem(await server.call("POST", "/session", None, guess)) == (401, "unauthorized")
                assert problem(await redeem(server, WRONG, "eve")) == (401, "unauthorized")
            assert problem(await server.call("POST", "/session", None, {"token": WRONG})) == (429, "rate-limited")
            assert problem(await redeem(server, secret, "eve")) == (429, "rate-limited")  # even with the right one

    run(test())


# Invites


def test_an_invite_is_a_link_and_gives_a_token_and_a_cookie() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin = await server.token("boss", ADMIN)
            made = (await server.call("POST", "/invites", admin, {"grants": GRANTS, "uses": 2})).json()
            assert made["url"] == f"{server.url}/#invite={made['secret']}"
            redeemed = await redeem(server, made["secret"], "ann")
            assert redeemed.status_code == 201
            assert redeemed.json()["made_by"] == f"invite {made['id']}"
            me = await server.call("GET", "/me", redeemed.json()["secret"])
            assert me.json() == (await server.call("GET", "/me", **cookie_of(redeemed))).json()
            assert me.json()["grants"] == GRANTS
            left = {each["id"]: each for each in (await server.call("GET", "/tokens", admin)).json()["tokens"]}
            assert left[made["id"]]["uses_left"] == 1
            assert (await redeem(server, made["secret"], "bob")).status_code == 201
            assert problem(await redeem(server, made["secret"], "cat")) == (403, "invite-used")

    run(test())


def test_the_link_has_the_address_that_the_client_knows() -> None:
    async def test() -> None:
        async with access_server(**SERVER, path_prefix="/chat", trust_proxies=("127.0.0.1",)) as server:
            admin = await server.token("boss", ADMIN)
            forwarded = {
                "X_Forwarded_Host": "chat.example",
                "X_Forwarded_Proto": "https",
                "X_Forwarded_For": "192.0.2.1",
            }
            made = await server.call("POST", "/invites", admin, {"grants": GRANTS}, **forwarded)
            assert made.json()["url"].startswith("https://chat.example/chat/#invite=ck_")
        async with access_server(**SERVER) as server:  # which trusts no other name than its own
            admin = await server.token("boss", ADMIN)
            made = await server.call("POST", "/invites", admin, {"grants": GRANTS}, **forwarded)
            assert "chat.example" not in made.json()["url"]

    run(test())


def test_an_invite_that_is_refused_is_not_used() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin = await server.token("boss", ADMIN)
            secret = await invite(server, admin)
            await server.call("POST", "/bans", admin, {"subject": "eve"})
            for name, code in (("boss", "name-taken"), ("b\u043ess", "name-taken"), ("moderator", "name-taken"),
                               ("eve", "banned"), ("", "bad-sender"), ("anonymous", "name-taken")):  # fmt: skip
                assert problem(await redeem(server, secret, name))[1] == code, name
            assert (await redeem(server, secret, "ann")).status_code == 201

    run(test())


def test_without_a_right_secret_nothing_is_told_about_names() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            await server.token("boss", ADMIN)
            answers = {(await redeem(server, WRONG, name)).text for name in ("boss", "nobody-yet")}
            assert len(answers) == 1

    run(test())


def test_an_invite_with_one_use_is_redeemed_once_on_two_servers_at_the_same_moment(tmp_path: Path) -> None:
    async def test() -> None:
        backend = f"sqlite:///{tmp_path / 'rooms.db'}"
        async with access_server(**SERVER, backend=backend) as one, access_server(**SERVER, backend=backend) as other:
            admin = await one.token("boss", ADMIN)
            for round_ in range(5):
                secret = await invite(one, admin)
                answers = await asyncio.gather(
                    *(redeem(server, secret, f"{name}{round_}") for server, name in ((one, "ann"), (other, "bob")))
                )
                assert sorted(answer.status_code for answer in answers) == [201, 403]
                refused = next(answer for answer in answers if answer.status_code == 403)
                assert problem(refused) == (403, "invite-used")
            people = [
                each for each in (await one.call("GET", "/tokens", admin)).json()["tokens"] if "uses_left" not in each
            ]
            assert len(people) == 1 + 5

    run(test())

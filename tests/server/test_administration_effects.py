"""What the calls that administer access bring about: on tokens, on those who are banned, on rooms and their readers."""

from typing import Any

from access_server import AccessServer, access_server, grant, json_of, problem, within
from raw_client import run

from chatkit.core.administration import NewToken
from chatkit.core.model import Draft
from chatkit.server.long_answer import SLICE_BYTES

SERVER: dict[str, Any] = {"host": "localhost", "secret": "not-used-here"}  # which nobody uses without a token
ADMIN = grant("*", "admin")
WRITE_OPS = grant("ops", "read", "write")
SOON_S = 5.0  # far more than a change takes here, where no other process makes it
JSON = {"content-type": "application/json"}


def me(server: AccessServer, secret: NewToken | str) -> Any:
    return server.call("GET", "/me", secret)


# Tokens


def test_a_token_is_made_listed_and_revoked_without_any_other_of_its_name() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin = await server.token("boss", ADMIN)
            grants = [{"rooms": "ops*", "rights": ["write", "read"]}]
            fields = {"name": "deployer", "kind": "bot", "grants": grants, "expires": "2999-01-01T00:00:00Z"}
            one, other = [await server.call("POST", "/tokens", admin, fields) for _ in range(2)]
            assert one.status_code == 201
            made = one.json()
            secret = made.pop("secret")
            assert made | {"created": ""} == {
                "id": secret.split("_")[1], "name": "deployer", "kind": "bot", "created": "", "made_by": "boss",
                "grants": [{"rooms": "ops*", "rights": ["read", "write"]}], "expires": "2999-01-01T00:00:00.000Z",
            }  # fmt: skip
            assert (await me(server, secret)).json()["bot"] is True
            listed = (await server.call("GET", "/tokens", admin)).json()["tokens"]
            assert [each["name"] for each in listed] == ["boss", "deployer", "deployer"]
            revoked = await server.call("DELETE", f"/tokens/{made['id']}", admin)
            assert revoked.json()["revoked"]
            assert problem(await me(server, secret)) == (401, "unauthorized")
            assert (await me(server, other.json()["secret"])).status_code == 200
            again = await server.call("DELETE", f"/tokens/{made['id']}", admin)
            assert again.json()["revoked"] == revoked.json()["revoked"]
            assert problem(await server.call("DELETE", "/tokens/nobody0000", admin)) == (404, "not-found")
            assert problem(await server.call("POST", "/tokens", admin, {"name": "d\u0435ployer", "grants": []})) == (
                403,
                "name-taken",
            )

    run(test())


def test_a_long_list_of_tokens_arrives_whole() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin = await server.token("boss", ADMIN)
            names = [f"someone-{number:04d}" for number in range(400)]
            for name in names:
                await server.token(name, WRITE_OPS)
            answer = await server.call("GET", "/tokens", admin)
            assert len(answer.content) > SLICE_BYTES
            assert sorted(token["name"] for token in answer.json()["tokens"]) == ["boss", *names]

    run(test())


def test_both_secrets_are_valid_until_the_overlap_of_a_rotation_ends() -> None:
    now_ms = 1_700_000_000_000

    async def test() -> None:
        nonlocal now_ms
        async with access_server(**SERVER) as server:
            server.hub.administration._now_ms = server.hub.now_ms = lambda: now_ms
            ann = await server.token("ann", WRITE_OPS)
            path = f"/tokens/{ann.token.id}/rotate"
            rotated = (await server.call("POST", path, ann, {"overlap_s": 60})).json()
            assert rotated["previous_until"] == "2023-11-14T22:14:20.000Z"
            for secret in (ann.secret, rotated["secret"]):
                assert (await me(server, secret)).status_code == 200
            now_ms += 60_000
            assert problem(await me(server, ann)) == (401, "unauthorized")
            newest = (await server.call("POST", path, rotated["secret"])).json()  # without an overlap
            assert problem(await me(server, rotated["secret"])) == (401, "unauthorized")
            assert (await me(server, newest["secret"])).status_code == 200

    run(test())


def test_who_revokes_itself_is_disconnected() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            ann = await server.token("ann", WRITE_OPS)
            async with server.talk("/ws/ops", ann.secret) as talk:
                await talk.until("joined")
                assert (await server.call("DELETE", f"/tokens/{ann.token.id}", ann)).status_code == 200
                await within(SOON_S, talk.socket.wait_closed())
                assert talk.socket.close_code == 4401

    run(test())


def test_a_right_that_is_lost_while_the_body_arrives_is_not_used() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin, mallory = await server.token("boss", ADMIN), await server.token("mallory", ADMIN)

            async def body() -> Any:
                yield b'{"name":"zoe",'
                assert (await server.call("DELETE", f"/tokens/{mallory.token.id}", admin)).status_code == 200
                yield b'"grants":[]}'

            headers = JSON | {"authorization": f"Bearer {mallory.secret}"}
            assert problem(await server.http.post("/tokens", content=body(), headers=headers)) == (401, "unauthorized")

    run(test())


# Bans


def test_bans_by_name_network_and_token_are_in_force_until_they_are_removed() -> None:
    async def test() -> None:
        async with access_server(**SERVER, trust_proxies=("127.0.0.1",)) as server:
            admin, ann = await server.token("boss", ADMIN), await server.token("ann", WRITE_OPS)
            subjects = {
                "name": {"subject": "\u0430nn", "reason": "spam"},  # a look-alike names the same person
                "network": {"subject": "198.51.100.0/24", "until": "2999-01-01T00:00:00.000Z"},
                "token": {"subject": ann.token.id, "kind": "token"},
            }
            for kind, fields in subjects.items():
                made = await server.call("POST", "/bans", admin, fields)
                assert made.status_code == 201, made.text
                assert made.json().items() >= {**fields, "kind": kind, "room": "*", "made_by": "boss"}.items()
                refused = await server.call("GET", "/me", ann, X_Forwarded_For="198.51.100.7")
                assert problem(refused) == (403, "banned")
                assert fields.get("reason", "") in refused.json()["detail"]
                assert (await server.call("GET", "/bans", admin)).json() == {"bans": [made.json()]}
                path = f"/bans/{made.json()['id']}"
                assert (await server.call("DELETE", path, admin)).json() == made.json()
                assert problem(await server.call("DELETE", path, admin)) == (404, "not-found")
                assert (await server.call("GET", "/me", ann, X_Forwarded_For="198.51.100.7")).status_code == 200

    run(test())


def test_a_mute_leaves_reading_and_a_kick_ends_it_for_a_minute() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            mod, ann = await server.token("mod", grant("ops", "moderate")), await server.token("ann", WRITE_OPS)
            async with server.lines("/rooms/ops/events", ann.secret, "application/x-ndjson") as lines:
                muted = await server.call("POST", "/bans", mod, {"subject": "ann", "room": "ops", "mute": True})
                assert await server.code("POST", "/rooms/ops/messages", ann.secret, content="x") == "banned"
                assert await server.code("GET", "/rooms/ops", ann.secret) == "ok"
                kicked = await server.call("POST", "/rooms/ops/kick", mod, {"name": "ann", "reason": "calm down"})
                assert kicked.status_code == 201
                assert json_of([line async for line in lines if line][-1])["code"] == "banned"
            assert await server.code("GET", "/rooms/ops", ann.secret) == "banned"
            bans = (await server.call("GET", "/bans", mod)).json()["bans"]
            assert bans == [muted.json(), kicked.json()]
            assert bans[1]["until"] > bans[1]["created"]

    run(test())


def test_moderators_see_and_remove_the_bans_of_their_rooms_only_and_never_their_own() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin = await server.token("boss", ADMIN)
            mod = await server.token("mod", grant("ops", "moderate"), grant("dev", "moderate"))
            paths = {}
            for subject, room in (("eve", "ops"), ("eve", "qa"), ("eve", "*"), ("mod", "dev")):
                made = await server.call("POST", "/bans", admin, {"subject": subject, "room": room})
                paths[room] = f"/bans/{made.json()['id']}"
            assert [ban["room"] for ban in (await server.call("GET", "/bans", mod)).json()["bans"]] == ["ops"]
            for room in ("qa", "*", "dev"):
                assert problem(await server.call("DELETE", paths[room], mod)) == (404, "not-found")
            for call in (("POST", "/rooms/dev/kick", {"name": "x"}), ("PATCH", "/rooms/dev", {"topic": "x"}),
                         ("POST", "/bans", {"subject": "x", "room": "dev"})):  # fmt: skip
                assert problem(await server.call(call[0], call[1], mod, call[2])) == (403, "banned")
            assert (await server.call("DELETE", paths["ops"], mod)).status_code == 200
            # An administrator is not kept out by a moderator.
            assert (await server.call("POST", "/rooms/ops/kick", mod, {"name": "boss"})).status_code == 201
            kicked = (await server.call("GET", "/bans", admin)).json()["bans"][-1]
            assert (await server.call("DELETE", f"/bans/{kicked['id']}", admin)).status_code == 200

    run(test())


# Rooms


def test_settings_of_a_room_are_kept_shown_and_told() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin, ann = await server.token("boss", ADMIN), await server.token("ann", WRITE_OPS)
            await server.hub.publish(Draft("ops", "bob", "hello"))
            async with server.talk("/ws/ops", ann.secret) as talk:
                await talk.until("joined")
                fields = {"topic": "Deployments", "keep": 100, "keep_for_s": 3600}
                changed = await server.call("PATCH", "/rooms/ops", admin, fields)
                assert changed.json().items() >= {"room": "ops", "last": 1, **fields}.items()
                assert (await talk.until("room"))["topic"] == "Deployments"
            changed = await server.call("PATCH", "/rooms/ops", admin, {"keep": None})
            assert "keep" not in changed.json()
            assert changed.json()["topic"] == "Deployments"
            assert (await server.call("GET", "/rooms/ops", ann)).json()["keep_for_s"] == 3600
            assert (await server.call("GET", "/rooms", ann)).json()["rooms"][0]["topic"] == "Deployments"

    run(test())


def test_an_archived_room_is_read_and_written_by_nobody_through_any_door() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin = await server.token("boss", ADMIN)
            await server.hub.publish(Draft("ops", "bob", "hello"))
            async with server.talk("/ws/ops", admin.secret) as talk, server.text("/ws/ops", admin.secret) as text:
                await talk.until("joined")
                assert await within(SOON_S, text.recv()) == "hello"
                assert (await server.call("PATCH", "/rooms/ops", admin, {"archived": True})).json()["archived"] is True
                for content, headers in (("x", {}), ('{"body":"x"}', JSON)):
                    code = await server.code(
                        "POST", "/rooms/ops/messages", admin.secret, content=content, headers=headers
                    )
                    assert code == "forbidden"
                assert (await talk.ask(op="publish", room="ops", body="x"))["code"] == "forbidden"
                await text.send("x")
                assert "archived" in str(await within(SOON_S, text.recv()))
                assert await server.code("GET", "/rooms/ops/messages", admin.secret) == "ok"
                await server.call("PATCH", "/rooms/ops", admin, {"archived": False})
                assert (await talk.ask(op="publish", room="ops", body="x"))["type"] == "ack"

    run(test())


def test_readers_of_a_room_that_is_deleted_get_a_gap_and_go_on() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin, ann = await server.token("boss", ADMIN), await server.token("ann", WRITE_OPS)
            await server.hub.publish(Draft("ops", "bob", "secret plans"))
            await server.call("PATCH", "/rooms/ops", admin, {"topic": "old", "archived": True})
            async with (
                server.talk("/ws/ops", ann.secret) as talk,
                server.lines("/rooms/ops/events", ann.secret, "application/x-ndjson") as lines,
            ):
                await talk.until("message")
                assert (await server.call("DELETE", "/rooms/ops", admin)).status_code == 204
                assert (await talk.until("gap"))["reason"] == "epoch"
                assert (await talk.ask(op="publish", room="ops", body="new"))["seq"] == 1
                found = [json_of(await within(SOON_S, anext(lines))) for _ in range(4)]
                assert [each.get("body") or each.get("reason") for each in found[1:]] == [
                    "secret plans",
                    "epoch",
                    "new",
                ]
            page = (await server.call("GET", "/rooms/ops/messages", admin)).json()
            assert [message["body"] for message in page["messages"]] == ["new"]
            assert problem(await server.call("DELETE", "/rooms/never", admin)) == (404, "not-found")

    run(test())


# The audit


def test_administrators_read_and_follow_the_audit() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin, ann = await server.token("boss", ADMIN), await server.token("ann", grant("*", "moderate"))
            async with server.lines("/rooms/.audit/events?history=0", admin.secret, "text/event-stream") as lines:
                await anext(lines)
                await server.call("POST", "/bans", admin, {"subject": "eve", "room": "ops", "reason": "spam"})
                async for line in lines:
                    if line.startswith("data: ") and "ban-added" in line:
                        entry = json_of(line)
                        break
            assert entry["body"] == "banned the name eve in ops: spam"
            assert entry["data"].items() >= {"by": "boss", "from": "127.0.0.1", "target": "eve"}.items()
            assert await server.code("GET", "/rooms/.audit/messages", ann.secret) == "not-found"
            assert ".audit" not in (await server.call("GET", "/rooms", admin)).text

    run(test())


def test_operators_see_the_details_of_health() -> None:
    async def test() -> None:
        async with access_server(**SERVER) as server:
            admin, ann = await server.token("boss", ADMIN), await server.token("ann", grant("*", "moderate"))
            for secret, sees in ((admin, True), (SERVER["secret"], True), (ann, False), (None, False), ("x", False)):
                assert ("connections" in (await server.call("GET", "/health", secret)).json()) is sees

    run(test())

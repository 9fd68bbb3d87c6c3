"""`/hooks/TOKEN`: who may use it, the answers, repeated deliveries and signatures."""

import hashlib
import hmac
import json
import logging
from typing import Any

import pytest
from access_server import ROOT, AccessServer, access_server, grant, problem
from harness import run

from chatkit.core.administration import NewToken
from chatkit.core.model import Draft
from chatkit.core.token import TokenKind
from chatkit.errors import BadRequest

SIGNING_SECRET = "It's a Secret to Everybody"  # of GitHub's documentation, with the signature of "Hello, World!"
GITHUB_SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

FIELD = b"--a\r\nContent-Disposition: form-data; name=%s"
CHARSET = b"\r\nContent-Type: text/plain; charset=nonsense"


async def hook(server: AccessServer, room: str = "ops", **more: Any) -> NewToken:
    return await server.token("alerts", grant(room, "write"), kind=TokenKind.HOOK, **more)


async def stored(server: AccessServer, room: str = "ops") -> list[Any]:
    page = await server.hub.history(room)
    return list(page.messages)


def test_each_sender_gets_the_answer_that_it_expects() -> None:
    async def check() -> None:
        async with access_server() as server:
            path = f"/hooks/{(await hook(server)).secret}"
            for options in (
                {"json": {"text": "slack"}},
                {"data": {"payload": json.dumps({"text": "a form"})}},
                {"json": {"content": "discord"}, "suffix": "/slack"},
                {"json": {"text": "slack"}, "suffix": "/slack"},
                {"json": {"zen": "z"}, "headers": {"X-GitHub-Event": "ping"}},
                {"content": b"text"},
                {"json": {"n": 1}},
            ):
                suffix = options.pop("suffix", "")
                answer = await server.http.post(path + str(suffix), **options)
                if answer.status_code == 400:
                    assert "no_text" in answer.json()["detail"]
                    continue
                assert (answer.status_code, answer.text) == (200, "ok")
                assert answer.headers["content-type"].startswith("text/plain")
            answer = await server.http.put(path, json={"text": "Grafana may use PUT"})
            assert answer.text == "ok"
            answer = await server.http.post(path, json={"content": "discord"})
            assert (answer.status_code, answer.content) == (204, b"")
            body = {"content": "discord", "username": "Captain Hook"}
            answer = await server.http.post(f"{path}?wait=true", json=body)
            told = answer.json()
            assert answer.status_code == 200
            assert (told["content"], told["author"]["username"]) == ("discord", "Captain Hook")
            assert told["id"] == str((await stored(server))[-1].seq)
            files: Any = {"payload_json": (None, json.dumps(body)), "file": ("a.txt", b"not stored")}
            assert (await server.http.post(path, files=files)).status_code == 204
            message = (await stored(server))[-1]
            assert (message.sender, message.verified, message.bot, message.body) == ("alerts", True, True, "discord")
            assert message.data == {"hook": "discord", "username": "Captain Hook"}

    run(check())


def test_a_suffix_fixes_the_format() -> None:
    async def check() -> None:
        async with access_server() as server:
            path = f"/hooks/{(await hook(server)).secret}"
            assert (await server.http.post(f"{path}/json", json={"text": "a", "n": 1})).text == "ok"
            assert (await stored(server))[-1].data == {"text": "a", "n": 1}
            assert (await server.http.post(f"{path}/text", content=b'{"text": 1}')).text == "ok"
            assert problem(await server.http.post(f"{path}/teams", json={"text": "a"})) == (404, "not-found")
            assert problem(await server.http.get(path)) == (405, "method-not-allowed")

    run(check())


def test_only_the_valid_token_of_a_hook_is_accepted() -> None:
    async def check() -> None:
        async with access_server() as server:
            assert problem(await server.http.post("/hooks/x", json={"text": "a"})) == (401, "unauthorized"), "no token"
            made = await hook(server)
            person = await server.token("ann", grant("ops", "read", "write"))
            bot = await server.token("cron", grant("ops", "write"), kind=TokenKind.BOT)
            for secret in (person.secret, bot.secret, made.secret[:-1] + "x", "x" * 1_900, "%F0%9F"):
                answer = await server.http.post(f"/hooks/{secret}", json={"text": "a"})
                assert problem(answer) == (401, "unauthorized")
            path = f"/hooks/{made.secret}"
            assert (await server.http.post(path, json={"text": "a"})).text == "ok"
            origin = {"origin": "https://evil.example"}
            assert problem(await server.http.post(path, json={"text": "a"}, headers=origin)) == (403, "forbidden")
            await server.moderation.ban(ROOT, "alerts", room="ops")
            assert problem(await server.http.post(path, json={"text": "a"})) == (403, "banned")
            await server.hub.administration.revoke(ROOT, made.token.id)
            assert problem(await server.http.post(path, json={"text": "a"})) == (401, "unauthorized")
            assert len(await stored(server)) == 1

    run(check())


@pytest.mark.parametrize("more", [{}, {"signing_secret": SIGNING_SECRET}])
def test_the_token_of_a_hook_is_valid_in_its_address_only(more: dict[str, Any]) -> None:
    async def check() -> None:
        async with access_server(open_grants=(grant("*", "read", "write"),)) as server:
            made = await hook(server, **more)
            await server.hub.publish(Draft("ops", "alerts", "before", verified=True, bot=True))
            calls: list[tuple[str, str, Any]] = [
                ("POST", "/rooms/ops/messages", {"body": "not signed"}),
                ("PATCH", "/rooms/ops/messages/1", {"body": "changed"}),
                ("DELETE", "/rooms/ops/messages/1", None),
                ("GET", "/rooms/ops/messages", None),
                ("GET", "/me", None),
                ("POST", f"/tokens/{made.token.id}/rotate", {}),
                ("DELETE", f"/tokens/{made.token.id}", None),
                ("POST", "/mcp", {}),
            ]
            for method, path, body in calls:
                assert problem(await server.call(method, path, made, body)) == (401, "unauthorized"), path
            assert problem(await server.call("POST", "/session", None, {"token": made.secret})) == (401, "unauthorized")
            assert "set-cookie" not in (await server.http.get("/", params={"token": made.secret})).headers
            async with server.talk("/ws/ops", made.secret) as talk:
                await talk.socket.wait_closed()
                assert talk.socket.close_code == 4401
            assert [message.body for message in await stored(server)] == ["before"]

    run(check())


def test_the_servers_secret_is_no_hook() -> None:
    async def check() -> None:
        async with access_server(host="0.0.0.0", secret="open sesame") as server:
            assert problem(await server.http.post("/hooks/open%20sesame", json={"text": "a"})) == (401, "unauthorized")

    run(check())


def test_wrong_tokens_and_messages_are_limited() -> None:
    async def check() -> None:
        async with access_server(rate_limit=1) as server:
            path = f"/hooks/{(await hook(server)).secret}"
            codes = [(await server.http.post(path, json={"text": str(n)})).status_code for n in range(12)]
            assert 200 in codes
            limited = await server.http.post(path, content=b"{")  # before the payload is looked at
            assert problem(limited) == (429, "rate-limited")
            assert int(limited.headers["retry-after"]) >= 1
        async with access_server() as server:
            await hook(server)
            answers = [await server.http.post(f"/hooks/wrong{n}", json={}) for n in range(25)]
            assert [answer.status_code for answer in answers] == [401] * 20 + [429] * 5

    run(check())


@pytest.mark.parametrize(
    "headers",
    [
        {"X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958", "X-GitHub-Event": "ping"},
        {"X-Gitlab-Event-UUID": "13792a34-cac6-4fda-95a8-c58e00a3954e", "X-Gitlab-Event": "Push Hook"},
        {"Idempotency-Key": "f5e57ebe-07d9-4564-9c2e-a7c1d1a1a1a1"},
        {"webhook-id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"},
        {"X-GitHub-Delivery": "x" * 500, "X-GitHub-Event": "ping"},
    ],
)
def test_a_repeated_delivery_is_stored_once(headers: dict[str, str]) -> None:
    async def check() -> None:
        async with access_server() as server:
            path = f"/hooks/{(await hook(server)).secret}"
            for _ in range(2):
                assert (await server.http.post(path, json={"n": 1}, headers=headers)).text == "ok"
            assert len(await stored(server)) == 1

    run(check())


def test_an_id_with_other_content() -> None:
    async def check() -> None:
        async with access_server() as server:
            path = f"/hooks/{(await hook(server)).secret}"
            answers = [await server.http.post(path, json={"n": n}, headers={"Idempotency-Key": "k"}) for n in range(2)]
            assert answers[0].text == "ok"
            assert problem(answers[1]) == (409, "key-conflict")
            github = {"X-GitHub-Delivery": "d", "X-GitHub-Event": "x"}
            for n in range(2):
                sent: Any = {"sender": {"login": str(n)}}
                assert (await server.http.post(path, json=sent, headers=github)).text == "ok"
            gitlab = {"X-Gitlab-Event-UUID": "u", "X-Gitlab-Event": "x"}
            for n in range(2):  # GitLab gives the events that an event causes the same id
                sent = {"user_name": str(n)}
                assert (await server.http.post(path, json=sent, headers=gitlab)).text == "ok"
            assert len(await stored(server)) == 1 + 1 + 2
            assert problem(await server.http.post(path, json={}, headers={"Idempotency-Key": "x" * 200}))[0] == 400

    run(check())


def test_a_hook_with_a_signing_secret_accepts_signed_requests_only() -> None:
    async def check() -> None:
        async with access_server() as server:
            path = f"/hooks/{(await hook(server, signing_secret=SIGNING_SECRET)).secret}"
            sent = b"Hello, World!"
            digest = hmac.new(SIGNING_SECRET.encode(), sent, hashlib.sha256).hexdigest()
            cases: list[tuple[dict[str, Any], int]] = [
                ({"X-Hub-Signature-256": GITHUB_SIGNATURE}, 200),
                ({"X-Grafana-Alerting-Signature": digest}, 200),
                ({"X-Gitlab-Token": SIGNING_SECRET}, 200),
                ({}, 401),
                ({"X-Hub-Signature-256": digest}, 401),
                ({"X-Hub-Signature-256": GITHUB_SIGNATURE[:-1]}, 401),
                ({"X-Gitlab-Token": "Ü".encode("latin-1")}, 401),
                ({"X-Gitlab-Token": ""}, 401),
            ]
            for headers, status in cases:
                answer = await server.http.post(path, content=sent, headers=headers)
                assert answer.status_code == status, headers
            wrong = {"X-Hub-Signature-256": GITHUB_SIGNATURE}
            assert (await server.http.post(path, content=b"other", headers=wrong)).status_code == 401
            answers = [await server.http.post(path, content=b"x", headers=wrong) for _ in range(25)]
            assert 429 in [answer.status_code for answer in answers], "guesses are limited"
            right = await server.http.post(path, content=sent, headers={"X-Hub-Signature-256": GITHUB_SIGNATURE})
            assert right.status_code == 200, "but not who knows the secret"
            assert len(await stored(server)) == 4

    run(check())


def test_only_a_hook_has_a_signing_secret_which_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        async with access_server() as server:
            admin = await server.token("root", grant("*", "admin"))
            body = {"name": "alerts", "grants": [{"rooms": "ops", "rights": ["write"]}], "kind": "hook"}
            made = (await server.call("POST", "/tokens", admin, body | {"signing_secret": SIGNING_SECRET})).json()
            assert made["url"] == f"{server.url}/hooks/{made['secret']}"
            assert made["signed"] is True
            listed = await server.call("GET", "/tokens", admin)
            audit = await server.call("GET", "/rooms/.audit/messages", admin)
            for text in (json.dumps(made), listed.text, audit.text, repr(server.hub.access.token(made["id"]))):
                assert SIGNING_SECRET not in text
            for wrong in (
                body | {"kind": "bot", "signing_secret": "x"},
                body | {"signing_secret": ""},
                body | {"signing_secret": "a\nb"},
                body | {"grants": [{"rooms": "ops*", "rights": ["write"]}]},
                body | {"grants": [{"rooms": "ops", "rights": ["read", "write"]}]},
                body | {"grants": []},
            ):
                assert problem(await server.call("POST", "/tokens", admin, wrong)) == (400, "bad-request")
            with pytest.raises(BadRequest):
                await server.token("x", grant("a", "write"), grant("b", "write"), kind=TokenKind.HOOK)

    run(check())


def test_the_secret_in_the_url_is_in_no_log_line(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        async with access_server(log_level="info") as server:
            secret = (await hook(server)).secret
            for path in (
                f"/hooks/{secret}",
                f"/hooks/{secret}/slack?wait=true",
                f"/hooks/{secret[:-1]}",
                f"/%68ooks/{secret}",
                f"/hooks/{secret.replace('_', '%5F')}",
                f"/hooks/{secret}/a/b/c",
            ):
                await server.http.post(path, json={"text": "hello"})
            lines = [record.getMessage() for record in caplog.records if record.name.startswith("chatkit")]
            assert len(lines) >= 6
            assert not [line for line in lines if secret[-20:-1] in line]

    with caplog.at_level(logging.INFO):
        run(check())


def test_a_form_that_cannot_be_read_is_refused() -> None:
    end = b"\r\n--a--"
    cases = [
        (b"multipart/form-data", b"x"),
        (b"multipart/form-data; boundary=a", b""),
        (b"multipart/form-data; boundary=a", b"--a\r\n\r\nx"),
        (b"multipart/form-data; boundary=\xff", b"--a--"),
        (b"multipart/form-data; boundary=a", FIELD % b"payload_json" + b"\r\n\r\n\xff" + end),
        (b"multipart/form-data; boundary=a", FIELD % b"payload_json" + CHARSET + b"\r\n\r\n{}" + end),
        (b"multipart/form-data; boundary=a", FIELD % b"other" + b"\r\n\r\n{}" + end),
        (b"multipart/form-data; boundary=a", (FIELD % b"payload_json" + b'\r\n\r\n{"content":"hi"}\r\n') * 40 + end),
    ]

    async def check() -> None:
        async with access_server() as server:
            path = f"/hooks/{(await hook(server)).secret}"
            for content_type, sent in cases:
                answer = await server.http.post(path, content=sent, headers={b"content-type": content_type})
                assert problem(answer) == (400, "bad-request")

    run(check())


def test_a_payload_that_is_too_large_is_refused() -> None:
    async def check() -> None:
        async with access_server() as server:
            path = f"/hooks/{(await hook(server)).secret}"
            answer = await server.http.post(path, content=b"x" * (1 << 20 | 1))
            assert problem(answer) == (413, "body-too-large")
            assert answer.json()["limit"] == 1 << 20
            assert (await server.http.post(path, content=b"x" * (1 << 20))).text == "ok"
            assert problem(await server.http.post(path, json={"a": [0] * 60_000})) == (400, "bad-request")

    run(check())

"""No secret of any kind is in a log, the audit, the store, a list or an error, wherever a client puts it."""

import logging
from contextlib import suppress
from typing import Any

import pytest
from access_server import ROOT, AccessServer, access_server, grant
from raw_client import run
from websockets.exceptions import ConnectionClosedError

from chatkit.core import access_records
from chatkit.core.model import Draft
from chatkit.core.token import TokenKind
from chatkit.server.log_config import JsonFormatter, LineFormatter, log_config
from chatkit.server.settings import Settings

SECRET = "not-used-here"
SERVER: dict[str, Any] = {"host": "localhost", "secret": SECRET}
ADMIN = grant("*", "admin")
OF_CLIENT = ("httpx", "httpcore", "asyncio")  # loggers
SIGNING_SECRET = "a signing secret of another service"
HOOK_GRANTS = [{"rooms": "ops", "rights": ["write"]}]
GRANTS = [{"rooms": "ops", "rights": ["read"]}]


def is_of_token(secret: str) -> bool:
    return secret.startswith("ck_")


class Secrets:
    """The secrets that were made, and every text in which one of them must not be."""

    def __init__(self) -> None:
        self.values: list[str] = [SECRET]
        self.texts: list[str] = []

    def add(self, value: str) -> str:
        self.values.append(value)
        return value

    def chosen(self) -> list[str]:
        """Return one secret of each kind of token, of those that `make` adds."""
        made = list(filter(is_of_token, self.values))
        return [made[0], made[1], made[5], made[7], made[8]]

    def check(self) -> None:
        parts = [value.split("_", 2)[2] if is_of_token(value) else value for value in self.values]
        for text in self.texts:
            assert not [part for part in parts if part in text], text


async def make(server: AccessServer, secrets: Secrets) -> None:
    """Make secrets of every kind, in every way."""
    admin = secrets.add((await server.token("boss", ADMIN)).secret)
    for kind in (TokenKind.PERSON, TokenKind.BOT, TokenKind.HOOK):
        body = {"name": f"a-{kind}", "grants": HOOK_GRANTS if kind is TokenKind.HOOK else GRANTS, "kind": kind}
        if kind is TokenKind.HOOK:
            body["signing_secret"] = secrets.add(SIGNING_SECRET)
        made = (await server.call("POST", "/tokens", admin, body)).json()
        secrets.add(made["secret"])
        path = f"/tokens/{made['id']}/rotate"
        secrets.add((await server.call("POST", path, admin, {"overlap_s": 600})).json()["secret"])
    body = {"url": "https://hook.invalid/", "rooms": ["ops"], "events": ["mention"], "mention": "nobody"}
    secrets.add((await server.call("POST", "/webhooks", admin, body)).json()["secret"])
    invite = (await server.call("POST", "/invites", admin, {"grants": GRANTS, "uses": 9})).json()
    secrets.add(invite["secret"])
    for number in range(2):
        body = {"secret": invite["secret"], "name": f"guest{number}"}
        redeemed = await server.call("POST", "/invites/redeem", None, body)
        secrets.add(redeemed.json()["secret"])
        secrets.add(cookie_of(redeemed.headers["set-cookie"]))
    for token in (admin, SECRET):
        signed_in = await server.call("POST", "/session", None, {"token": token})
        secrets.texts.append(signed_in.text)
        secrets.add(cookie_of(signed_in.headers["set-cookie"]))


def cookie_of(header: str) -> str:
    """Return the value of a cookie, which lets in as well as the secret does."""
    return header.partition(";")[0].partition("=")[2].rpartition(".")[2]


async def misplace(server: AccessServer, secret: str, secrets: Secrets) -> None:
    """Put a secret where it does not belong, with and without the right to do what is asked."""
    admin = secrets.values[1]
    calls: list[tuple[str, str, Any]] = [
        ("GET", f"/rooms/{secret}", None),
        ("GET", f"/{secret}", None),
        ("GET", f"/me?token={secret}", None),
        ("GET", f"/rooms/ops/messages?limit={secret}&after={secret}", None),
        ("DELETE", f"/rooms/{secret}", None),
        ("DELETE", f"/tokens/{secret}", None),
        ("POST", f"/tokens/{secret}/rotate", None),
        ("DELETE", f"/bans/{secret}", None),
        ("POST", "/tokens", {"name": secret, "grants": GRANTS}),
        ("POST", "/tokens", {"name": "zoe", "grants": GRANTS, "kind": secret}),
        ("POST", "/tokens", {"name": "zoe", "grants": GRANTS, secret: 1}),
        ("POST", "/tokens", {"name": "zoe", "grants": GRANTS, "expires": secret}),
        ("POST", f"/hooks/{secret}", {"text": "x"}),
        ("POST", f"/hooks/{secret}/{secret}", {"text": "x"}),
        ("POST", "/bans", {"subject": secret}),
        ("POST", "/bans", {"subject": secret, "kind": "token"}),
        ("POST", "/session", {"token": secret, "name": secret}),
        ("POST", "/invites/redeem", {"secret": secret, "name": secret}),
        ("GET", f"/rooms?prefix={secret}&after={secret}&limit={secret}", None),
        ("GET", f"/mentions?before={secret}", None),
        ("GET", f"/search?q={secret}&before={secret}", None),
        ("PUT", f"/rooms/ops/consumers/{secret}!", {"after": secret}),
        ("POST", f"/rooms/ops/consumers/{secret}/ack", {"lease": secret}),
        ("POST", "/webhooks", {"url": secret, "rooms": [secret]}),
        ("DELETE", f"/webhooks/{secret}", None),
        ("POST", "/mcp", _tool("read_messages", room=f"{secret}!", after=secret)),
        ("POST", "/mcp", _tool("post_message", room=f".{secret}", text="x", key=secret)),
        ("POST", "/mcp", _tool(secret, room="ops")),
    ]
    for method, path, body in calls:
        for by in (None, secret, admin):
            answer = await server.call(method, path, by, body)
            if path == f"/rooms/{secret}" and answer.is_success:
                continue  # it is a valid name of a room, and this is a room's description
            secrets.texts.append(answer.text)


def _tool(name: str, **arguments: str) -> Any:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}


async def misplace_in_sockets(server: AccessServer, secret: str, secrets: Secrets) -> None:
    """Put a secret where it does not belong in commands, and in the addresses of WebSockets."""
    commands: list[dict[str, Any]] = [
        {"op": "join", "room": f"{secret}!"},
        {"op": "join", "room": "ops", "after": secret},
        {"op": "publish", "room": f".{secret}", "body": "x"},
        {"op": "history", "room": "ops", "before": secret},
        {"op": "mark", "room": secret, "seq": 1},
        {"op": secret},
    ]
    async with server.talk("/ws", secrets.values[1]) as talk:
        secrets.texts += [str(await talk.ask(**command)) for command in commands]
    for path in (f"/ws/{secret}", f"/ws/ops?token={secret}x", f"/ws/ops?name={secret}", f"/ws/ops?after={secret}"):
        for opened in (server.talk(path, None), server.text(path, None)):
            async with opened as client:
                socket = getattr(client, "socket", client)
                with suppress(ConnectionClosedError):
                    secrets.texts += [str(line) async for line in socket]
                secrets.texts.append(socket.close_reason)


async def collect(server: AccessServer, secrets: Secrets) -> None:
    """Read everything that an administrator or an export can read."""
    admin = secrets.values[1]
    for path in (
        "/tokens",
        "/bans",
        "/rooms",
        "/me",
        "/health",
        "/metrics",
        "/webhooks",
        "/consumers",
        "/unread",
        "/mentions",
        "/search?q=ck_",
        "/schema/asyncapi.json",
        "/schema/openapi.json",
        "/rooms/.audit/messages?limit=1000",
    ):
        answer = await server.call("GET", path, admin)
        assert answer.is_success, answer.text
        secrets.texts.append(answer.text)
    for kind in (access_records.TOKEN, access_records.NAME, access_records.BAN, access_records.ROOM):
        records = [str(record) for record in await server.hub.records.scan_records(kind)]
        secrets.texts += [record.replace(SIGNING_SECRET, "") for record in records]  # signatures are computed with it
    secrets.texts += [repr(token) for token in await server.hub.administration.tokens(ROOT)]


def test_no_secret_is_anywhere_but_in_the_answer_that_made_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = Secrets()

    async def test() -> None:
        async with access_server(**SERVER) as server:
            await make(server, secrets)
            await server.hub.publish(Draft("ops", "bob", "hello"))
            for secret in secrets.chosen():
                await misplace(server, secret, secrets)
                await misplace_in_sockets(server, secret, secrets)
            await collect(server, secrets)

    run(test())
    config = log_config(Settings(**SERVER))["formatters"]["line"]
    for form in (
        LineFormatter(config["format_"], config["secrets"]),
        JsonFormatter(with_pid=False, secrets=config["secrets"]),
    ):
        secrets.texts += [form.format(record) for record in caplog.records if not record.name.startswith(OF_CLIENT)]
    assert len(secrets.values) > 10
    secrets.check()

"""Every operation with every set of rights on every kind of room: what is allowed, and how the rest is refused."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias

import pytest
from access_server import AccessServer, access_server, grant
from raw_client import run
from websockets.exceptions import ConnectionClosed

from chatkit.core.access import Grant, Right
from chatkit.core.model import Draft
from chatkit.wire.codes import PrivateCloseCode

OWN, OTHER, SYSTEM = "ops", "dev", ".audit"

RIGHTS: dict[str, tuple[Grant, ...]] = {
    "nothing": (),
    "read": (grant("ops", "read"),),
    "write": (grant("ops", "write"),),
    "read and write": (grant("op*", "read", "write"),),
    "moderate": (grant("ops", "moderate"),),
    "admin of the room": (grant("ops", "admin"),),
    "everything but system rooms": (grant("*", "moderate"),),
    "admin": (grant("*", "admin"),),
    "a pattern with a wildcard of SQL": (grant("_ps", "admin"), grant("op_*", "admin")),
}

CLOSED = {
    PrivateCloseCode.NOT_FOUND: "not-found",
    PrivateCloseCode.FORBIDDEN: "forbidden",
    PrivateCloseCode.UNAUTHORIZED: "unauthorized",
}


Use: TypeAlias = Callable[[AccessServer, str | None, str], Awaitable[str]]


class Operation(NamedTuple):
    """One way to use a right on a room. `use` returns "ok" or the code of the error."""

    right: Right
    use: Use


def http(method: str, path: str, **options: Any) -> Use:
    async def use(server: AccessServer, secret: str | None, room: str) -> str:
        return await server.code(method, path.format(room=room), secret, **options)

    return use


def stream(accept: str) -> Use:
    async def use(server: AccessServer, secret: str | None, room: str) -> str:
        headers = {"accept": accept} | ({"authorization": f"Bearer {secret}"} if secret else {})
        async with server.http.stream("GET", f"/rooms/{room}/events", headers=headers) as answer:
            if answer.is_success:
                await anext(answer.aiter_lines())
                return "ok"
            await answer.aread()
            return str(answer.json()["code"])

    return use


async def join_by_path(server: AccessServer, secret: str | None, room: str) -> str:
    async with server.talk(f"/ws/{room}", secret) as talk:
        try:
            while (event := await talk.receive())["type"] == "welcome":
                pass
        except ConnectionClosed as closed:
            return CLOSED[PrivateCloseCode(closed.code)]
        return "ok" if event["type"] == "joined" else str(event["code"])


async def join_by_text(server: AccessServer, secret: str | None, room: str) -> str:
    async with server.text(f"/ws/{room}?history=1&format=json", secret) as socket:
        try:
            line = await socket.recv()
        except ConnectionClosed as closed:
            return CLOSED[PrivateCloseCode(closed.code)]
        if not line.startswith("!"):
            return "ok"
        await socket.wait_closed()
        return CLOSED[PrivateCloseCode(socket.close_code or 0)]


def command(op: str, **fields: Any) -> Use:
    async def use(server: AccessServer, secret: str | None, room: str) -> str:
        async with server.talk("/ws", secret) as talk:
            return outcome(await talk.ask(op=op, room=room, **fields))

    return use


def tool(name: str, **arguments: Any) -> Use:
    """Call a tool of MCP."""

    async def use(server: AccessServer, secret: str | None, room: str) -> str:
        call = {"name": name, "arguments": {"room": room} | arguments}
        headers = {"accept": "application/json"} | ({"authorization": f"Bearer {secret}"} if secret else {})
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        answer = (await server.http.post("/mcp", json=body, headers=headers)).json()
        result = answer.get("result", {"_meta": {"chatkit/code": answer.get("code")}})
        return str(result["_meta"]["chatkit/code"]) if "_meta" in result else "ok"

    return use


async def typing(server: AccessServer, secret: str | None, room: str) -> str:
    """Send a signal, which has no answer unless it is refused, and then a command that has one."""
    async with server.talk("/ws", secret) as talk:
        await talk.send(op="typing", room=room, ref="typing")
        await talk.send(op="ping", ref="ping")
        event = await talk.receive()
        while event["type"] == "welcome":
            event = await talk.receive()
        return outcome(event)


def outcome(event: dict[str, Any]) -> str:
    return str(event["code"]) if event["type"] == "error" else "ok"


async def publish_as_text(server: AccessServer, secret: str | None, room: str) -> str:
    """Publish in the plain-text protocol, which only a reader of the room can do."""
    joined = await join_by_text(server, secret, room)
    if joined != "ok":
        return joined
    async with server.text(f"/ws/{room}?history=0", secret) as socket:
        await socket.send("by text")
        answer = await socket.recv()
        return "ok" if answer == "by text" else "forbidden" if answer.startswith("! ") else answer


JSON = {"content-type": "application/json"}
OPERATIONS = {
    "GET room": Operation(Right.READ, http("GET", "/rooms/{room}")),
    "GET messages": Operation(Right.READ, http("GET", "/rooms/{room}/messages")),
    "GET messages by search": Operation(Right.READ, http("GET", "/rooms/{room}/messages?search=hello")),
    "GET messages as lines": Operation(
        Right.READ, http("GET", "/rooms/{room}/messages", headers={"accept": "application/x-ndjson"})
    ),
    "GET members": Operation(Right.READ, http("GET", "/rooms/{room}/members")),
    "server-sent events": Operation(Right.READ, stream("text/event-stream")),
    "JSON lines": Operation(Right.READ, stream("application/x-ndjson")),
    "WebSocket path": Operation(Right.READ, join_by_path),
    "WebSocket text": Operation(Right.READ, join_by_text),
    "join": Operation(Right.READ, command("join")),
    "history": Operation(Right.READ, command("history")),
    "history by search": Operation(Right.READ, command("history", search="hello")),
    "members": Operation(Right.READ, command("members")),
    "POST text": Operation(Right.WRITE, http("POST", "/rooms/{room}/messages", content="x")),
    "POST JSON": Operation(Right.WRITE, http("POST", "/rooms/{room}/messages", content='{"body":"x"}', headers=JSON)),
    "publish": Operation(Right.WRITE, command("publish", body="x")),
    "typing": Operation(Right.WRITE, typing),
    "publish as text": Operation(Right.WRITE, publish_as_text),
    "GET message": Operation(Right.READ, http("GET", "/rooms/{room}/messages/1")),
    "GET marker": Operation(Right.READ, http("GET", "/rooms/{room}/marker")),
    "PUT marker": Operation(Right.READ, http("PUT", "/rooms/{room}/marker", content='{"seq":1}', headers=JSON)),
    "mark": Operation(Right.READ, command("mark", seq=1)),
    "history as written": Operation(Right.READ, command("history", raw=True)),
    "POST reply": Operation(
        Right.WRITE, http("POST", "/rooms/{room}/messages", content='{"body":"x","of":1}', headers=JSON)
    ),
    "PUT reaction": Operation(Right.WRITE, http("PUT", "/rooms/{room}/messages/1/reactions/:ok:")),
    "DELETE reaction": Operation(Right.WRITE, http("DELETE", "/rooms/{room}/messages/1/reactions/:no:")),
    "react": Operation(Right.WRITE, command("publish", body=":ok:", of=1, act="react")),
    "GET consumers": Operation(Right.READ, http("GET", "/rooms/{room}/consumers")),
    "PUT consumer": Operation(Right.READ, http("PUT", "/rooms/{room}/consumers/c", content="{}", headers=JSON)),
    "MCP read": Operation(Right.READ, tool("read_messages")),
    "MCP wait": Operation(Right.READ, tool("wait_for_messages", after=0)),
    "MCP search": Operation(Right.READ, tool("search_messages", text="hello")),
    "MCP mark": Operation(Right.READ, tool("mark_read", seq=1)),
    "MCP post": Operation(Right.WRITE, tool("post_message", text="x")),
    "MCP reply": Operation(Right.WRITE, tool("reply", seq=1, text="x")),
    "MCP react": Operation(Right.WRITE, tool("react", seq=1, emoji=":ok:")),
    "DELETE message": Operation(Right.MODERATE, http("DELETE", "/rooms/{room}/messages/1")),
}
NEEDS_READ_TOO = {"publish as text", "DELETE message"}
# These have no valid name of such a room.
INVALID_IN_SYSTEM_ROOMS = {
    "POST text", "POST JSON", "publish", "POST reply", "PUT reaction", "DELETE reaction", "react",
    "MCP post", "MCP reply", "MCP react",
}  # fmt: skip
NEEDS_TOKEN_OR_MODERATOR = {"PUT consumer"}
NEEDS_TOKEN = {"GET marker", "PUT marker", "mark", "MCP mark"}  # what was read is kept for names that a token holds


def expected(operation: str, grants: tuple[Grant, ...], room: str) -> str:
    """Return what a operation answers: the rules of the documentation, written down once more."""
    is_admin = grants == RIGHTS["admin"]
    right = OPERATIONS[operation].right
    if room == SYSTEM:
        if operation in INVALID_IN_SYSTEM_ROOMS:
            return "bad-room"
        return "not-found" if not is_admin else "ok" if right is Right.READ else "forbidden"
    name = next(name for name, given in RIGHTS.items() if given == grants)
    rights = {
        "read": {Right.READ},
        "write": {Right.WRITE},
        "read and write": {Right.READ, Right.WRITE},
        "moderate": {Right.READ, Right.WRITE, Right.MODERATE},
        "admin of the room": set(Right),
    }.get(name, set())
    if name in {"admin", "everything but system rooms"}:
        rights = {Right.READ, Right.WRITE, Right.MODERATE}
    elif room == OTHER:
        rights = set()
    if right in rights and (Right.READ in rights or operation not in NEEDS_READ_TOO):
        return "ok"
    return "forbidden" if Right.READ in rights else "not-found"


@pytest.mark.parametrize("name", RIGHTS)
def test_each_operation_allows_what_the_rights_of_a_token_allow_and_nothing_else(name: str) -> None:
    async def test() -> None:
        async with access_server(host="localhost", secret="not-used-here") as server:
            await check_all(server, (await server.token("ann", *RIGHTS[name])).secret, RIGHTS[name])

    run(test())


@pytest.mark.parametrize("name", ["read", "read and write", "everything but system rooms"])
def test_guests_have_the_rights_of_the_option_and_no_others(name: str) -> None:
    async def test() -> None:
        async with access_server(open_grants=RIGHTS[name]) as server:
            await check_all(server, None, RIGHTS[name])

    run(test())


def test_without_a_token_everything_is_refused_where_guests_have_no_rights() -> None:
    async def test() -> None:
        async with access_server(host="localhost", secret="not-used-here") as server:
            await server.hub.publish(Draft(OWN, "bob", "hello"))
            for room in (OWN, OTHER, SYSTEM):
                for name in ("GET room", "GET messages", "GET members", "POST text", "DELETE message", "JSON lines"):
                    assert await OPERATIONS[name].use(server, None, room) == "unauthorized", (name, room)
                for opened in (server.text(f"/ws/{room}", None), server.talk(f"/ws/{room}", None)):
                    async with opened as client:
                        socket = getattr(client, "socket", client)
                        await socket.wait_closed()
                        assert socket.close_code == PrivateCloseCode.UNAUTHORIZED
            assert await server.code("GET", "/rooms") == "unauthorized"

    run(test())


async def check_all(server: AccessServer, secret: str | None, grants: tuple[Grant, ...]) -> None:
    for room in (OWN, OTHER):
        await server.hub.publish(Draft(room, "bob", "hello"))
    wrong = []
    for name, operation in OPERATIONS.items():
        for room in (OWN, OTHER, SYSTEM):
            found, right = await operation.use(server, secret, room), expected(name, grants, room)
            needs_token = name in NEEDS_TOKEN or (
                name in NEEDS_TOKEN_OR_MODERATOR and expected("DELETE message", grants, room) != "ok"
            )
            if secret is None and needs_token and right == "ok":
                right = "forbidden"
            if found != right:
                wrong.append(f"{name} of {room}: {found} in place of {right}")
    assert not wrong, wrong

"""Every way to use a right on a room, through each interface of a server: for tests of what is allowed and refused."""

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

from access_server import AccessServer
from websockets.exceptions import ConnectionClosed

from chatkit.core.access import Right
from chatkit.wire.codes import PrivateCloseCode

CLOSED = {
    PrivateCloseCode.NOT_FOUND: "not-found",
    PrivateCloseCode.FORBIDDEN: "forbidden",
    PrivateCloseCode.UNAUTHORIZED: "unauthorized",
}
JSON = {"content-type": "application/json"}
ROUTED = {"x-not-plain": "1"}  # a header with which a request does not take the short path

Use: TypeAlias = Callable[[AccessServer, str | None, str], Awaitable[str]]
"""Use a right on a room with the secret of a token, or without one. Return "ok" or the code of the error."""


class Operation(NamedTuple):
    """One way to use a right on a room."""

    right: Right
    use: Use


def http(method: str, path: str, **options: Any) -> Use:
    """Make a call; `{room}` in its path and its content is the room."""

    async def use(server: AccessServer, secret: str | None, room: str) -> str:
        given = dict(options)
        if "content" in given:
            given["content"] = given["content"].replace("{room}", room)
        return await server.code(method, path.replace("{room}", room), secret, **given)

    return use


def stream(accept: str) -> Use:
    async def use(server: AccessServer, secret: str | None, room: str) -> str:
        headers = {"accept": accept} | ({"authorization": f"Bearer {secret}"} if secret else {})
        async with server.http.stream("GET", server.path(f"/rooms/{room}/events"), headers=headers) as answer:
            if answer.is_success:
                await anext(answer.aiter_lines())
                return "ok"
            await answer.aread()
            return server.note(answer.text, str(answer.json()["code"]))

    return use


def join_by_path(escape: Callable[[str], str] = str) -> Use:
    async def use(server: AccessServer, secret: str | None, room: str) -> str:
        async with server.talk(f"/ws/{escape(room)}", secret) as talk:
            try:
                while (event := await talk.receive())["type"] == "welcome":
                    pass
            except ConnectionClosed:
                return closed_code(server, talk.socket)
            return outcome(server, event)

    return use


def join_by_text(escape: Callable[[str], str] = str) -> Use:
    async def use(server: AccessServer, secret: str | None, room: str) -> str:
        async with server.text(f"/ws/{escape(room)}?history=1&format=json", secret) as socket:
            try:
                if not (await socket.recv()).startswith("! "):
                    return "ok"
                await socket.recv()
            except ConnectionClosed:
                return closed_code(server, socket)
            raise AssertionError("it is refused, and stays open")

    return use


def closed_code(server: AccessServer, socket: Any) -> str:
    """Return the code of the error with which the server closed a socket."""
    reason = socket.close_reason or ""
    return server.note(f"{socket.close_code} {reason}", code_of(reason, socket.close_code))


def code_of(sentence: str, close_code: int) -> str:
    """Return the code of an error by its sentence, where several have one close code."""
    if sentence.startswith("banned"):
        return "banned"
    return "name-taken" if "belongs to somebody else" in sentence else CLOSED[PrivateCloseCode(close_code)]


def escaped(room: str) -> str:
    """Return a room as it can be written in a path, and no client writes it."""
    return f"%{ord(room[0]):02x}{room[1:]}"


def command(op: str, **fields: Any) -> Use:
    async def use(server: AccessServer, secret: str | None, room: str) -> str:
        async with server.talk("/ws", secret) as talk:
            return await ask(server, talk, op=op, room=room, **fields)

    return use


async def ask(server: AccessServer, talk: Any, **fields: Any) -> str:
    """Send a command, and return its outcome, or why the server closed the connection."""
    try:
        await talk.send(**fields, ref="asked")
        event = await talk.receive()
        while event["type"] != "error" and event.get("ref") != "asked":
            event = await talk.receive()
    except ConnectionClosed:
        return closed_code(server, talk.socket)
    return outcome(server, event)


def tool(name: str, **arguments: Any) -> Use:
    """Call a tool of MCP."""

    async def use(server: AccessServer, secret: str | None, room: str) -> str:
        return await call_tool(server, secret, name, {"room": room} | arguments)

    return use


async def call_tool(server: AccessServer, secret: str | None, name: str, arguments: dict[str, Any]) -> str:
    headers = {"accept": "application/json"} | ({"authorization": f"Bearer {secret}"} if secret else {})
    call = {"name": name, "arguments": arguments}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    answer = (await server.http.post(server.path("/mcp"), json=body, headers=headers)).json()
    result = answer.get("result", {"_meta": {"chatkit/code": answer.get("code")}})
    code = str(result["_meta"]["chatkit/code"]) if "_meta" in result else "ok"
    return server.note(json.dumps(answer), code)


async def typing(server: AccessServer, secret: str | None, room: str) -> str:
    """Send a signal, which has no answer unless it is refused, and then a command that has one."""
    async with server.talk("/ws", secret) as talk:
        with suppress(ConnectionClosed):  # the next command finds out why
            await talk.send(op="typing", room=room)
        return await ask(server, talk, op="ping")


def outcome(server: AccessServer, event: dict[str, Any]) -> str:
    return server.note(json.dumps(event), str(event["code"]) if event["type"] == "error" else "ok")


async def publish_as_text(server: AccessServer, secret: str | None, room: str) -> str:
    """Publish in the plain-text protocol, which only a reader of the room can do."""
    joined = await join_by_text()(server, secret, room)
    if joined != "ok":
        return joined
    async with server.text(f"/ws/{room}?history=0", secret) as socket:
        await socket.send("by text")
        answer = await socket.recv()
        return "ok" if answer == "by text" else code_of(answer.removeprefix("! "), PrivateCloseCode.FORBIDDEN)


def settle(op: str, **fields: Any) -> Use:
    """Settle a lease that does not exist, which the server says to those who may use the consumer."""
    content = json.dumps({"lease": "x", **fields})

    async def use(server: AccessServer, secret: str | None, room: str) -> str:
        code = await http("POST", f"{CONSUMER}/{op}", content=content, headers=JSON)(server, secret, room)
        return "ok" if code == "lease-expired" else code

    return use


CONSUMER = "/rooms/{room}/consumers/own"  # one that the token's name has made
WEBHOOK = '{"url":"https://hook.invalid/","rooms":["{room}"],"events":["mention"],"mention":"nobody"}'  # sends nothing
OPERATIONS = {
    "GET room": Operation(Right.READ, http("GET", "/rooms/{room}")),
    "GET messages": Operation(Right.READ, http("GET", "/rooms/{room}/messages")),
    "GET messages by the routes": Operation(Right.READ, http("GET", "/rooms/{room}/messages", headers=ROUTED)),
    "GET messages by search": Operation(Right.READ, http("GET", "/rooms/{room}/messages?search=hello")),
    "GET messages as lines": Operation(
        Right.READ, http("GET", "/rooms/{room}/messages", headers={"accept": "application/x-ndjson"})
    ),
    "GET members": Operation(Right.READ, http("GET", "/rooms/{room}/members")),
    "server-sent events": Operation(Right.READ, stream("text/event-stream")),
    "JSON lines": Operation(Right.READ, stream("application/x-ndjson")),
    "WebSocket path": Operation(Right.READ, join_by_path()),
    "WebSocket path by the routes": Operation(Right.READ, join_by_path(escaped)),
    "WebSocket text": Operation(Right.READ, join_by_text()),
    "WebSocket text by the routes": Operation(Right.READ, join_by_text(escaped)),
    "join": Operation(Right.READ, command("join")),
    "history": Operation(Right.READ, command("history")),
    "history by search": Operation(Right.READ, command("history", search="hello")),
    "members": Operation(Right.READ, command("members")),
    "POST text": Operation(Right.WRITE, http("POST", "/rooms/{room}/messages", content="x")),
    "POST text by the routes": Operation(
        Right.WRITE, http("POST", "/rooms/{room}/messages", content="x", headers=ROUTED)
    ),
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
    "PATCH message": Operation(
        Right.WRITE, http("PATCH", "/rooms/{room}/messages/2", content='{"body":"y"}', headers=JSON)
    ),
    "edit": Operation(Right.WRITE, command("publish", body="z", of=2, act="edit")),
    "PUT reaction": Operation(Right.WRITE, http("PUT", "/rooms/{room}/messages/1/reactions/:ok:")),
    "DELETE reaction": Operation(Right.WRITE, http("DELETE", "/rooms/{room}/messages/1/reactions/:no:")),
    "react": Operation(Right.WRITE, command("publish", body=":ok:", of=1, act="react")),
    "GET consumers": Operation(Right.READ, http("GET", "/rooms/{room}/consumers")),
    "GET consumer": Operation(Right.READ, http("GET", CONSUMER)),
    "PUT consumer": Operation(Right.READ, http("PUT", "/rooms/{room}/consumers/c", content="{}", headers=JSON)),
    "take": Operation(Right.READ, http("POST", f"{CONSUMER}/take")),
    "take with a wait": Operation(Right.READ, http("POST", f"{CONSUMER}/take?wait_s=0.01")),
    "ack": Operation(Right.READ, settle("ack")),
    "retry": Operation(Right.READ, settle("retry")),
    "release": Operation(Right.READ, settle("release")),
    "extend": Operation(Right.READ, settle("extend", lease_s=1)),
    "DELETE consumer": Operation(Right.READ, http("DELETE", "/rooms/{room}/consumers/old")),
    "MCP read": Operation(Right.READ, tool("read_messages")),
    "MCP wait": Operation(Right.READ, tool("wait_for_messages", after=0)),
    "MCP search": Operation(Right.READ, tool("search_messages", text="hello")),
    "MCP mark": Operation(Right.READ, tool("mark_read", seq=1)),
    "MCP post": Operation(Right.WRITE, tool("post_message", text="x")),
    "MCP reply": Operation(Right.WRITE, tool("reply", seq=1, text="x")),
    "MCP react": Operation(Right.WRITE, tool("react", seq=1, emoji=":ok:")),
    "PATCH room": Operation(Right.MODERATE, http("PATCH", "/rooms/{room}", content='{"topic":"x"}', headers=JSON)),
    "kick": Operation(Right.MODERATE, http("POST", "/rooms/{room}/kick", content='{"name":"eve"}', headers=JSON)),
    "ban": Operation(Right.MODERATE, http("POST", "/bans", content='{"subject":"eve","room":"{room}"}', headers=JSON)),
    "POST webhook": Operation(
        Right.MODERATE,
        http("POST", "/webhooks", content=WEBHOOK, headers=JSON),
    ),
    "DELETE message": Operation(Right.MODERATE, http("DELETE", "/rooms/{room}/messages/1")),
    "redact": Operation(Right.MODERATE, command("publish", of=1, act="redact")),
}


# Lists of several rooms


class List(NamedTuple):
    """A list of rooms, or of what is in them. `right` is what a client needs in a room to see it there."""

    right: Right
    rooms: Callable[[AccessServer, str], Awaitable[set[str]]]
    among: tuple[str, ...] = ("ops", "dev")  # nobody sees a system room there


def listed(path: str, part: str) -> Callable[[AccessServer, str], Awaitable[set[str]]]:
    """Read the rooms of a list whose entries are the `part` of the answer."""

    async def read(server: AccessServer, secret: str) -> set[str]:
        answer = await server.call("GET", path, secret)
        assert answer.is_success, answer.text
        return {each["room"] for each in answer.json()[part]}

    return read


async def paged(server: AccessServer, secret: str) -> set[str]:
    """Read the list of rooms, one room a page."""
    found: list[str] = []
    while True:
        answer = (await server.call("GET", f"/rooms?limit=1&after={found[-1] if found else ''}", secret)).json()
        found += [room["room"] for room in answer["rooms"]]
        if answer.get("complete", True):
            return set(found)


async def by_prefix(server: AccessServer, secret: str) -> set[str]:
    found = [await listed(f"/rooms?prefix={prefix}", "rooms")(server, secret) for prefix in ("o", "dev", ".")]
    return set().union(*found)


async def unread(server: AccessServer, secret: str) -> set[str]:
    async with server.talk("/ws", secret) as talk:
        return {each["room"] for each in (await talk.ask(op="unread"))["rooms"]}


async def webhook_rooms(server: AccessServer, secret: str) -> set[str]:
    webhooks = (await server.call("GET", "/webhooks", secret)).json()["webhooks"]
    return {room for webhook in webhooks for room in webhook["rooms"]}


def of_tool(name: str, part: str, **arguments: Any) -> Callable[[AccessServer, str], Awaitable[set[str]]]:
    async def read(server: AccessServer, secret: str) -> set[str]:
        assert await call_tool(server, secret, name, arguments) == "ok"
        content = json.loads(server.answers[-1])["result"]["structuredContent"]
        return {each["room"] for each in content[part]}

    return read


LISTS = {
    "GET rooms": List(Right.READ, listed("/rooms", "rooms")),
    "GET rooms after a room": List(Right.READ, paged),
    "GET rooms by prefix": List(Right.READ, by_prefix),
    "search": List(Right.READ, listed("/search?q=hello", "messages")),
    "GET unread": List(Right.READ, listed("/unread", "rooms")),
    "unread": List(Right.READ, unread),
    "mentions": List(Right.READ, listed("/mentions", "messages")),
    "consumers": List(Right.READ, listed("/consumers", "consumers"), ("ops", "dev", ".audit")),
    "webhooks": List(Right.MODERATE, webhook_rooms),
    "MCP rooms": List(Right.READ, of_tool("list_rooms", "rooms")),
    "MCP search": List(Right.READ, of_tool("search_messages", "messages", text="hello")),
    "MCP unread": List(Right.READ, of_tool("list_unread", "rooms")),
    "MCP mentions": List(Right.READ, of_tool("list_mentions", "messages")),
}

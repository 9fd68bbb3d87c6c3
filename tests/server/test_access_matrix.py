"""Every operation with every set of rights on every kind of room: what is allowed, and how the rest is refused."""

from typing import Any

import pytest
from access_operations import LISTS, OPERATIONS
from access_server import ROOT, AccessServer, access_server, grant
from raw_client import run

from chatkit.core.access import Grant, Right
from chatkit.core.model import Draft
from chatkit.core.webhook import WebhookEvent
from chatkit.wire.codes import PrivateCloseCode

OWN, OTHER, SYSTEM = "ops", "dev", ".audit"
ROOMS = (OWN, OTHER, SYSTEM)
CLOSED: dict[str, Any] = {"host": "localhost", "secret": "not-used-here"}

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
NEEDS_READ_TOO = {"publish as text", "DELETE message", "redact"}
# These have no valid name of such a room.
INVALID_IN_SYSTEM_ROOMS = {
    "POST text", "POST text by the routes", "POST JSON", "publish", "POST reply", "PATCH message", "edit",
    "PUT reaction", "DELETE reaction", "react", "MCP post", "MCP reply", "MCP react", "PATCH room", "kick", "ban",
    "redact",
}  # fmt: skip
# A guest has no consumer and no message of its own.
NEEDS_TOKEN_OR_MODERATOR = {
    "PUT consumer",
    "take",
    "take with a wait",
    "ack",
    "retry",
    "release",
    "extend",
    "DELETE consumer",
}
NEEDS_TOKEN = {"GET marker", "PUT marker", "mark", "MCP mark", "PATCH message", "edit"}


def rights_in(name: str, room: str) -> set[Right]:
    """Return the rights that a set of grants gives in a room: the rules of the documentation, written once more."""
    if name == "admin":
        return {Right.READ} if room == SYSTEM else {Right.READ, Right.WRITE, Right.MODERATE}
    if room == SYSTEM or (room == OTHER and name != "everything but system rooms"):
        return set()
    return {
        "read": {Right.READ},
        "write": {Right.WRITE},
        "read and write": {Right.READ, Right.WRITE},
        "moderate": {Right.READ, Right.WRITE, Right.MODERATE},
        "admin of the room": set(Right),
        "everything but system rooms": {Right.READ, Right.WRITE, Right.MODERATE},
    }.get(name, set())


def expected(operation: str, name: str, room: str) -> str:
    """Return what an operation answers to a token with a set of grants."""
    if room == SYSTEM and operation in INVALID_IN_SYSTEM_ROOMS:
        return "bad-room"
    if room == SYSTEM and operation == "POST webhook":
        return "bad-request"
    right, rights = OPERATIONS[operation].right, rights_in(name, room)
    if right in rights and (Right.READ in rights or operation not in NEEDS_READ_TOO):
        return "ok"
    return "forbidden" if Right.READ in rights else "not-found"


def expected_of_guest(operation: str, name: str, room: str) -> str:
    answer = expected(operation, name, room)
    is_moderator = Right.MODERATE in rights_in(name, room)
    needs_token = operation in NEEDS_TOKEN or (operation in NEEDS_TOKEN_OR_MODERATOR and not is_moderator)
    return "forbidden" if answer == "ok" and needs_token else answer


@pytest.mark.parametrize("name", RIGHTS)
def test_each_operation_allows_what_the_rights_of_a_token_allow_and_nothing_else(name: str) -> None:
    async def test() -> None:
        async with access_server(**CLOSED) as server:
            secret = (await server.token("ann", *RIGHTS[name])).secret
            await fill(server)
            assert {which: await listed.rooms(server, secret) for which, listed in LISTS.items()} == {
                which: {room for room in listed.among if listed.right in rights_in(name, room)}
                for which, listed in LISTS.items()
            }
            assert await answers(server, secret) == {
                f"{operation} of {room}": expected(operation, name, room) for operation in OPERATIONS for room in ROOMS
            }

    run(test())


@pytest.mark.parametrize("name", ["read", "read and write", "everything but system rooms"])
def test_guests_have_the_rights_of_the_option_and_no_others(name: str) -> None:
    async def test() -> None:
        async with access_server(open_grants=RIGHTS[name]) as server:
            await fill(server)
            assert await answers(server, None) == {
                f"{operation} of {room}": expected_of_guest(operation, name, room)
                for operation in OPERATIONS
                for room in ROOMS
            }

    run(test())


def test_without_a_token_everything_is_refused_where_guests_have_no_rights() -> None:
    async def test() -> None:
        async with access_server(**CLOSED) as server:
            await fill(server)
            assert set((await answers(server, None)).values()) == {"unauthorized"}
            for path in ("/rooms", "/search?q=hello", "/unread", "/mentions", "/consumers", "/webhooks", "/me"):
                assert await server.code("GET", path) == "unauthorized", path
            for opened in (server.text("/ws", None), server.talk("/ws", None)):
                async with opened as client:
                    socket = getattr(client, "socket", client)
                    await socket.wait_closed()
                    assert socket.close_code == PrivateCloseCode.UNAUTHORIZED

    run(test())


async def fill(server: AccessServer) -> None:
    """Write messages to the rooms, of bob and of ann. Give ann consumers, and the rooms webhooks that send nothing."""
    for room in (OWN, OTHER):
        await server.hub.webhooks.add(ROOT, "https://hook.invalid/", [room], [WebhookEvent.MENTION], mention="nobody")
        await server.hub.publish(Draft(room, "bob", "hello @ann"))
        await server.hub.publish(Draft(room, "ann", "mine", verified=True))
    await server.token("zoe")  # an entry of the audit, also where nobody has a token
    for room in ROOMS:
        for consumer in ("own", "old"):
            await server.hub.consumers.put(room, consumer, owner="ann")


async def answers(server: AccessServer, secret: str | None) -> dict[str, str]:
    """Return what each operation answers in each room."""
    return {
        f"{name} of {room}": await operation.use(server, secret, room)
        for name, operation in OPERATIONS.items()
        for room in ROOMS
    }

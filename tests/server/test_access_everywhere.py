"""What ends the access of a client ends it through every interface, and no answer shows that a room exists."""

from typing import Any

import pytest
from access_operations import OPERATIONS
from access_server import ROOT, AccessServer, access_server, grant
from raw_client import run

from chatkit.backends.memory import MemoryBackend
from chatkit.core import access_maintenance
from chatkit.core.access import Right, RoomSettings
from chatkit.core.administration import NewToken
from chatkit.core.model import Draft
from chatkit.server.token_attempts import TokenAttempts

CLOSED: dict[str, Any] = {"host": "localhost", "secret": "not-used-here"}
MODERATE = grant("ops", "moderate")


async def fill(server: AccessServer, room: str = "ops") -> None:
    await server.hub.publish(Draft(room, "bob", "hello"))
    await server.hub.publish(Draft(room, "ann", "mine", verified=True))
    for consumer in ("own", "old"):
        await server.hub.consumers.put(room, consumer, owner="ann")


async def answers(server: AccessServer, secret: str | None, room: str = "ops") -> dict[str, str]:
    """Return what each operation answers. A token that ended is refused as often as it is used."""
    found = {}
    for name, operation in OPERATIONS.items():
        server.authenticator._attempts = TokenAttempts()
        found[name] = await operation.use(server, secret, room)
    return found


async def revoke(server: AccessServer, ann: NewToken) -> str:
    await server.hub.administration.revoke(ROOT, ann.token.id)
    return "unauthorized"


async def rotate(server: AccessServer, ann: NewToken) -> str:
    await server.hub.administration.rotate(ROOT, ann.token.id)
    return "unauthorized"


async def ban_name(server: AccessServer, _: NewToken) -> str:
    await server.moderation.ban(ROOT, "ann")
    return "banned"


async def ban_network(server: AccessServer, _: NewToken) -> str:
    await server.moderation.ban(ROOT, "127.0.0.0/8")
    return "banned"


async def ban_from_room(server: AccessServer, _: NewToken) -> str:
    await server.moderation.ban(ROOT, "ann", room="ops")
    return "banned"


@pytest.mark.parametrize("end", [revoke, rotate, ban_name, ban_network, ban_from_room])
def test_what_has_ended_is_refused_everywhere(end: Any) -> None:
    async def test() -> None:
        async with access_server(**CLOSED) as server:
            ann = await server.token("ann", MODERATE)
            await fill(server)
            code = await end(server, ann)
            assert await answers(server, ann.secret) == dict.fromkeys(OPERATIONS, code)

    run(test())


def test_a_mute_leaves_reading_and_nothing_else() -> None:
    async def test() -> None:
        async with access_server(**CLOSED) as server:
            ann = await server.token("ann", MODERATE)
            await fill(server)
            await server.moderation.ban(ROOT, "ann", room="ops", is_mute=True)
            assert await answers(server, ann.secret) == {
                name: "ok" if operation.right is Right.READ else "banned" for name, operation in OPERATIONS.items()
            }

    run(test())


def test_nobody_writes_to_an_archived_room_and_moderators_still_moderate_it() -> None:
    async def test() -> None:
        async with access_server(**CLOSED) as server:
            ann = await server.token("ann", MODERATE)
            await fill(server)
            await server.moderation.set_room(ROOT, "ops", lambda _: RoomSettings(archived=True))
            assert await answers(server, ann.secret) == {
                name: "forbidden" if operation.right is Right.WRITE else "ok" for name, operation in OPERATIONS.items()
            }
            assert await server.code("DELETE", "/rooms/ops/messages/2", ann.secret) == "ok", "also her own message"

    run(test())


@pytest.mark.parametrize("name", ["ann", "\u0410NN"])
def test_the_name_of_a_token_is_refused_to_guests_everywhere(name: str) -> None:
    async def test() -> None:
        async with access_server(open_grants=(grant("*", "moderate"),)) as server:
            await server.token("ann", MODERATE)
            await fill(server)
            server.ask_for_name(name)
            assert await answers(server, None) == dict.fromkeys(OPERATIONS, "name-taken")

    run(test())


def test_a_room_that_may_not_be_read_is_answered_like_one_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_maintenance, "USES_S", 3_600)  # bob, whose use would be recorded, may read the room

    async def test() -> None:
        async with access_server(**CLOSED) as server:
            ann = await server.token("ann", grant("ops", "moderate"))
            await fill(server, "dev")
            await server.moderation.set_room(ROOT, "dev", lambda _: RoomSettings(topic="plans", archived=True))
            async with server.talk("/ws/dev", (await server.token("bob", grant("dev", "read"))).secret) as reader:
                await reader.until("joined")
                calls = record_calls(monkeypatch)
                found = {room: await texts(server, ann.secret, room) for room in ("dev", "nil")}
                assert not [call for call in calls if "dev" in call], "so the time does not show it either"
            assert found["dev"] == {name: text.replace("nil", "dev") for name, text in found["nil"].items()}

    run(test())


async def texts(server: AccessServer, secret: str, room: str) -> dict[str, str]:
    """Return the whole answers to each operation, which all refuse it."""
    found = {}
    for name, operation in OPERATIONS.items():
        assert await operation.use(server, secret, room) == "not-found", name
        found[name] = server.answers[-1]
    return found


def record_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the calls of all stores in memory, with their arguments."""
    calls: list[str] = []

    def recorded(name: str, method: Any) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            calls.append(f"{name}{args[1:]}{named}")
            return method(*args, **named)

        return call

    for name, method in vars(MemoryBackend).items():
        if not name.startswith("_") and callable(method):
            monkeypatch.setattr(MemoryBackend, name, recorded(name, method))
    return calls

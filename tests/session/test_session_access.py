"""What access costs a session, and how sessions end by the clock and in large numbers."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from call_count import calls_of
from faulty_backend import Faults
from harness import run, turns, until
from recording_socket import RecordingSocket
from session_host import NEWEST, Client, Host

from chatkit.core import access_notifier
from chatkit.core.access import EVERYTHING, Credential, Grant, Identity, Right
from chatkit.core.access_table import AccessTable
from chatkit.core.administration import NewToken
from chatkit.core.hub import Hub
from chatkit.core.model import Draft
from chatkit.core.token import TokenKind
from chatkit.session.json_session import JsonSession
from chatkit.session.session import MAX_WRITABLE
from chatkit.session.text_session import TextSession

pytestmark = pytest.mark.usefixtures("no_pauses")

ROOT = Identity("root", is_verified=True, grants=EVERYTHING, credential=Credential.STORE)
START_MS = 1_000_000_000_000
READ_WRITE = Grant("*", (Right.READ, Right.WRITE))


class Server:
    """A hub with a clock of the test, and sessions with tokens."""

    def __init__(self, hub: Hub, clock: list[int]) -> None:
        self.hub = hub
        self.clock = clock
        self.host = Host(hub, Faults())

    async def token(self, name: str = "ann", *grants: Grant, **more: Any) -> NewToken:
        return await self.hub.administration.add_token(ROOT, name, grants or (READ_WRITE,), **more)

    def identify(self, token: NewToken) -> Identity:
        return self.hub.access.authenticate(token.secret, "192.0.2.1", self.hub.now_ms())

    async def json(self, identity: Identity, room: str = "ops") -> Client:
        socket = RecordingSocket()
        client = Client(JsonSession(self.host.context, socket, identity, None), socket)
        await client.session.start(room, NEWEST)
        return client

    async def text(self, identity: Identity, room: str = "ops") -> Client:
        socket = RecordingSocket()
        client = Client(TextSession(self.host.context, socket, identity, None, "text"), socket)
        await client.session.start(room, NEWEST)
        return client


def served(test: Callable[[Server], Any], *, is_loopback: bool = False) -> None:
    async def main() -> None:
        clock = [START_MS]
        access = AccessTable(is_loopback=is_loopback)
        async with Faults() as backend, Hub(backend, access=access, now_ms=lambda: clock[0]) as hub:
            await test(Server(hub, clock))

    run(main())


def test_members_are_marked_as_their_identities_are() -> None:
    async def test(server: Server) -> None:
        bot = server.identify(await server.token("deploy", kind=TokenKind.BOT))
        watcher = await server.json(server.identify(await server.token("ann")))
        await server.json(bot)
        await until(lambda: watcher.socket.of_type("presence"))
        (change,) = watcher.socket.of_type("presence")
        assert (change["verified"], change["bots"]) == (change["joined"], ["deploy"])
        ann, deploy = (await watcher.ask("members"))["members"]
        assert (ann["verified"], ann.get("bot"), deploy["verified"], deploy["bot"]) == (True, None, True, True)

    served(test)


def test_a_publish_makes_no_more_calls_with_a_token_than_on_an_open_server() -> None:
    counts: dict[bool, list[int]] = {}

    async def measure(server: Server, identity: Identity, is_open: bool) -> None:
        for client in (await server.json(identity), await server.text(identity)):
            is_json = isinstance(client.session, JsonSession)
            frame = msgspec.json.encode({"op": "publish", "body": "x"}) if is_json else b"x"
            client.session.received_text(frame)
            await turns()
            counts.setdefault(is_open, []).append(calls_of(partial(client.session.received_text, frame)))
            client.session.closed(1000)

    async def with_token(server: Server) -> None:
        await measure(server, server.identify(await server.token()), is_open=False)

    async def without(server: Server) -> None:
        await measure(server, server.host.guest("ann"), is_open=True)

    served(with_token)
    served(without, is_loopback=True)
    assert counts[False] == counts[True]


def test_rights_are_checked_again_after_every_change_and_the_cache_is_bounded() -> None:
    async def test(server: Server) -> None:
        ann = await server.token("ann", READ_WRITE)
        client = await server.json(server.identify(ann))
        for number in range(3 * MAX_WRITABLE):
            assert (await client.ask("publish", room=f"room-{number}", body="x"))["type"] == "ack"
        assert len(client.session._writable) <= MAX_WRITABLE
        ban = await server.hub.moderation.ban(ROOT, "ann", room="room-1")
        assert (await client.ask("publish", room="room-1", body="x"))["code"] == "banned"
        assert (await client.ask("publish", room="room-2", body="x"))["type"] == "ack"
        await server.hub.moderation.unban(ROOT, ban.id)
        assert (await client.ask("publish", room="room-1", body="x"))["type"] == "ack"

    served(test)


def test_a_session_ends_when_its_token_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_notifier, "EXPIRY_POLL_S", 0.001)

    async def test(server: Server) -> None:
        soon = await server.token("ann", READ_WRITE, expires_ms=START_MS + 1_000)
        later = await server.token("bob", READ_WRITE, expires_ms=START_MS + 60_000)
        ended = [await server.json(server.identify(soon)), await server.text(server.identify(soon))]
        other = await server.json(server.identify(later))
        server.clock[0] += 999
        await asyncio.sleep(0.02)
        assert not any(client.socket.closed for client in ended)
        server.clock[0] += 1
        await until(lambda: all(client.socket.closed for client in ended))
        for client in ended:
            assert client.socket.closed == [(4401, "this token has expired")]
        assert ended[0].socket.events[-1]["code"] == "unauthorized"
        assert ended[1].socket.texts[-1] == b"! this token has expired"
        assert not other.socket.closed

    served(test)


def test_a_clock_that_jumps_for_a_moment_ends_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_notifier, "EXPIRY_POLL_S", 0.001)
    wall_ns = time.time_ns
    jump_ns = [0]
    monkeypatch.setattr("chatkit.core.clock.time.time_ns", lambda: wall_ns() + jump_ns[0])

    async def test() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            server = Server(hub, [])
            ann = await server.token("ann", READ_WRITE, expires_ms=hub.now_ms() + 3_600_000)
            client = await server.json(server.identify(ann))
            for jump_s in (86_400, -86_400, 365 * 86_400, 0):
                jump_ns[0] = jump_s * 1_000_000_000
                await asyncio.sleep(0.01)
                assert (await client.ask("publish", body="x"))["type"] == "ack"
                assert server.identify(ann).name == "ann"
            assert not client.socket.closed
            client.session.closed(1000)

    run(test())


def test_a_rotated_token_ends_its_sessions_after_the_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_notifier, "EXPIRY_POLL_S", 0.001)

    async def test(server: Server) -> None:
        before = await server.token()
        client = await server.json(server.identify(before))
        after = await server.hub.administration.rotate(ROOT, before.token.id, overlap_s=60)
        again = await server.json(server.identify(after))
        await turns()
        assert (await client.ask("publish", body="x"))["type"] == "ack"
        server.clock[0] += 60_000
        await until(lambda: client.socket.closed)
        assert not again.socket.closed

    served(test)


def test_a_right_that_is_lost_while_a_room_is_opened_is_not_used() -> None:
    async def test(server: Server) -> None:
        ann = await server.token()
        backend = server.hub._backend
        assert isinstance(backend, Faults)
        client = await server.json(server.identify(ann))
        release = backend.hold("watch")
        client.send("join", room="dev", ref=1)
        await turns()
        await server.hub.moderation.ban(ROOT, "ann", room="dev")
        release.set()
        assert (await client.answer(1))["code"] == "banned"
        await server.hub.publish(Draft("dev", "bob", "not for ann"))
        await turns()
        assert client.bodies("dev") == []

    served(test)


class Listener:
    """A session of which only the end counts."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.n_calls = 0

    def on_access_changed(self) -> None:
        self.n_calls += 1
        if self.n_calls == 1 and self.identity.name == "broken":
            raise ZeroDivisionError


def test_other_tasks_run_while_many_sessions_are_notified() -> None:
    async def test(server: Server) -> None:
        listeners = [Listener(Identity(f"guest-{number}")) for number in range(20_000)]
        listeners.append(Listener(Identity("broken")))
        for listener in listeners:
            server.hub.access.watchers.add(listener)
        await server.token()  # the first one concerns everybody, because it closes an open server
        n_turns = 0
        while not all(listener.n_calls for listener in listeners):
            await asyncio.sleep(0)
            n_turns += 1
        assert n_turns >= 5

    served(test, is_loopback=True)

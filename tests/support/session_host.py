"""Shared by the tests of sessions: a hub with a backend that can fail, and clients."""

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from faulty_backend import Faults
from harness import run, until
from recording_socket import RecordingSocket

from chatkit.core.access import Identity
from chatkit.core.hub import Hub
from chatkit.core.model import Limits
from chatkit.session.context import SessionContext, StartPosition
from chatkit.session.json_session import JsonSession
from chatkit.session.session import Session
from chatkit.session.text_session import TextSession
from chatkit.wire.protocol import WireLimits

NEWEST = StartPosition()


class Allowance:
    """A rate limiter that allows this many bytes."""

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes

    def consume(self, n_bytes: int) -> float:
        if n_bytes > self.n_bytes:
            return 1.5
        self.n_bytes -= n_bytes
        return 0.0

    def consume_all(self, _: int, n_bytes: int) -> bool:
        return self.consume(n_bytes) == 0.0

    def charge(self, _: float) -> float:
        return 0.0

    def may_signal(self) -> bool:
        return self.n_bytes > 0


class Host:
    """A hub with a backend that can fail, and clients that talk to it."""

    def __init__(self, hub: Hub, backend: Faults) -> None:
        self.hub = hub
        self.backend = backend
        self.limits = Limits(body=1000, data=1000, history=100, rooms=4)
        self.context = SessionContext(hub, "chatkit/test", self.limits, WireLimits(1000, 100), 10)
        self.clients: list[Client] = []

    def guest(self, name: str) -> Identity:
        return self.hub.access.guest(name, "127.0.0.1", self.hub.now_ms())

    async def json(
        self, room: str | None = None, name: str = "ann", start: StartPosition = NEWEST, **options: Any
    ) -> "Client":
        socket = RecordingSocket()
        client = Client(JsonSession(self.context, socket, self.guest(name), options.get("limiter")), socket)
        self.clients.append(client)
        await client.session.start(room, start)
        return client

    async def text(
        self,
        room: str | None = None,
        name: str = "ann",
        form: str = "text",
        start: StartPosition = NEWEST,
        limiter: Any = None,
    ) -> "Client":
        socket = RecordingSocket()
        client = Client(TextSession(self.context, socket, self.guest(name), limiter, form), socket)
        self.clients.append(client)
        await client.session.start(room, start)
        return client


class Client:
    """A session and its socket."""

    def __init__(self, session: Session, socket: RecordingSocket) -> None:
        self.session = session
        self.socket = socket

    def send(self, op: str, **fields: Any) -> None:
        self.session.received_text(msgspec.json.encode({"op": op, **fields}))

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send a command, and wait for what comes back with its ref."""
        ref = fields.setdefault("ref", f"{op}-{len(self.socket.texts)}")
        self.send(op, **fields)
        return await self.answer(ref)

    async def answer(self, ref: object) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [event for event in self.socket.events if event.get("ref") == ref]

        await until(found, f"no answer to {ref!r}")
        return found()[0]

    def bodies(self, room: str = "ops") -> list[str]:
        return [event["body"] for event in self.socket.of_type("message") if event["room"] == room]


def hosted(test: Callable[[Host], Coroutine[Any, Any, None]]) -> None:
    """Run a test with a hub, and check that nothing is left when its clients have disconnected."""

    async def main() -> None:
        async with Faults() as backend, Hub(backend) as hub:
            host = Host(hub, backend)
            await test(host)
            backend.failures.clear()
            for gate in [*backend.before.values(), *backend.after.values()]:
                gate.set()
            for client in host.clients:
                client.session.closed(1000)
                client.session.closed(1000)
            await until(lambda: not hub._rooms._rooms and not hub._presence.roster._rooms, "something is left behind")
            assert not backend.watched

    run(main())

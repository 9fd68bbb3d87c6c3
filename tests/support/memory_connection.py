"""An open WebSocket connection with a session, on a transport in memory: a read of its socket is one call."""

import asyncio

from uvicorn.config import Config
from uvicorn.server import ServerState

from chatkit.core.hub import Hub
from chatkit.core.model import Limits
from chatkit.protocols.connection import Connection
from chatkit.protocols.shared import SharedState
from chatkit.session.context import SessionContext, StartPosition
from chatkit.session.json_session import JsonSession
from chatkit.session.text_session import TextSession
from chatkit.websocket.reader import payloads
from chatkit.wire.protocol import WireLimits


async def _not_called(_scope: object, _receive: object, _send: object) -> None:
    raise AssertionError("the handshake is over")


class MemoryTransport(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Do nothing: the test decides what is read."""

    def resume_reading(self) -> None:
        """Do nothing: the test decides what is read."""

    @property
    def texts(self) -> list[bytes]:
        return payloads(b"".join(self.writes))


class MemoryConnection:
    """A client in a room, without compression and without a rate limit."""

    def __init__(self, hub: Hub, *, is_json: bool) -> None:
        state = ServerState()
        config = Config(_not_called, ws_per_message_deflate=False)
        config.load()
        shared = SharedState.of(config, state, asyncio.get_running_loop())
        context = SessionContext(hub, "chatkit/test", Limits(), WireLimits(65_536, 100), 0)
        identity = hub.access.guest("ann", "127.0.0.1", hub.now_ms())
        self.transport = MemoryTransport()
        self.connection = Connection(shared, state)
        self.connection.connection_made(self.transport)
        self.connection._open(0, 0)
        self.session: JsonSession | TextSession = (
            JsonSession(context, self.connection, identity, None)
            if is_json
            else TextSession(context, self.connection, identity, None, "text")
        )

    async def join(self, room: str) -> None:
        await self.session.start(room, StartPosition())
        self.connection.attach(self.session)

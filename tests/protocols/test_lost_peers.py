"""A client that reset its connection has no address any more, as one of a Unix socket: what it sent is not answered."""

import asyncio
import socket
import struct
from typing import Any

import pytest
from protocol_app import HEAD, LOOPS, Receive, Send, eventually, run
from uvicorn.server import ServerState

from chatkit.protocols.detect import HttpProtocol
from chatkit.protocols.opener import OpenerConfig, OpeningRequest, OpeningSocket
from chatkit.protocols.websocket import WebSocketProtocol

HANDSHAKE = HEAD + b"\r\n"
HEADS = {
    "handshake": HANDSHAKE,
    "handshake by way of HTTP": HANDSHAKE.replace(b"Connection: Upgrade", b"Connection: keep-alive, Upgrade"),
    "request": b"GET / HTTP/1.1\r\nHost: test\r\n\r\n",
}


class Denying:
    """An application and its opener, which deny everything and note from where it came."""

    def __init__(self) -> None:
        self.peers: list[Any] = []

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.peers.append(scope["client"])
        await receive()
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body"})

    def handles(self, _: OpeningRequest) -> bool:
        return True

    def open(self, _: OpeningRequest, out: OpeningSocket) -> None:
        self.peers.append(out.peer)
        out.deny(403, b"text/plain", b"")


def call(listening: socket.socket, head: bytes) -> socket.socket:
    client = socket.create_connection(listening.getsockname())
    client.sendall(head)
    return client


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("has_opener", [False, True])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("loop", LOOPS)
def test_what_a_client_sent_before_it_reset_its_connection_is_dropped(loop: str, head: bytes, has_opener: bool) -> None:
    async def test() -> None:
        app, state, running = Denying(), ServerState(), asyncio.get_running_loop()
        config = OpenerConfig(app, ws=WebSocketProtocol, lifespan="off", log_config=None)
        config.opener = app if has_opener else None
        config.load()
        listening = socket.create_server(("127.0.0.1", 0))
        reset(call(listening, head))  # before the server accepts it
        with call(listening, head):
            server = await running.create_server(lambda: HttpProtocol(config, state, {}, running), sock=listening)
            await eventually(lambda: app.peers)
        await eventually(lambda: not state.connections and not state.tasks)
        server.close()
        assert len(app.peers) == 1
        assert "127.0.0.1" in app.peers[0]

    run(test, loop)

"""The ASGI servers and protocol classes that people run applications under, each in the test's own event loop."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import hypercorn.asyncio
import uvicorn
from hypercorn.config import Config as HypercornConfig
from websockets.asyncio.client import ClientConnection

from chatkit.protocols.websocket import HttpProtocol, WebSocketProtocol

Serve: TypeAlias = Callable[[Any], AbstractAsyncContextManager[int]]
"""Runs an application while its context is open, and yields the port."""


@asynccontextmanager
async def under_uvicorn(app: Any, **options: Any) -> AsyncIterator[int]:
    """Serve with uvicorn, on the protocol classes that the options name."""
    config = uvicorn.Config(app, port=0, lifespan="on", log_config=None, **options)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve())
    while not server.started:  # uvicorn offers nothing to wait for
        assert not running.done(), running
        await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running


@asynccontextmanager
async def under_hypercorn(app: Any) -> AsyncIterator[int]:
    """Serve with hypercorn."""
    config, ended = HypercornConfig(), asyncio.Event()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # a client that comes before hypercorn waits for it
        config.bind = [f"fd://{listener.fileno()}"]
        config.errorlog = config.accesslog = None
        running = asyncio.create_task(hypercorn.asyncio.serve(app, config, shutdown_trigger=ended.wait))
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            await running
        listener.detach()  # hypercorn closed it


SERVERS: dict[str, Serve] = {
    "chatkit's protocols": partial(under_uvicorn, http=HttpProtocol, ws=WebSocketProtocol),
    "chatkit's http, websockets-sansio": partial(under_uvicorn, http=HttpProtocol, ws="websockets-sansio"),
    "chatkit's http, wsproto": partial(under_uvicorn, http=HttpProtocol, ws="wsproto"),
    "h11, chatkit's ws": partial(under_uvicorn, http="h11", ws=WebSocketProtocol),
    "httptools, chatkit's ws": partial(under_uvicorn, http="httptools", ws=WebSocketProtocol),
    "httptools, websockets-sansio": partial(under_uvicorn, http="httptools", ws="websockets-sansio"),
    "h11, wsproto": partial(under_uvicorn, http="h11", ws="wsproto"),
    "hypercorn": under_hypercorn,
}


def cut(client: ClientConnection) -> None:
    """Reset the connection: the client is gone without a word."""
    raw = client.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.transport.abort()

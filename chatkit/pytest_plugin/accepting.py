"""Servers of asyncio's streams that lose no connection when they end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
TURNS = 20  # of the event loop: more than an accepted connection needs until it is served


@asynccontextmanager
async def accepting(serve: Serve, port: int = 0, **options: Any) -> AsyncIterator[int]:
    """Accept connections on loopback until the block ends; yield the port. `serve` has begun for all that it accepted.

    A server that is closed in the turn of the event loop in which it accepts a connection never closes that (in Python
    3.11 and 3.12), so this one first stops accepting.
    """
    server = await asyncio.start_server(serve, "127.0.0.1", port, **options)
    listening = server.sockets[0]
    try:
        yield listening.getsockname()[1]
    finally:
        asyncio.get_running_loop().remove_reader(listening.fileno())
        for _ in range(TURNS):
            await asyncio.sleep(0)
        server.close()

"""A chat server in the test's own event loop, on chatkit's protocols or on those of others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from asgi_servers import SERVERS
from raw_client import Answer, call

from chatkit.core.hub import Hub
from chatkit.server.app import open_app
from chatkit.server.settings import Settings

OWN = "chatkit's protocols"


class InProcess(msgspec.Struct, frozen=True):
    """The server, and its hub."""

    url: str
    ws_url: str
    hub: Hub

    async def call(self, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
        """Make one HTTP call, while the server runs in this loop."""
        return await asyncio.to_thread(call, self, method, path, body, **headers)


@asynccontextmanager
async def serve_in_process(server: str = OWN, **settings: Any) -> AsyncIterator[InProcess]:
    """Run the server while the context is open."""
    async with (
        open_app(Settings(**{"backend": "memory://", **settings})) as app,
        SERVERS[server](app) as port,
    ):
        yield InProcess(f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}", app.state.admission.context.hub)

"""A chat with history in thirty lines. Run it with `uvicorn thirty_lines:app` and open a WebSocket on /ws."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar, WebSocket
from litestar.exceptions import WebSocketDisconnect
from litestar.handlers import websocket_listener

from chatkit.toolkit import Draft, Gap, Hub, Subscription, open_backend


@asynccontextmanager
async def rooms(app: Litestar) -> AsyncIterator[None]:
    async with open_backend("sqlite:///chat.db") as backend, Hub(backend) as app.state.hub:
        yield


async def send(socket: WebSocket, messages: Subscription) -> None:
    async for message in messages:
        await socket.send_text("…" if isinstance(message, Gap) else message.body)


@asynccontextmanager
async def subscription(socket: WebSocket) -> AsyncIterator[None]:
    await socket.accept()
    with await socket.app.state.hub.subscribe("chat", history=10) as messages:
        sending = asyncio.create_task(send(socket, messages))
        try:
            yield
        except WebSocketDisconnect:
            sending.cancel()


@websocket_listener("/ws", connection_lifespan=subscription)
async def receive(data: str, socket: WebSocket) -> None:
    await socket.app.state.hub.publish(Draft.new("chat", data))


app = Litestar([receive], lifespan=[rooms])

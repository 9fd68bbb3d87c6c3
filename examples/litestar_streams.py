"""Streams to a client: a plain generator, and a channel's events next to a listener on the same socket."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, WebSocket, websocket_stream
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect
from litestar.handlers import send_websocket_stream, websocket_listener

from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend

Channels = NamedDependency[ChannelsPlugin]


@websocket_stream("/count")
async def count() -> AsyncGenerator[int, None]:
    for number in range(3):
        yield number


@websocket_stream("/events")
async def events(channels: Channels) -> AsyncGenerator[bytes, None]:
    async with channels.start_subscription("chat") as subscriber:
        yield b"subscribed"
        async for event in subscriber.iter_events():
            yield event


@asynccontextmanager
async def streaming(socket: WebSocket[Any, Any, Any], channels: Channels) -> AsyncIterator[None]:
    await socket.accept()
    async with channels.start_subscription("chat") as subscriber:
        sending = asyncio.create_task(send_websocket_stream(socket, subscriber.iter_events(), close=False))
        try:
            yield
        except WebSocketDisconnect:
            return
        finally:
            sending.cancel()


@websocket_listener("/chat", connection_lifespan=streaming)
async def chat(data: str, channels: Channels) -> None:
    channels.publish(data, "chat")


app = Litestar([count, events, chat], plugins=[ChannelsPlugin(MemoryChannelsBackend(), channels=["chat"])])

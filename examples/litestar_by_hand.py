"""Explicit subscriptions: a client chooses its channels, and reads one event at a time, with metadata."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from litestar import Litestar, WebSocket, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect

from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend, Subscriber


async def send(socket: WebSocket[Any, Any, Any], subscriber: Subscriber) -> None:
    async for event in subscriber.iter_events(with_metadata=True):
        await socket.send_json({"channel": event.channel, "seq": event.seq, "text": event.data.decode()})


@websocket("/")
async def handler(socket: WebSocket[Any, Any, Any], channels: NamedDependency[ChannelsPlugin]) -> None:
    await socket.accept()
    subscriber = await channels.subscribe("lobby")
    sending = asyncio.create_task(send(socket, subscriber))
    try:
        async for word, channel, *text in words_of_lines(socket):
            if word == "join":
                await channels.add_channels(subscriber, channel)
            elif word == "leave":
                await channels.unsubscribe(subscriber, channel)
                if subscriber.has_ended:  # that was its last channel
                    return
            elif word == "say":
                await channels.wait_published(" ".join(text), channel)
    except WebSocketDisconnect:
        return
    finally:
        await channels.unsubscribe(subscriber)  # ends the iterator, and so the task
        sending.cancel()


async def words_of_lines(socket: WebSocket[Any, Any, Any]) -> AsyncIterator[list[str]]:
    async for line in socket.iter_data("text"):
        yield line.split()


app = Litestar([handler], plugins=[ChannelsPlugin(MemoryChannelsBackend(), arbitrary_channels_allowed=True)])

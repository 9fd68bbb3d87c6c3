"""Two ways to read a channel's history: with the subscription, without repeats, or put into the queue explicitly."""

from typing import Any

from litestar import Litestar, WebSocket, websocket
from litestar.di import NamedDependency

from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend, Subscriber

Channels = NamedDependency[ChannelsPlugin]


async def talk(socket: WebSocket[Any, Any, Any], channels: ChannelsPlugin, subscriber: Subscriber) -> None:
    async with subscriber.run_in_background(socket.send_text):
        async for text in socket.iter_data("text"):
            channels.publish(text, "news")


@websocket("/subscribed")
async def subscribed(socket: WebSocket[Any, Any, Any], channels: Channels) -> None:
    async with channels.start_subscription("news", history=3) as subscriber:
        await socket.accept()
        await talk(socket, channels, subscriber)


@websocket("/by-hand")
async def by_hand(socket: WebSocket[Any, Any, Any], channels: Channels) -> None:
    async with channels.start_subscription("news") as subscriber:
        await channels.put_subscriber_history(subscriber, "news", limit=2)
        await socket.accept()
        await talk(socket, channels, subscriber)


app = Litestar([subscribed, by_hand], plugins=[ChannelsPlugin(MemoryChannelsBackend(history=20), channels=["news"])])

"""An application over channels for tests, which also reports its internal state."""

import asyncio
import os
from typing import Any

from litestar import Litestar, WebSocket, get, post, websocket
from litestar.di import NamedDependency
from litestar.middleware import ASGIMiddleware
from litestar.params import FromPath, FromQuery
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend, Subscriber, direct_sender

Channels = NamedDependency[ChannelsPlugin]

direct_sender.PROBE_S = 0.05  # type: ignore[misc]  # the tests have no ten seconds
TOGETHER = 50  # events
seen_by_middleware: list[str] = []


@websocket("/background/{channel:str}")
async def background(socket: WebSocket[Any, Any, Any], channel: FromPath[str], channels: Channels) -> None:
    """Read in the background, and repeat what the client says."""
    await socket.accept()
    async with channels.start_subscription(channel) as subscriber, subscriber.run_in_background(socket.send_data):
        async for text in socket.iter_data("text"):
            await socket.send_text(text)


@websocket("/bytes")
async def in_bytes(socket: WebSocket[Any, Any, Any], channels: Channels) -> None:
    """Read in the background, as binary messages."""
    async with channels.start_subscription("bytes") as subscriber, subscriber.run_in_background(socket.send_bytes):
        await socket.accept()
        async for _ in socket.iter_data("text"):
            pass


@websocket("/send-only/{channel:str}")
async def send_only(socket: WebSocket[Any, Any, Any], channel: FromPath[str], channels: Channels) -> None:
    """Never look at what the client does."""
    await socket.accept()
    async with channels.start_subscription(channel) as subscriber, subscriber.run_in_background(socket.send_text):
        await asyncio.Event().wait()


class Eavesdropper(ASGIMiddleware):
    """A middleware that has to see what is sent."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass everything on."""

        async def seeing(message: Message) -> None:
            if message["type"] == "websocket.send":
                seen_by_middleware.append(str(message["text"]))
            await send(message)

        await next_app(scope, receive, seeing)


@websocket("/overheard", middleware=[Eavesdropper()])
async def overheard(socket: WebSocket[Any, Any, Any], channels: Channels) -> None:
    """Read in the background, past a middleware."""
    await socket.accept()
    async with channels.start_subscription("overheard") as subscriber, subscriber.run_in_background(socket.send_text):
        async for _ in socket.iter_data("text"):
            pass


@post("/publish/{channel:str}", status_code=204)
async def publish(channel: FromPath[str], channels: Channels, count: FromQuery[int], size: FromQuery[int] = 10) -> None:
    """Publish so many events, each its number and padding; some at a time, so that the store commits them together."""
    for start in range(0, count, TOGETHER):
        numbers = range(start, min(start + TOGETHER, count))
        await asyncio.gather(*(channels.wait_published(f"{number:<{size}}", channel) for number in numbers))


@post("/publish-binary/{channel:str}", status_code=204)
async def publish_binary(channel: FromPath[str], channels: Channels) -> None:
    """Publish what is no text, and then text."""
    await channels.wait_published(b"\xff\x00\xfe", channel)
    await channels.wait_published("text", channel)


@get("/state")
async def state(channels: Channels) -> dict[str, Any]:
    """Return how many subscribers there are, and how they are served."""
    readers = [each for each in channels._all_subscribers() if isinstance(each, Subscriber)]
    return {
        "readers": len(readers),
        "direct": sum(each._sender is not None for each in readers),
        "missed": sum(each.missed + each.dropped for each in readers),
        "rooms": channels._log.hub.counts["rooms"],
        "tasks": len(asyncio.all_tasks()),
        "overheard": seen_by_middleware,
    }


app = Litestar(
    [background, in_bytes, send_only, overheard, publish, publish_binary, state],
    plugins=[ChannelsPlugin(os.environ.get("CHANNELS") or MemoryChannelsBackend(), arbitrary_channels_allowed=True)],
    logging_config=None,
)

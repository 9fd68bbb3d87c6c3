"""The thirty-line chat of Litestar's tutorial with one import changed. Run it with `chatkit serve litestar_chat`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar, WebSocket
from litestar.exceptions import WebSocketDisconnect
from litestar.handlers import websocket_listener

from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend


@asynccontextmanager
async def subscription(socket: WebSocket, channels: ChannelsPlugin) -> AsyncIterator[None]:
    async with channels.start_subscription("chat", history=10) as subscriber:
        try:
            async with subscriber.run_in_background(socket.send_data):
                yield
        except WebSocketDisconnect:
            return


@websocket_listener("/ws", connection_lifespan=subscription)
def receive(data: str, channels: ChannelsPlugin) -> None:
    channels.publish(data, channels=["chat"])


app = Litestar(
    route_handlers=[receive],
    plugins=[ChannelsPlugin(channels=["chat"], backend=MemoryChannelsBackend(history=10))],
)

"""Publish over HTTP, read over a WebSocket or as server-sent events that can be resumed, store all in a file.

chatkit serve litestar_publish
curl -d '{"text": "deployed"}' -H 'Content-Type: application/json' http://127.0.0.1:8000/ops
"""

import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromPath, HeaderParameter, JSONBody
from litestar.response import ServerSentEvent, ServerSentEventMessage

from chatkit.litestar import ChannelsPlugin, SqliteChannelsBackend

Channels = NamedDependency[ChannelsPlugin]


@post("/{channel:str}")
async def publish(channel: FromPath[str], request: Request[Any, Any, Any], channels: Channels) -> dict[str, Any]:
    published = await channels.wait_published(await request.body(), channel)  # committed when this returns
    return {"seq": published.seq, "cursor": published.cursor}


@post("/{channel:str}/later", sync_to_thread=True)
def publish_later(channel: FromPath[str], data: JSONBody[dict[str, Any]], channels: Channels) -> None:
    channels.publish(data, channel)  # from a thread, without waiting


@websocket("/{channel:str}/ws")
async def follow(socket: WebSocket[Any, Any, Any], channel: FromPath[str], channels: Channels) -> None:
    async with channels.start_subscription(channel, history=10) as subscriber:
        await socket.accept()
        try:
            async with subscriber.run_in_background(socket.send_text):
                async for text in socket.iter_data("text"):
                    channels.publish(text, channel)
        except WebSocketDisconnect:
            return


@get("/{channel:str}/events", sync_to_thread=False)
def events(
    channel: FromPath[str],
    channels: Channels,
    last_event_id: Annotated[str | None, HeaderParameter(name="Last-Event-ID")] = None,
) -> ServerSentEvent:
    async def stream() -> AsyncIterator[ServerSentEventMessage]:
        async with channels.start_subscription(channel, after=last_event_id) as subscriber:
            yield ServerSentEventMessage(comment="open", data=None)
            async for event in subscriber.iter_events(with_metadata=True):
                yield ServerSentEventMessage(data=event.data, id=event.cursor)

    return ServerSentEvent(stream())


backend = SqliteChannelsBackend(os.environ.get("ROOMS", "rooms.db"))
app = Litestar(
    [publish, publish_later, follow, events],
    plugins=[ChannelsPlugin(backend, arbitrary_channels_allowed=True)],
)

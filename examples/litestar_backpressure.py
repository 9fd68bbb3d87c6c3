"""Both backlog strategies for a slow reader: `backoff` keeps the oldest events, `dropleft` the newest.

Serve `litestar_backpressure:app` or `litestar_backpressure:dropleft_app`.
"""

import asyncio
from typing import Any

from litestar import Litestar, WebSocket, websocket
from litestar.channels.subscriber import BacklogStrategy
from litestar.di import NamedDependency

from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend


@websocket("/")
async def slow_reader(socket: WebSocket[Any, Any, Any], channels: NamedDependency[ChannelsPlugin]) -> None:
    await socket.accept()
    async with channels.start_subscription("ticks") as subscriber:
        for number in range(int(await socket.receive_text())):
            await channels.wait_published(str(number), "ticks")
        await asyncio.sleep(0.1)  # the reader starts only now
        received = [(await anext(subscriber.iter_events())).decode() for _ in range(3)]
        await socket.send_json({"received": received, "dropped": subscriber.dropped})
    await socket.close()


def make_app(strategy: BacklogStrategy) -> Litestar:
    plugin = ChannelsPlugin(
        MemoryChannelsBackend(),
        channels=["ticks"],
        subscriber_max_backlog=3,
        subscriber_backlog_strategy=strategy,
    )
    return Litestar([slow_reader], plugins=[plugin])


app = make_app("backoff")
dropleft_app = make_app("dropleft")

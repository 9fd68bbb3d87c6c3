"""Handlers that the plugin makes: one for each declared channel, or one for all where any channel is allowed.

Serve `litestar_generated:app` or `litestar_generated:arbitrary_app`; the latter asks for `?token=secret`.
"""

from typing import Any

from litestar import Litestar, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.exceptions import NotAuthorizedException
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend


@post("/publish/{channel:str}")
async def publish(
    channel: FromPath[str], data: JSONBody[dict[str, Any]], channels: NamedDependency[ChannelsPlugin]
) -> dict[str, int]:
    return {"seq": (await channels.wait_published(data, channel)).seq}


def check_token(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    if connection.query_params.get("token") != "secret":
        raise NotAuthorizedException


app = Litestar(
    [publish],
    plugins=[
        ChannelsPlugin(
            MemoryChannelsBackend(history=10),
            channels=["foo", "bar"],
            create_ws_route_handlers=True,
            ws_handler_send_history=10,
        )
    ],
)

arbitrary_app = Litestar(
    [publish],
    plugins=[
        ChannelsPlugin(
            MemoryChannelsBackend(),
            arbitrary_channels_allowed=True,
            create_ws_route_handlers=True,
            ws_handler_base_path="/ws",
            ws_send_mode="binary",
            ws_handler_guards=[check_token],
        )
    ],
)

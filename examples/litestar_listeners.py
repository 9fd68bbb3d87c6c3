"""All forms of listeners: functions and classes, text and binary in both directions, data of many types."""

from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Litestar, WebSocket
from litestar.di import NamedDependency, Provide
from litestar.dto import DataclassDTO, MsgspecDTO
from litestar.handlers import WebsocketListener, websocket_listener


@dataclass
class Point:
    """Data as a dataclass."""

    x: int
    y: int


class Order(msgspec.Struct):
    """Data as a msgspec Struct."""

    item: str
    count: int = 1


@websocket_listener("/text", sync_to_thread=False)
def text(data: str) -> str:
    return data.upper()


@websocket_listener("/thread", sync_to_thread=True)
def in_a_thread(data: str) -> str:
    return data[::-1]


@websocket_listener("/bytes", receive_mode="binary", send_mode="binary")
async def in_bytes(data: bytes) -> bytes:
    return data[::-1]


@websocket_listener("/mixed", receive_mode="text", send_mode="binary")
async def mixed(data: dict[str, int]) -> dict[str, int]:
    return {key: value + 1 for key, value in data.items()}


@websocket_listener("/dataclass", dto=DataclassDTO[Point])
async def of_dataclass(data: Point) -> Point:
    return Point(data.y, data.x)


@websocket_listener("/struct", dto=MsgspecDTO[Order], return_dto=None)
async def of_struct(data: Order, greeting: NamedDependency[str]) -> dict[str, str]:
    return {"confirmed": f"{greeting}: {data.count} x {data.item}"}


async def accept(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept(headers={"X-Server": "chatkit"}, subprotocols="echo")


@websocket_listener("/accepted", connection_accept_handler=accept)
async def accepted(data: str, socket: WebSocket[Any, Any, Any]) -> str:
    return f"{socket.url.path}: {data}"


class Counter(WebsocketListener):
    """A listener as a class."""

    path = "/class"

    async def on_accept(self, socket: WebSocket[Any, Any, Any]) -> None:
        """Send a greeting."""
        await socket.send_text("welcome")

    async def on_receive(self, data: list[int]) -> int:
        """Return the sum."""
        return sum(data)


app = Litestar(
    [text, in_a_thread, in_bytes, mixed, of_dataclass, of_struct, accepted, Counter],
    dependencies={"greeting": Provide(lambda: "thank you", sync_to_thread=False)},
)

"""WebSocket handlers of channels: generated ones, their guards, and a publisher that receives its own event."""

import asyncio
from typing import Any

import pytest
from litestar import Litestar, WebSocket, websocket
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, WebSocketDisconnect
from litestar.handlers import BaseRouteHandler
from litestar.testing import TestClient

from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend


def deny(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    if connection.query_params.get("token") != "open":
        raise NotAuthorizedException


@pytest.mark.parametrize("mode", ["text", "binary"])
@pytest.mark.parametrize("base", ["/", "/ws", "/ws/"])
@pytest.mark.parametrize("arbitrary", [True, False])
def test_generated_handlers_send_published_events(mode: Any, base: str, arbitrary: bool) -> None:
    plugin = ChannelsPlugin(
        MemoryChannelsBackend(history=10),
        channels=None if arbitrary else ["foo"],
        arbitrary_channels_allowed=arbitrary,
        create_ws_route_handlers=True,
        ws_handler_base_path=base,
        ws_send_mode=mode,
        ws_handler_send_history=2,
    )
    with TestClient(Litestar(plugins=[plugin], logging_config=None)) as client:
        path = f"{base.rstrip('/')}/foo"
        for word in ("one", "two", "three"):
            asyncio.run(plugin.wait_published(word, "foo"))
        with client.websocket_connect(path) as socket:
            plugin.publish("live", "foo")
            socket.send_text("what clients send is let pass")
            receive = socket.receive_text if mode == "text" else socket.receive_bytes
            received = [receive(timeout=5) for _ in range(3)]
        assert received == (["two", "three", "live"] if mode == "text" else [b"two", b"three", b"live"])


@pytest.mark.parametrize("way", ["soon", "waiting", "in a thread"])
def test_a_publisher_receives_its_own_event_at_once(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatkit.core.fanout.LEAST_SHARE", 1e-9)
    monkeypatch.setattr("chatkit.core.fanout.MOST_SHARE", 1e-9)
    monkeypatch.setattr("chatkit.core.fanout.MAX_PAUSE_S", 60.0)

    async def publish_text(text: str) -> None:
        match way:
            case "soon":
                plugin.publish(text, "foo")
            case "waiting":
                await plugin.wait_published(text, "foo")
            case _:
                await asyncio.to_thread(plugin.publish, text, "foo")

    @websocket("/")
    async def chat(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        async with plugin.start_subscription("foo") as subscriber, subscriber.run_in_background(socket.send_text):
            async for text in socket.iter_data("text"):
                await publish_text(text)

    plugin = ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"])
    app = Litestar([chat], plugins=[plugin], logging_config=None)
    with TestClient(app) as client, client.websocket_connect("/") as publisher, client.websocket_connect("/"):
        for word in ("first", "while the others wait", "and again"):
            publisher.send_text(word)
            assert publisher.receive_text(timeout=20) == word


def test_generated_handlers_use_their_guards() -> None:
    plugin = ChannelsPlugin(
        MemoryChannelsBackend(), channels=["foo"], create_ws_route_handlers=True, ws_handler_guards=[deny]
    )
    with TestClient(Litestar(plugins=[plugin], logging_config=None)) as client:
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/foo"):
            pass
        with client.websocket_connect("/foo?token=open") as socket:
            plugin.publish("in", "foo")
            assert socket.receive_text(timeout=5) == "in"


def test_guards_of_the_application_apply_to_generated_handlers() -> None:
    plugin = ChannelsPlugin(MemoryChannelsBackend(), channels=["foo"], create_ws_route_handlers=True)
    app = Litestar(plugins=[plugin], guards=[deny], logging_config=None)
    with TestClient(app) as client, pytest.raises(WebSocketDisconnect), client.websocket_connect("/foo"):
        pass

"""Channels on every ASGI server: nothing depends on chatkit's own."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from asgi_servers import SERVERS, cut
from channels import read_events, run, until
from litestar import Litestar, WebSocket, websocket
from litestar.di import NamedDependency
from litestar.middleware import ASGIMiddleware
from litestar.params import FromPath
from litestar.testing import TestClient
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from websockets.asyncio.client import connect

from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend
from chatkit.litestar import subscriber as subscriber_module


async def send(socket: WebSocket[Any, Any, Any], data: bytes) -> None:
    await socket.send_text(data)


N_EVENTS = 1_500  # more than a subscriber reads ahead and a socket buffers
CALLBACKS: dict[str, Callable[[WebSocket[Any, Any, Any]], Callable[[bytes], Awaitable[Any]]]] = {
    "text": lambda socket: socket.send_text,
    "bytes": lambda socket: socket.send_bytes,
    "data": lambda socket: socket.send_data,
    "function": lambda socket: partial(send, socket),
}
Channels = NamedDependency[ChannelsPlugin]


@pytest.fixture(autouse=True)
def _no_stall_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the time-out for leaving a block, so that only the test's time-out ends a hang."""
    monkeypatch.setattr(subscriber_module, "STALL_S", 3_600.0)


class Observer(ASGIMiddleware):
    """A middleware that inspects sent messages, which disables the direct path."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        async def observed(message: Message) -> None:
            await send(message)

        await next_app(scope, receive, observed)


class Application:
    """An application with channels, and the number of its handlers that have left their blocks."""

    def __init__(self, *, has_middleware: bool, max_backlog: int | None = None) -> None:
        self.n_left = 0
        self.channels = ChannelsPlugin(
            MemoryChannelsBackend(), arbitrary_channels_allowed=True, subscriber_max_backlog=max_backlog
        )

        @websocket("/{callback:str}")
        async def handler(socket: WebSocket[Any, Any, Any], callback: FromPath[str], channels: Channels) -> None:
            await socket.accept()
            async with channels.start_subscription(callback) as subscriber:
                async with subscriber.run_in_background(CALLBACKS[callback](socket)):
                    message = await socket.receive()
                    if message["type"] == "websocket.receive":
                        await channels.wait_published("event", callback)
                        await socket.receive()
                self.n_left += 1
                if socket.connection_state != "disconnect":
                    await socket.send_text("left")

        self.app = Litestar(
            [handler],
            plugins=[self.channels],
            middleware=[Observer()] if has_middleware else [],
            logging_config=None,
        )


@pytest.mark.parametrize(
    ("has_middleware", "max_backlog"), [(False, None), (True, None), (False, 10)], ids=["bare", "middleware", "backlog"]
)
@pytest.mark.parametrize("server", SERVERS)
def test_the_block_of_an_idle_reader_is_left_at_once(
    server: str, has_middleware: bool, max_backlog: int | None
) -> None:
    async def main() -> None:
        application = Application(has_middleware=has_middleware, max_backlog=max_backlog)
        async with SERVERS[server](application.app) as port:
            for callback in CALLBACKS:
                url = f"ws://127.0.0.1:{port}/{callback}"
                async with connect(url) as stays, connect(url) as leaves, connect(url) as is_cut:
                    await stays.send("go")
                    for client in (stays, leaves, is_cut):
                        assert await client.recv() in {"event", b"event"}
                    await stays.send("thanks")
                    assert await stays.recv() == "left"
                    await leaves.close()
                    cut(is_cut)
            await until(lambda: application.n_left == 3 * len(CALLBACKS))
        assert not application.channels._all_subscribers()

    run(main())


@pytest.mark.parametrize("has_middleware", [False, True], ids=["bare", "middleware"])
@pytest.mark.parametrize("server", SERVERS)
def test_a_burst_arrives_completely_and_in_order_at_a_slow_reader(server: str, has_middleware: bool) -> None:
    async def main() -> None:
        application = Application(has_middleware=has_middleware)
        async with SERVERS[server](application.app) as port:
            url = f"ws://127.0.0.1:{port}/text"
            async with connect(url, max_queue=None) as fast, connect(url, max_queue=1) as slow:
                await until(lambda: len(application.channels._all_subscribers()) == 2)
                for number in range(N_EVENTS):
                    await application.channels.wait_published(f"{number:<1000}", "text")
                for client in (fast, slow):
                    received = [await client.recv() for _ in range(N_EVENTS)]
                    assert received == [f"{number:<1000}" for number in range(N_EVENTS)]

    run(main())


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize("has_middleware", [False, True], ids=["bare", "middleware"])
def test_the_block_is_left_at_once_in_litestars_test_client(callback: str, has_middleware: bool) -> None:
    application = Application(has_middleware=has_middleware)
    receive = "receive_bytes" if callback == "bytes" else "receive_text"
    with TestClient(application.app) as client:
        with client.websocket_connect(f"/{callback}") as stays:
            stays.send_text("go")
            assert getattr(stays, receive)(timeout=20) in {"event", b"event"}
            stays.send_text("thanks")
            assert stays.receive_text(timeout=20) == "left"
        with client.websocket_connect(f"/{callback}"):
            pass
    assert application.n_left == 2


def test_a_block_on_a_subscriber_that_has_ended_sends_nothing_and_its_reader_ends() -> None:
    sent: list[Message] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def main() -> None:
        async with Application(has_middleware=False).channels as channels:
            scope: Any = {"type": "websocket", "extensions": {}, "state": {}}
            socket: WebSocket[Any, Any, Any] = WebSocket(scope, receive, send)
            await socket.accept()
            subscriber = await channels.subscribe("text")
            await channels.unsubscribe(subscriber)
            for _ in range(2):
                async with subscriber.run_in_background(socket.send_text):
                    task = subscriber._task
                    assert task is not None
                    await until(task.done)

    run(main())
    assert [message["type"] for message in sent] == ["websocket.accept"]


def test_a_full_socket_of_a_disconnected_client_is_not_waited_for() -> None:
    events: list[Any] = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1001}]
    is_sending = False

    async def receive() -> Any:
        return events.pop(0)

    async def send(message: Message) -> None:
        nonlocal is_sending
        if message["type"] == "websocket.send":
            is_sending = True
            await asyncio.Event().wait()  # a full buffer without a reader

    async def main() -> None:
        async with Application(has_middleware=False).channels as channels:
            scope: Any = {"type": "websocket", "extensions": {}, "state": {}}
            socket: WebSocket[Any, Any, Any] = WebSocket(scope, receive, send)
            await socket.accept()
            async with channels.start_subscription("text") as subscriber:
                async with subscriber.run_in_background(socket.send_text):
                    for number in range(3):
                        await channels.wait_published(str(number), "text")
                    await until(lambda: is_sending)
                    assert (await socket.receive())["type"] == "websocket.disconnect"
                assert await read_events(subscriber, 2) == [b"1", b"2"]  # not lost with the disconnected client

    run(main())

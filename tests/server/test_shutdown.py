"""Shutdown: it takes seconds, whatever the clients do, and loses no acknowledged message."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from raw_client import Talk, call, handshake, open_socket, publish, raw, read_all, read_head, run, stream
from serving import ServerProcess, serve
from uvicorn.lifespan.on import LifespanOn
from websockets.exceptions import WebSocketException

from chatkit.backends.memory import MemoryBackend
from chatkit.core.hub import Hub
from chatkit.server.runner import ChatServer

ENDS_WITHIN_S = 15.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serve(tmp_path / "rooms.db", "--rate-limit", "0") as started:
        yield started


def wait_for_end(process: subprocess.Popen[bytes]) -> int:
    return process.wait(ENDS_WITHIN_S)


def test_sigterm_stops_a_server_without_clients_at_once(server: ServerProcess) -> None:
    assert server.stop() == 0
    assert "Traceback" not in server.log


def test_ctrl_c_exits_with_130(server: ServerProcess) -> None:
    process = server._running()
    process.send_signal(signal.SIGINT)
    assert wait_for_end(process) == 130
    assert "Traceback" not in server.log
    server._process = None


def test_a_hangup_closes_sockets_with_1012_and_ends_streams(server: ServerProcess) -> None:
    async def test() -> None:
        async with (
            Talk.open(server, "/ws/end?name=ann") as idle,
            open_socket(server, "/ws/end") as text,
            open_socket(server, "/ws") as elsewhere,
        ):
            await idle.until("joined")
            server.signal(signal.SIGHUP)
            for opened in (idle.socket, text, elsewhere):
                await asyncio.wait_for(opened.wait_closed(), ENDS_WITHIN_S)
                assert opened.close_code == 1012

    with stream(server, "/rooms/end/events") as lines, stream(server, "/rooms/end/events", "Accept: x/y") as other:
        assert lines.next() == other.next() == "retry: 1000"
        run(test())
        assert [event.get("event") for event in lines.events()] == [
            "ping"
        ]  # the end of a complete answer, not a lost connection
    process = server._running()
    assert wait_for_end(process) == 0
    server._process = None
    assert "Traceback" not in server.log


def test_a_client_that_does_not_read_does_not_delay_the_shutdown(server: ServerProcess) -> None:
    with raw(server, receive_buffer=4_096) as stalled, raw(server, receive_buffer=4_096) as stalled_stream:
        stalled.sendall(handshake("/ws/stall?history=0"))
        read_head(stalled)
        stalled_stream.sendall(b"GET /rooms/stall/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        read_head(stalled_stream)
        for _ in range(200):
            assert publish(server, "stall", "x" * 60_000).status == 201
        assert server.stop() == 0
    assert "Traceback" not in server.log


def test_incomplete_requests_and_handshakes_do_not_delay_the_shutdown(server: ServerProcess) -> None:
    with raw(server) as half_head, raw(server) as half_body, raw(server) as half_handshake, raw(server) as silent:
        half_head.sendall(b"GET /rooms HTTP/1.1\r\nHost: loc")
        half_body.sendall(b"POST /rooms/a/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf")
        half_handshake.sendall(handshake("/ws/a")[:-2])
        assert silent.getpeername()
        assert call(server, "GET", "/health").status == 200
        process = server._running()
        process.terminate()
        assert wait_for_end(process) == 0
        server._process = None
        assert b"HTTP/1.1 2" not in read_all(half_body)
    assert "Traceback" not in server.log


@pytest.mark.parametrize("options", [[], ["--workers", "2"]])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_more_signals_do_not_interrupt_the_shutdown(
    tmp_path: Path, number: int, status: int, options: list[str]
) -> None:
    """From the first signal to the end of the process, a signal comes every few milliseconds."""
    with serve(tmp_path / "rooms.db", *options) as server, raw(server, receive_buffer=4_096) as stalled:
        stalled.sendall(handshake("/ws/stall?history=0"))
        read_head(stalled)
        process = server._running()
        for _ in range(1_000):  # while the first is handled
            process.send_signal(number)
        until = time.monotonic() + 4 * ENDS_WITHIN_S
        while process.poll() is None and time.monotonic() < until:
            process.send_signal(number)
            time.sleep(0.002)
        assert process.poll() == status
        server._process = None
    assert "Traceback" not in server.log


def test_an_application_whose_start_is_interrupted_is_ended_in_order() -> None:
    events: list[str] = []

    async def application(
        _: object, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        for event in ("startup", "shutdown"):
            events.append((await receive())["type"])
            await send({"type": f"lifespan.{event}.complete"})

    async def test() -> None:
        config = uvicorn.Config(application, lifespan="on", log_config=None)
        server = ChatServer(config, Hub(MemoryBackend()), lambda: None)
        server.lifespan = LifespanOn(config)
        starting = asyncio.create_task(server.startup([]))
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    asyncio.run(test())
    assert events == ["lifespan.startup", "lifespan.shutdown"]


def test_messages_acknowledged_before_the_shutdown_are_stored(server: ServerProcess) -> None:
    """Publishers continue until the server is gone; every acknowledged message is there afterwards."""

    async def publisher(number: int) -> list[str]:
        acknowledged: list[str] = []
        async with Talk.open(server, f"/ws?name=p{number}") as talk:
            for count in range(100_000):
                body = f"{number}-{count}"
                try:
                    answer = await talk.ask(op="publish", room="last", body=body)
                except (OSError, WebSocketException, TimeoutError):  # the connection may end in any of these ways
                    break
                if answer["type"] == "ack":
                    acknowledged.append(body)
                elif answer["code"] == "unavailable":
                    break
        return acknowledged

    async def test() -> list[list[str]]:
        publishers = [asyncio.create_task(publisher(number)) for number in range(4)]
        while (await asyncio.to_thread(call, server, "GET", "/rooms/last")).json["last"] < 50:
            pass
        server.signal(signal.SIGTERM)
        return await asyncio.gather(*publishers)

    acknowledged = {body for bodies in run(test()) for body in bodies}
    process = server._running()
    assert wait_for_end(process) == 0
    server._process = None
    server.start()
    kept: set[str] = set()
    after = 0
    while page := call(server, "GET", f"/rooms/last/messages?after={after}&limit=1000").json["messages"]:
        kept |= {message["body"] for message in page}
        after = page[-1]["seq"]
    assert acknowledged <= kept
    assert len(acknowledged) >= 40

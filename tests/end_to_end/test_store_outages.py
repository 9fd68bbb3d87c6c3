"""The store of several servers is unavailable: this is reported, and everything continues when it is back."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import stores
from copied_postgres import CopiedPostgresServer
from raw_client import Lines, Talk, call, eventually, open_socket, publish, run, stream, whole_room
from serving import ServerProcess, serve

from chatkit.bench.local.redis import RedisCluster, RedisServer
from chatkit.bench.local.store import LocalStore
from chatkit.client import Client, ConnectionLost, ConnectionRestored

STORES: dict[str, Callable[[], LocalStore]] = {
    "redis": lambda: RedisServer(stores.UNSYNCED),
    "redis-cluster": lambda: RedisCluster(stores.UNSYNCED),
    "postgres": CopiedPostgresServer,
}


async def receive_until(receive: Callable[[], Awaitable[Any]], is_it: Callable[[Any], bool]) -> list[Any]:
    """Receive until the wanted item arrives; return everything received."""
    received: list[Any] = []
    async with asyncio.timeout(60):
        while not received or not is_it(received[-1]):
            received.append(await receive())
    return received


def check_refusals(server: ServerProcess) -> None:
    assert call(server, "GET", "/health").status == 503
    refused = call(server, "POST", "/rooms/ops/messages", "lost?")
    assert (refused.status, refused.json["code"]) == (503, "unavailable")


@pytest.mark.parametrize(
    ("kind", "is_paused"), [*((kind, False) for kind in STORES), ("redis", True), ("postgres", True)]
)
def test_an_unavailable_store_is_reported_and_reading_continues_when_it_is_back(
    kind: str, is_paused: bool, tmp_path: Path
) -> None:
    async def story(own: LocalStore, one: ServerProcess, two: ServerProcess) -> None:
        signals: list[ConnectionLost | ConnectionRestored] = []
        is_told = asyncio.Event()

        def watch(signal: ConnectionLost | ConnectionRestored) -> None:
            signals.append(signal)
            is_told.set()

        async with (
            Talk.open(one, "/ws/ops?name=ann") as ann,
            open_socket(two, "/ws/ops?name=bob") as plain,
            Client(two.url, "cat", watcher=watch) as cat,
        ):
            await ann.until("joined")
            await cat.publish("ops", "before")
            assert await ann.bodies(1) == [await plain.recv()] == ["before"]

            (own.pause if is_paused else own.kill)()
            error = await ann.until("error")
            assert error["code"] == "unavailable"
            assert "ref" not in error
            assert str(await plain.recv()).startswith("! the store is unavailable")
            asked, *_ = await asyncio.gather(
                ann.ask(op="publish", body="and this?"),
                *(asyncio.to_thread(check_refusals, server) for server in (one, two)),
            )
            assert asked["code"] == "unavailable"
            waiting = asyncio.ensure_future(cat.publish_all("ops", (f"kept {n}" for n in range(50))))

            if not is_paused:  # else the store may answer before it is given up
                await is_told.wait()
            await asyncio.to_thread(own.resume if is_paused else own.start)
            assert await waiting == 50
            events = await receive_until(ann.receive, lambda event: event.get("body") == "kept 49")
            lines = await receive_until(plain.recv, lambda line: line == "kept 49")
            assert sum(event["type"] == "restored" for event in events) <= 1
            assert sum(line == "! the store is available again" for line in lines) <= 1
            # Refused messages are not stored, but a paused store may still have carried out a command that it had
            # received.
            received = [event["body"] for event in events if event["type"] == "message"]
            assert received == [line for line in lines if not line.startswith("! ")]
            assert [body for body in received if body.startswith("kept")] == [f"kept {n}" for n in range(50)]
            if not any(event["type"] == "restored" for event in events):
                await ann.until("restored")
            assert [type(each) for each in signals] in (
                [ConnectionLost, ConnectionRestored],
                [ConnectionLost, ConnectionRestored] if not is_paused else [],
            )
        for server in (one, two):
            eventually(lambda server=server: call(server, "GET", "/health").status == 200)  # type: ignore[misc]
            bodies = [message["body"] for message in whole_room(server, "ops")]
            assert [body for body in bodies if body.startswith("kept")] == [f"kept {n}" for n in range(50)]

    with ExitStack() as stack:
        own = stack.enter_context(STORES[kind]())
        one, two = (stack.enter_context(serve(own.url, "--rate-limit", "0", folder=tmp_path)) for _ in range(2))
        if is_paused:
            stack.callback(own.resume)
        run(story(own, one, two), within_s=120)


@pytest.mark.parametrize("form", ["text/event-stream", "application/x-ndjson"])
def test_a_stream_stays_open_and_reports_that_the_store_is_away_and_back(form: str, tmp_path: Path) -> None:
    with (
        RedisServer(stores.UNSYNCED) as own,
        serve(own.url, folder=tmp_path) as server,
        stream(server, "/rooms/ops/events", f"Accept: {form}") as lines,
    ):
        publish(server, "ops", "before")
        read_until_line(lines, '"body":"before"')
        own.kill()
        read_until_line(lines, '"code":"unavailable"')
        own.start()
        read_until_line(lines, '{"type":"restored"}')
        publish(server, "ops", "after")
        read_until_line(lines, '"body":"after"')


def read_until_line(lines: Lines, part: str) -> None:
    while part not in lines.next():
        pass

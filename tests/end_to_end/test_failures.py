"""Failures of real servers: kills, pauses, lost connections and invalid input."""

import asyncio
import random
import signal
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from raw_client import (
    Talk,
    call,
    eventually,
    handshake,
    health,
    is_idle,
    open_socket,
    publish,
    raw,
    read_all,
    read_head,
    run,
    whole_room,
)
from serving import ServerProcess, clean_environment, serve
from websockets.exceptions import ConnectionClosed, WebSocketException

from chatkit.backends import open_backend
from chatkit.core.model import Draft

UNLIMITED = ("--rate-limit", "0")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serve(tmp_path / "rooms.db", *UNLIMITED) as started:
        yield started


# Killed

KILLS = 30
PUBLISHERS = 4


class Publisher:
    """Publishes with keys, and again whatever was not acknowledged, through whatever happens to the server."""

    def __init__(self, server: ServerProcess, name: str) -> None:
        self.acknowledged: dict[str, int] = {}
        self._server = server
        self._name = name
        self._n_begun = 0
        self._open: dict[str, str] = {}  # keys not acknowledged yet, and their bodies

    async def go_on(self, until: asyncio.Event) -> None:
        """Publish until told to stop, and then until all is acknowledged."""
        while not until.is_set() or self._open:
            with suppress(OSError, WebSocketException, TimeoutError, EOFError):
                async with Talk.open(self._server, "/ws") as talk:
                    await self._talk(talk, until)
            await asyncio.sleep(0.01)

    async def _talk(self, talk: Talk, until: asyncio.Event) -> None:
        for key, body in list(self._open.items()):
            await self._publish(talk, key, body)
        while self._open or not until.is_set():
            while len(self._open) < 8 and not until.is_set():
                self._n_begun += 1
                key = f"{self._name}-{self._n_begun}"
                self._open[key] = f"body of {key}"
                await self._publish(talk, key, self._open[key])
            ack = await talk.until("ack")
            self.acknowledged[ack["ref"]] = ack["seq"]
            self._open.pop(ack["ref"], None)

    async def _publish(self, talk: Talk, key: str, body: str) -> None:
        await talk.send(op="publish", room="kill", body=body, key=key, ref=key)


def test_thirty_kills_lose_nothing_acknowledged_and_store_nothing_twice(server: ServerProcess) -> None:
    chance = random.Random(7)

    async def test() -> list[Publisher]:
        until = asyncio.Event()
        publishers = [Publisher(server, f"p{number}") for number in range(PUBLISHERS)]
        tasks = [asyncio.create_task(publisher.go_on(until)) for publisher in publishers]
        for _ in range(KILLS):
            count = sum(len(publisher.acknowledged) for publisher in publishers)
            while sum(len(publisher.acknowledged) for publisher in publishers) < count + 20:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await asyncio.sleep(chance.random() * 0.05)
            server.kill9()
            await asyncio.to_thread(server.start)
        until.set()
        await asyncio.gather(*tasks)
        return publishers

    publishers = run(test(), within_s=150)
    stored = {message["seq"]: message["key"] for message in whole_room(server, "kill")}
    acknowledged = {key: seq for publisher in publishers for key, seq in publisher.acknowledged.items()}
    assert len(acknowledged) >= 20 * KILLS
    assert {key: stored[seq] for key, seq in acknowledged.items()} == {key: key for key in acknowledged}
    assert [key for key, count in Counter(stored.values()).items() if count > 1] == []
    assert set(stored.values()) == set(acknowledged)  # each was tried until it was acknowledged
    assert "Traceback" not in server.log


def test_readers_of_a_killed_server_resume_at_their_position(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws/again?history=0") as talk:
            epoch = (await talk.until("joined"))["cursor"].partition(":")[0]
            for number in range(1, 6):
                await talk.send(op="publish", body=f"m{number}")
            seq = [(await talk.until("message"))["seq"] for _ in range(5)][-1]
            server.kill9()
            with pytest.raises(ConnectionClosed):
                await talk.receive()
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(publish, server, "again", "m6")
        async with Talk.open(server, f"/ws/again?after={epoch}:{seq}") as talk:
            assert await talk.bodies(1) == ["m6"]

    run(test())


# Another process on the same store


def test_messages_of_another_process_are_delivered(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws/shared?history=0") as talk, open_backend(server.store) as backend:
            await talk.until("joined")
            for number in range(5):
                await backend.append([Draft("shared", "cron", f"m{number}")])
                assert (await talk.until("message"))["body"] == f"m{number}"
            await talk.send(op="publish", body="from here")
            assert (await talk.until("message"))["seq"] == 6
            await backend.redact("shared", 1)
            assert (await talk.until("redacted"))["seq"] == 1

    run(test())


def test_the_publish_command_writes_to_the_store_and_clients_receive_it(server: ServerProcess, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "chatkit.cli", "publish", "cron", "--backend", server.store, "--name", "job"]

    async def test() -> None:
        async with Talk.open(server, "/ws/cron?history=0") as talk:
            await talk.until("joined")
            ended = await asyncio.to_thread(
                subprocess.run, [*command, "backup done"], env=clean_environment({}), capture_output=True, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert ended.returncode == 0, ended.stderr
            message = await talk.until("message")
            assert (message["sender"], message["body"]) == ("job", "backup done")

    run(test())


# Paused, half open, garbage


def test_a_paused_server_continues_without_loss(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws/pause?history=0") as talk:
            await talk.until("joined")
            server.signal(signal.SIGSTOP)
            for number in range(50):
                await talk.send(op="publish", body=f"m{number}", ref=number)
            connecting = asyncio.create_task(_first_body(server))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await talk.socket.recv()
            server.signal(signal.SIGCONT)
            received: list[dict[str, Any]] = [await talk.receive() for _ in range(100)]
            assert [event["ref"] for event in received if event["type"] == "ack"] == list(range(50))
            bodies = [event["body"] for event in received if event["type"] == "message"]
            assert bodies == [f"m{number}" for number in range(50)]
            await talk.send(op="publish", body="after")
            assert await connecting

    run(test())


async def _first_body(server: ServerProcess) -> str:
    async with open_socket(server, "/ws/pause?history=1") as opened:
        return str(await opened.recv())


def test_garbage_and_half_open_connections_do_not_affect_others(server: ServerProcess) -> None:
    chance = random.Random(11)
    garbage = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(200),  # TLS
        b"\x00" * 5_000,
        chance.randbytes(5_000),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /ws HTTP/1.1\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        handshake("/ws").replace(b"Version: 13", b"Version: 8"),
        handshake("/ws").replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"),
        b"GET /" + b"a" * 100_000,
        b"POST /rooms/a/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /rooms/a/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    ]

    async def test() -> None:
        async with Talk.open(server, "/ws/calm?history=0") as talk:
            await talk.until("joined")
            await asyncio.to_thread(disturb)
            for number in range(10):
                await talk.send(op="publish", body=str(number))
            assert await talk.bodies(10) == [str(number) for number in range(10)]

    def disturb() -> None:
        with ExitStack() as stack:
            for number in range(50):  # open, and not another word: some with half a handshake, some gone by a reset
                opened = stack.enter_context(raw(server))
                opened.sendall(handshake("/ws/half")[: number * 3])
                if number % 3 == 0:
                    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    opened.close()
            for bytes_ in garbage:
                with raw(server) as opened, suppress(ConnectionError):
                    opened.sendall(bytes_)
                    opened.shutdown(socket.SHUT_WR)
                    answer = read_all(opened)
                    assert b" 101 " not in answer.partition(b"\r\n")[0], bytes_[:80]
                    assert b" 500 " not in answer.partition(b"\r\n")[0], bytes_[:80]
            for _ in range(20):  # a whole handshake, then frames of nonsense
                with raw(server) as opened, suppress(ConnectionError):
                    opened.sendall(handshake("/ws/half") + chance.randbytes(500))
                    opened.shutdown(socket.SHUT_WR)
                    read_all(opened)

    run(test())
    eventually(lambda: is_idle(server))
    assert "Traceback" not in server.log


def test_websockets_reset_without_a_close_leave_nothing_behind(server: ServerProcess) -> None:
    with ExitStack() as stack:
        for number in range(100):
            opened = stack.enter_context(raw(server))
            opened.sendall(handshake(f"/ws/cut-{number}"))
            head, _ = read_head(opened)
            assert b" 101 " in head
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        eventually(lambda: health(server)["connections"] == 100)
        for number in range(100):
            publish(server, f"cut-{number}", "under way")
    eventually(lambda: is_idle(server))
    assert "Traceback" not in server.log


def test_two_thousand_rooms_joined_and_left_leave_nothing_behind(server: ServerProcess) -> None:
    async def test() -> None:
        async with Talk.open(server, "/ws") as talk:
            for start in range(0, 2_000, 50):
                rooms = [f"room-{number}" for number in range(start, start + 50)]
                for room in rooms:
                    await talk.send(op="join", room=room, ref=room)
                for room in rooms:
                    await talk.until("joined", room=room)
                for room in rooms:
                    await talk.send(op="leave", room=room, ref=room)
                for room in rooms:
                    await talk.until("left", room=room)

    run(test())
    eventually(lambda: is_idle(server))
    assert call(server, "GET", "/rooms").json["rooms"] == []


def test_leaving_while_joining_leaves_nothing_behind(server: ServerProcess) -> None:
    async def test() -> None:
        for number in range(60):
            async with Talk.open(server, f"/ws/rush-{number % 7}") as talk:
                for other in range(5):
                    await talk.send(op="join", room=f"rush-{other}")
                talk.socket.transport.abort()

    run(test())
    eventually(lambda: is_idle(server))
    assert "Traceback" not in server.log
